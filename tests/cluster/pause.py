"""The image that holds a pod's namespaces: a static program that only waits and reaps, built by gcc, once."""

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from pathlib import Path

from tests.cluster.paths import CACHE
from tests.cluster.processes import run

IMAGE = "localhost/lockstep-pause:1"
ARCHIVE = CACHE / "pause-1" / "pause.tar"

_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0) { } }

int main(void) {
    struct sigaction on_leave = {.sa_handler = leave}, on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGINT, &on_leave, 0);
    sigaction(SIGTERM, &on_leave, 0);
    sigaction(SIGCHLD, &on_child, 0);
    for (;;) pause();
}
"""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive() -> Path:
    """Return the image as a file that containerd imports, building it if it is not in the cache."""
    if not ARCHIVE.exists():
        ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ARCHIVE.parent) as folder:
            source, program, partial = (Path(folder) / name for name in ("pause.c", "pause", "pause.tar"))
            source.write_text(_SOURCE)
            run("gcc", "-static", "-Os", "-s", "-o", program, source)
            partial.write_bytes(_image(program.read_bytes()))
            partial.rename(ARCHIVE)
    return ARCHIVE


def _image(program: bytes) -> bytes:
    layer = _tar({"pause": program})
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    files = {"config.json": json.dumps(config), "manifest.json": json.dumps(manifest)}
    return _tar({"layer.tar": layer} | {name: text.encode() for name, text in files.items()})


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive_file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            archive_file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
