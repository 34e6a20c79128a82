"""Writes the seed corpus from the fakes: `python -m tests.fuzz.seeds`. Inputs that a fuzzer found stay beside the seeds."""

import base64
import gzip
import json
from pathlib import Path

import zstandard

from tests.fakes.images import END, Item, directory, entry, gnu_long, hard_link, pax_record, symlink, tar
from tests.fakes.roots import GLIBC, STATUS, VENV_SITE, distribution, elf, items, shared
from tests.fakes.rpm import BASH, database, package
from tests.fuzz.images import index_of_one, manifest_of_one

CORPUS = Path(__file__).parent / "corpus"

_UPPER = tar(
    *items(distribution(VENV_SITE, "numpy", "1.26.4")),
    Item("usr/share/.wh.doc"),
    Item("opt/.wh..wh..opq"),
    symlink("opt/venv", "/usr"),
)
_KINDS = tar(
    directory("d"),
    Item("d/file", b"body", mode=0o644, pax={"mtime": "12.5", "SCHILY.xattr.user.a": "b"}),
    symlink("d/link", "file"),
    hard_link("d/hard", "d/file"),
    Item("d/null", type="3", device=(1, 3)),
    Item("n" * 150, b"x"),
)
_METADATA = "Metadata-Version: 2.1\nName: iris\nVersion: 1.0\nSummary: a\n  b\n\nText\nName: other\n"
_ROWS = 'iris/__init__.py,sha256=a,1\n"iris/a,b.py",sha256=b,2\n../../bin/iris,sha256=c,3\niris-1.0.dist-info/RECORD,,\n'
_DOCUMENT = {
    "schema": "lockstep.dev/environment/v1",
    "python": {"implementation": "cpython", "version": "3.11.2"},
    "platform": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.36"},
    "packages": [
        {"name": "iris", "version": "1.0", "content": "sha256:" + "0" * 64, "tags": ["py3-none-any"]},
        {"name": "numpy", "version": "2.0", "origin": {"kind": "vcs", "url": "https://x", "commit": "abc"}},
    ],
    "system": {"distribution": "debian 12", "packages": {"libgomp1": "12.2.0-14"}},
    "required": ["iris"],
    "requiredProof": "Proven",
    "code": {"a/b.py": "sha256:" + "1" * 64},
    "hardware": {"cpu": None},
    "collector": "lockstep 0.1.0",
}
_CONFIG = {
    "os": "linux",
    "architecture": "amd64",
    "config": {"Entrypoint": ["python3"], "Cmd": ["-m", "x"], "Env": ["PATH=/bin"], "WorkingDir": "/app", "User": "1:1"},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
}
_ARCHIVE = {"url": "https://x/a.whl", "archive_info": {"hashes": {"sha256": "ab"}}}


def _envelope() -> bytes:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "iris", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://lockstep.dev/attestations/environment/v1",
        "predicate": _DOCUMENT,
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    signatures = [{"keyid": "", "sig": base64.b64encode(b"x").decode()}]
    return json.dumps({"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": signatures}).encode()


