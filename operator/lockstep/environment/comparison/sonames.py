"""Which Debian package brings a shared library that models' packages are known to need (bookworm and Ubuntu 24.04 alike).

Only for the sentence that says what to install; nothing is decided by it.
"""

from collections.abc import Iterable, Mapping

DEBIAN: Mapping[str, str] = {
    "libGL.so.1": "libgl1",
    "libOpenCL.so.1": "ocl-icd-libopencl1",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libatomic.so.1": "libatomic1",
    "libblas.so.3": "libblas3",
    "libbz2.so.1.0": "libbz2-1.0",
    "libcairo.so.2": "libcairo2",
    "libcrypto.so.3": "libssl3",
    "libexpat.so.1": "libexpat1",
    "libffi.so.8": "libffi8",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libgcc_s.so.1": "libgcc-s1",
    "libgfortran.so.5": "libgfortran5",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "liblapack.so.3": "liblapack3",
    "liblzma.so.5": "liblzma5",
    "libnuma.so.1": "libnuma1",
    "libodbc.so.2": "libodbc2",
    "libopenblas.so.0": "libopenblas0",
    "libpng16.so.16": "libpng16-16",
    "libpq.so.5": "libpq5",
    "libquadmath.so.0": "libquadmath0",
    "libsndfile.so.1": "libsndfile1",
    "libsqlite3.so.0": "libsqlite3-0",
    "libssl.so.3": "libssl3",
    "libstdc++.so.6": "libstdc++6",
    "libtbb.so.12": "libtbb12",
    "libxml2.so.2": "libxml2",
    "libxslt.so.1": "libxslt1.1",
    "libz.so.1": "zlib1g",
}


def debian_packages(sonames: Iterable[str]) -> list[str]:
    """Return the packages that bring some of these libraries, sorted."""
    return sorted({DEBIAN[name] for name in sonames if name in DEBIAN})
