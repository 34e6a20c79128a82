"""Distributions that change what a package does without the package requiring them: accelerators and plugins."""

from collections.abc import Iterable, Mapping

from lockstep.environment.document import Package

ACCELERATORS: Mapping[str, tuple[str, ...]] = {
    # pandas' user guide, "Recommended dependencies": taken as soon as they are installed.
    "pandas": ("numexpr", "bottleneck"),
    "xarray": ("bottleneck", "numbagg", "flox"),
    "numpy": ("mkl-service", "mkl-random", "mkl-umath"),
    "scikit-learn": ("scikit-learn-intelex", "daal4py"),
    "torch": ("intel-extension-for-pytorch",),
    "tensorflow": ("intel-extension-for-tensorflow",),
}
"""By package the distributions that it, or its user in one line, lets do its work."""
_IMPORT_NAMES: Mapping[str, str] = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml", "opencv-python": "cv2"}


def companions(names: Iterable[str], packages: Mapping[str, Package]) -> set[str]:
    """Return which of the installed packages work within those that are named.

    Args:
        names: the packages that are compared.
        packages: what one side has, by name.
    """
    compared = set(names)
    companion_names = {name for owner in compared for name in ACCELERATORS.get(owner, ()) if name in packages}
    imports = {_IMPORT_NAMES.get(name, name.replace("-", "_")).lower() for name in compared}
    for name, package in packages.items():
        if any(_plugs_into(group.lower(), imports) for group in package.plugs or ()):
            companion_names.add(name)
    return companion_names


def _plugs_into(group: str, imports: set[str]) -> bool:
    """Return whether a group begins with an import name: `xarray`, `pandas_plotting_backends`."""
    parts = group.split("_")
    return any("_".join(parts[:count]) in imports for count in range(1, len(parts) + 1))
