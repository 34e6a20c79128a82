"""Runs real server programs in a directory of their own and asks the application that they import where it is imported from."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.environment.catalogue.launch.interpreter import effective_path, prefix
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.packages.modules import Finder
from lockstep.environment.catalogue.servers.serving import Serving, serving
from lockstep.training.host import HostTree

# Written as pip writes it: what the program is called by stands in the entry points of its distribution.
_SCRIPT = """#!{python}
import re
import sys
from {module} import {name}
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit({name}())
"""
ASKING = """
import importlib.machinery, json, os, sys
def app(*_):
    raise RuntimeError
names = json.loads(os.environ["ASKED"])
specs = {name: importlib.machinery.PathFinder.find_spec(name) for name in names}
said = {"path": list(dict.fromkeys(os.path.realpath(one) for one in sys.path if os.path.exists(one or ".")))}
said["found"] = {name: os.path.realpath(spec.origin) if spec and spec.origin else None for name, spec in specs.items()}
with open(os.environ["ANSWER"] + str(os.getpid()), "w") as file:
    json.dump(said, file)
os.replace(file.name, os.environ["ANSWER"])
os.killpg(0, 9)
"""
"""The text of an application that answers, and ends its server with all that belongs to it."""
_SECONDS = 90


@dataclass(frozen=True)
class Stage:
    """A directory tree in which a server is started."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, by paths below the root."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def script(self, name: str, entry: str) -> str:
        """Write a console script for an entry point (`uvicorn.main:main`), and return its path."""
        module, _, attribute = entry.partition(":")
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(_SCRIPT.format(python=sys.executable, module=module, name=attribute))
        path.chmod(0o755)
        return str(path)

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of the server: few, so that those of who runs the tests change nothing."""
        path = f"{self.root}/bin:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.root / "home"), "PYTHONDONTWRITEBYTECODE": "1", **more}

    def run(self, argv: list[str], cwd: str, env: Mapping[str, str], names: list[str]) -> dict[str, Any]:
        """Start a server, and return what its application said: its path, and where it finds modules."""
        answer = self.root / "answer.json"
        answer.unlink(missing_ok=True)
        variables = self.variables(env) | {"ANSWER": str(answer), "ASKED": json.dumps(names)}
        process = subprocess.Popen(
            argv, cwd=self.root / cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            output, _ = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            output = b"it did not end"
        finally:
            _end(process)
        assert answer.exists(), output.decode("utf-8", "replace")[-3000:]
        said: dict[str, Any] = json.loads(answer.read_text())
        return said

    def scan(self, argv: list[str], cwd: str, env: Mapping[str, str], names: list[str]) -> dict[str, Any]:
        """Return what the scan says of the same start, in the same form."""
        tree = HostTree()
        serves = self.serving(argv, cwd, env)
        path = effective_path(tree, prefix(tree, serves.start), serves.start, serves.places)
        finder = Finder(tree, path.entries, path.series)
        where = {
            name: next((one.file for entry in path.entries if (one := finder.top_level(entry, name))), None) for name in names
        }
        return {"path": list(path.entries), "found": where}

    def serving(self, argv: list[str], cwd: str, env: Mapping[str, str]) -> Serving:
        """Return what the scan takes for the process that serves."""
        launch = Launch(tuple(argv), self.variables(env), str(self.root / cwd), "0")
        return serving(HostTree(), launch)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a server and its workers, which are a process group of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
