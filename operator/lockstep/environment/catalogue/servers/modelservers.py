"""What the servers of logged models start and put on `sys.path`, read in their sources and tried with the real programs."""

import json
import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from lockstep.environment.catalogue.launch import shell
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.launch.path import Place
from lockstep.environment.catalogue.launch.programs import find, is_binary
from lockstep.environment.catalogue.servers.options import Options
from lockstep.environment.catalogue.servers.server import Called, Effect
from lockstep.environment.tree import FileKind, UnreadableFileError

_MLFLOW = Options.of(
    "-m --model-uri -p --port -h --host -t --timeout -w --workers --env-manager --env-file",
    "--no-conda --install-mlflow --enable-mlserver --version --help",
)
_SCORING = "mlflow/pyfunc/scoring_server"
_MLSERVER = Options.of("", "--version --help")
_BENTOML = Options.of(
    "-p --port --host --api-workers --timeout --backlog --working-dir --ssl-certfile --ssl-keyfile --ssl-keyfile-password"
    " --ssl-version --ssl-cert-reqs --ssl-ca-certs --ssl-ciphers --timeout-keep-alive --timeout-graceful-shutdown --arg"
    " --arg-file --reload-exclude --context",
    "--development --production --reload -q --quiet --verbose --do-not-track --version --help",
)
_SETTINGS = "model-settings.json"
_MAX_FOLDERS = 10_000
"""Directories of a model repository that are searched for settings."""


def mlflow(called: Called) -> Effect:
    """`mlflow models serve`: the web server that it starts by name, through bash, in the working directory.

    Without `--env-manager local` it makes an environment first, out of what the model asks for (mlflow/pyfunc/backend.py).
    """
    words = called.read(_MLFLOW)
    if words.arguments[:2] != ("models", "serve"):
        return Effect()
    if stated := words.last("--env-file"):
        raise called.undetermined_error(f"it reads {stated[:200]}, and the variables of a file are not read", "set them by ENV")
    if (words.last("--env-manager") or "virtualenv") != "local" and not words.has("--no-conda"):
        raise called.undetermined_error(
            "it makes an environment of its own when the container starts, which is not in the image",
            "add --env-manager local, so that the image's own environment serves",
        )
    uri = words.last("--model-uri", "-m")
    model = _resolve_uri(called, uri) if uri else None
    if words.has("--enable-mlserver"):
        variables = {"MLSERVER_MODEL_URI": uri or "", "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_mlflow.MLflowRuntime"}
        return Effect(
            model=model,
            next=_start_through_bash(called, called.launch.with_variables(variables), "mlserver", "start", uri or ""),
        )
    workers = words.last("--workers", "-w") or called.variable("MLFLOW_MODELS_WORKERS") or "1"
    return Effect(model=model, next=_start_through_bash(called, called.launch, *_web_server(called, workers)))


def _web_server(called: Called, workers: str) -> tuple[str, ...]:
    # Before 2.22 it was a WSGI application, which gunicorn served.
    if _has_scoring_file(called, "app.py"):
        return "uvicorn", "--workers", workers, "mlflow.pyfunc.scoring_server.app:app"
    if _has_scoring_file(called, "wsgi.py"):
        return "gunicorn", "-w", workers, "mlflow.pyfunc.scoring_server.wsgi:app"
    raise called.undetermined_error("which web server this MLflow starts is not known", "use a released version of MLflow")


def mlflow_container(called: Called) -> Effect:
    """The image that `mlflow models build-docker` makes: its own environment serves (mlflow/models/container)."""
    if called.arguments[:1] != ("local",):
        raise called.undetermined_error(
            f"MLflow made an environment of its own for the model ({' '.join(called.arguments)}), which is not followed",
            "build the image with mlflow models build-docker --env-manager local",
        )
    if (called.variable("MLFLOW_DISABLE_ENV_CREATION") or "").lower() not in ("true", "1"):
        advice = "set MLFLOW_DISABLE_ENV_CREATION=true by ENV, and install what the model needs when the image is built"
        raise called.undetermined_error("it installs what the model asks for when the container starts", advice)
    workers = called.variable("MLFLOW_MODELS_WORKERS") or "2"
    following = _start_through_bash(called, called.launch, *_web_server(called, workers))
    return Effect(model="/opt/ml/model", next=following)


def _has_scoring_file(called: Called, name: str) -> bool:
    return any(called.is_file(f"{entry}/{_SCORING}/{name}") for entry in called.path)


def _start_through_bash(called: Called, launch: Launch, *command: str) -> Launch:
    """Return what `bash -c "exec COMMAND"` starts; which bash that is and what its variables do is as for any shell."""
    bash = launch.with_command("bash", "-c", "exec :")
    program = find(called.tree, bash)
    if not is_binary(called.tree, program):
        raise called.undetermined_error(
            f"{program} is no shell", "start the server from a PATH on which bash is the system's own"
        )
    shell.check_variables(bash)
    return launch.with_command(*command)