SEEDS: dict[str, list[str | bytes]] = {
    "tar": [
        _KINDS,
        _UPPER,
        gnu_long(b"g" * 120) + entry(Item("short", b"1")) + END,
        gnu_long(b"l" * 120, "K") + entry(symlink("l", "t")) + END,
    ],
    "pax": [
        b"x" + pax_record("path", "a/b") + pax_record("size", "4"),
        b"x" + pax_record("linkpath", "a") + pax_record("mtime", "1.5") + pax_record("SCHILY.xattr.user.x", "y"),
        b"x" + pax_record("GNU.sparse.major", "1"),
        b"g" + pax_record("comment", "0" * 40),
        b"L" + b"n" * 120 + b"\0",
        b"K" + b"n" * 120 + b"\0",
    ],
    "layer": [b"\0" + _UPPER, b"\0" + _KINDS, b"\1" + gzip.compress(_KINDS, 9, mtime=0), b"\2" + zstandard.compress(_KINDS)],
    "decompress": [
        b"\0plain",
        b"\1" + gzip.compress(b"one" * 99, mtime=0) + gzip.compress(b"two", mtime=0),
        b"\2" + zstandard.compress(b"one" * 99) + zstandard.compress(b"two"),
        b"\2" + b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(b"three"),
    ],
    "manifest": [manifest_of_one()],
    "index": [index_of_one(), "[]"],
    "config": [json.dumps(_CONFIG), '{"os":"linux","architecture":"amd64","variant":"v8","rootfs":{"diff_ids":["x"]}}'],
    "reference": ["registry.example.com/team/iris:1", "localhost:5000/a/b__c-d@sha256:" + "0" * 64, "registry.example.com/a"],
    "dockerconfig": [
        '{"auths":{"https://registry.example.com/v1/":{"auth":"YTpi"}}}',
        '{"auths":{"*.example.com/team":{"username":"a","password":"b"},"x":{"identitytoken":"t"}}}',
    ],
    "metadata": [_METADATA, "\ufeff" + _METADATA.replace("\n", "\r\n"), "Name: iris\nVersion: 1\nVersion: 2\n"],
    "record": [_ROWS, "iris/__init__.py,sha256=a,1\niris/b.py,sha256=b,2\n"],
    "origin": [
        '{"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
        json.dumps(_ARCHIVE),
        '{"url": "file:///x", "dir_info": {"editable": true}}',
    ],
    "wheel": ["Wheel-Version: 1.0\nGenerator: x\nTag: py3-none-any\nTag: cp311-cp311-manylinux_2_17_x86_64\n"],
    "dpkg": [
        STATUS,
        STATUS.replace("install ok installed", "deinstall ok config-files"),
        STATUS + STATUS.replace("amd64", "i386"),
    ],
    "apk": [
        "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld\n\nP:zlib\nV:1.3-r1\n",
        "P:python3\nV:3.11-r0\nF:usr/lib/python3.11\nR:os.py\nZ:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=\n",
    ],
    "rpm": [database(package(*BASH))],
    "rpmheader": [package(*BASH), package("python3-libs", "3.9", "1", files={"/usr/lib64/python3.9/os.py": "a" * 64})],
    "md5sums": [f"{'0' * 32}  usr/lib/python3.11/os.py\n{'1' * 32}  usr/bin/python3.11\n"],
    "gunicorn": [
        "import os\nbind = os.environ.get('X')\nchdir = '/app'\npythonpath: str = 'a,b'\n",
        "from base import *\n\ndef post_fork(server, worker):\n    pass\n",
    ],
    "entryscript": [
        "#!/opt/venv/bin/python3\nimport re\nimport sys\nfrom uvicorn.main import main\nif __name__ == '__main__':\n"
        "    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    sys.exit(main())\n",
        "#!/bin/sh\n'''exec' /x/python \"$0\" \"$@\"\n' '''\nimport sys\nfrom a import b\nsys.exit(b.c())\n",
    ],
    "modelsettings": ['{"name": "m", "implementation": "x.Y", "parameters": {"uri": "./model.skops", "version": "1"}}'],
    "servers": [
        "uvicorn\nmain:app\n--app-dir\nsrc\n--port=80",
        "gunicorn\n-c\nx.py\n--chdir=/a\n--pythonp\nb,c\nmain:app",
        "flask\n-A\npkg/web.py\nrun",
        "python\n-m\nuvicorn\n--new\n--app-dir\nx",
    ],
    "rpmmanifest": ["bash\t5.1-8\t0\t0\tv\t(none)\t1\tx86_64\t0\ts\n"],
    "conda": [
        '{"name": "mkl", "version": "2024.1", "build": "h1_0", "build_number": 1}',
        '{"name": "mkl", "version": "2024.1", "build": "h1_0", "paths_data": {"paths": [{"_path": "a", "sha256": "b"}]}}',
    ],
    "object": [shared("libgomp.so.1", "libc.so.6"), shared("libz.so.1", rpath="$ORIGIN/../x.libs")],
    "shell": [
        '#!/bin/sh\nset -e\nexport A=b PATH="/x:$PATH"\n. /opt/venv/bin/activate\nexec "$@"\n',
        "cd /app && exec python -m server --port '8080'\n",
    ],
    "dsse": [_envelope()],
    "layerrecord": [
        '{"hardLinks":[["/b","/a/f"]],"whiteouts":["/c"],"opaque":[],"kept":9,"seen":3}\n["/a","d"]\n["/a/l","l","x"]\n'
        '["/a/f","f",true,{"b":"x","s":"AAAA","h":"eA==","t":[1,2],"p":["3.11.2",null]}]'
    ],
    "osrelease": ['PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n', "ID='alpine'\n"],
    "launch": [
        "/opt/venv/bin/python\n-I\n-m\nx",
        "env\n-S\npython -u",
        "sh\n-c\nexec python app.py",
        "python3\n-W\nignore\nscript.py",
        "nice\n-n\n5\npython",
    ],
    "shebang": [
        "#!/opt/venv/bin/python3\nimport x\n",
        "#!/usr/bin/env -S python3 -u\n",
        "#!/bin/sh\n'''exec' \"/opt/venv/bin/python3\" \"$0\" \"$@\"\n' '''\n",
        '#!/bin/sh\nset -e\nexec "$@"\n',
    ],
    "pyvenv": [
        "home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.11.2\n",
        "home=/usr/bin\nInclude-System-Site-Packages = TRUE\nhome = /x\n",
    ],
    "pth": ["/opt/more\nmissing\n# x\nimport sys\n", "\ufeff../dist-packages\r\n"],
    "elf": [elf(), elf(0x030C00A1)],
    "libc": [GLIBC, b"musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader\n"],
    "requirements": [
        "scikit-learn==1.4.2\nnumpy[x]==1.26 # c\n-r y\n\0python: 3.11.2\n",
        "a===1\nb==2;python_version<'3'\nc==1.*\n",
    ],
    "document": [json.dumps(_DOCUMENT)],
    "mlmodel": [
        "run_id: abc\nmodel_id: m-1\nflavors:\n  sklearn: {a: [b]}\nsignature: {inputs: x}\n",
        "a: &a [1]\nb: [*a, *a]\n",
    ],
}


def main() -> None:
    """Write every seed as a file of its own."""
    for target, seeds in SEEDS.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds, start=1):
            (CORPUS / target / f"seed-{number}").write_bytes(seed.encode() if isinstance(seed, str) else seed)


if __name__ == "__main__":
    main()