def _resolve_uri(called: Called, uri: str) -> str:
    """Return the directory that a URI means, or the URI where it means none of the image's."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return called.at(unquote(parts.path))
    return uri if parts.scheme else called.at(uri)


def mlserver(called: Called) -> Effect:
    """`mlserver start FOLDER`: the folder, the working directory, and while a model is loaded its own directory.

    Sources: mlserver/cli/serve.py and mlserver/settings.py (`ModelSettings.implementation`).
    """
    words = called.read(_MLSERVER)
    if words.arguments[:1] != ("start",) or len(words.arguments) < 2:
        return Effect()
    # pydantic-settings reads it for every setting that has none.
    if called.is_file(called.at(".env")):
        raise called.undetermined_error(
            f"MLServer reads {called.at('.env')}, and the variables of a file are not read", "set them by ENV"
        )
    folder = called.at(words.arguments[1])
    settings = sorted(_model_settings(called, folder))
    models = {_read_model_location(called, path) for path in settings}
    if not settings:
        uri = called.variable("MLSERVER_MODEL_URI")
        models = {_served_path(called, called.at("model"), uri)} if uri else set()
    homes = tuple(Place(posixpath.dirname(path)) for path in reversed(settings))
    return Effect(
        places=(Place(called.working_directory), Place(folder), *homes),
        model=next(iter(models)) if len(models) == 1 else None,
    )


def _model_settings(called: Called, folder: str) -> Iterator[str]:
    """Find what `glob("**/model-settings.json")` finds: below the folder, hidden directories left out."""
    folders, seen = [folder], {folder}
    while folders:
        here = folders.pop()
        for name in called.tree.listdir(here):
            path = f"{here.rstrip('/')}/{name}"
            if name == _SETTINGS:
                yield path
            resolved = called.tree.resolve(path) if not name.startswith(".") else None
            if resolved is not None and resolved not in seen and called.tree.kind(resolved) is FileKind.DIRECTORY:
                seen.add(resolved)
                folders.append(path)
            if len(seen) > _MAX_FOLDERS:
                raise called.undetermined_error(
                    f"{folder} has more than {_MAX_FOLDERS} directories", "start it in the models' folder"
                )


def _read_model_location(called: Called, path: str) -> str:
    try:
        stated: Any = json.loads(called.tree.read(path) or b"")
        parameters = stated.get("parameters") or {}
        uri = parameters.get("uri") or called.variable("MLSERVER_MODEL_URI")
        environment = [name for name in ("environment_path", "environment_tarball") if parameters.get(name)]
        environment += [
            f"MLSERVER_MODEL_{name}"
            for name in ("ENVIRONMENT_PATH", "ENVIRONMENT_TARBALL")
            if _has_model_variable(called, name)
        ]
    except UnreadableFileError as error:
        raise called.undetermined_error(f"{path} is not kept ({error.why})", "let it have at most 1 MiB") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise called.undetermined_error(f"{path} can't be read", "correct it: MLServer takes a JSON object") from error
    if environment:
        advice = "install what the model needs in MLServer's own environment"
        raise called.undetermined_error(f"{environment[0]} in {path} names an environment that MLServer unpacks", advice)
    return _served_path(called, path, uri) if uri is not None else posixpath.dirname(path)


def _has_model_variable(called: Called, name: str) -> bool:
    return called.variable(f"MLSERVER_MODEL_{name}") is not None


def _served_path(called: Called, settings: str, uri: object) -> str:
    text = str(uri)
    if urlsplit(text).scheme not in ("", "file"):
        return text
    path = called.at(unquote(urlsplit(text).path) if text.startswith("file:") else text, posixpath.dirname(settings))
    return posixpath.dirname(path) if called.is_file(path) else path


def bentoml(called: Called) -> Effect:
    """`bentoml serve`: `--working-dir`, by default a Bento's directory or the working directory (bentoml_cli/serve.py)."""
    words = called.read(_BENTOML)
    if words.arguments[:1] != ("serve",):
        return Effect()
    stated = called.at(words.arguments[1]) if len(words.arguments) > 1 else called.working_directory
    folder = words.last("--working-dir")
    working_dir = called.at(folder) if folder is not None else stated if called.is_folder(stated) else called.working_directory
    source = f"{stated.rstrip('/')}/src"
    built = called.is_folder(source) and called.is_file(f"{stated.rstrip('/')}/bento.yaml")
    return Effect((Place(working_dir), Place(source)) if built else (Place(working_dir),))
