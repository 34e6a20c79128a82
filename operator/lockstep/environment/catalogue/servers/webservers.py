"""What the servers of web applications put on `sys.path`, read in their sources and tried with the real programs."""

import posixpath
import shlex
from collections.abc import Iterator
from urllib.parse import unquote

from lockstep.environment.catalogue.launch.path import Place, Position
from lockstep.environment.catalogue.servers.gunicornconfig import SettingsError, settings
from lockstep.environment.catalogue.servers.options import Options, Words
from lockstep.environment.catalogue.servers.server import Called, Effect
from lockstep.environment.tree import UnreadableFileError

_ENV_FILE = "the variables of a file are not read"
_ENV_ADVICE = "set them by ENV in the Dockerfile, or in the ModelDeployment"

_UVICORN = Options.of(
    "--host --port --uds --fd --reload-dir --reload-include --reload-exclude --reload-delay --workers --loop --http --ws"
    " --ws-max-size --ws-max-queue --ws-ping-interval --ws-ping-timeout --ws-per-message-deflate --lifespan --interface"
    " --env-file --log-config --log-level --forwarded-allow-ips --root-path --limit-concurrency --backlog"
    " --limit-max-requests --limit-max-requests-jitter --timeout-keep-alive --timeout-notify --timeout-graceful-shutdown"
    " --timeout-worker-healthcheck --ssl-keyfile --ssl-certfile --ssl-keyfile-password --ssl-version --ssl-cert-reqs"
    " --ssl-ca-certs --ssl-ciphers --header --app-dir --h11-max-incomplete-event-size",
    "--reload --debug --http2 --access-log --no-access-log --use-colors --no-use-colors --proxy-headers --no-proxy-headers"
    " --server-header --no-server-header --date-header --no-date-header --version --reset-contextvars --factory --help",
)
_GUNICORN = Options.of(
    "-c --config -b --bind --backlog -w --workers -k --worker-class --threads --worker-connections --max-requests"
    " --max-requests-jitter -t --timeout --graceful-timeout --keep-alive --limit-request-line --limit-request-fields"
    " --limit-request-field_size --reload-engine --reload-extra-file --chdir -e --env -p --pid --worker-tmp-dir -u --user"
    " -g --group -m --umask --forwarded-allow-ips --access-logfile --access-logformat --error-logfile --log-file --log-level"
    " --logger-class --log-config --log-config-json --log-syslog-to --log-syslog-prefix --log-syslog-facility --statsd-host"
    " --dogstatsd-tags --statsd-prefix -n --name --pythonpath --paste --paster --proxy-allow-from --protocol"
    " --uwsgi-allow-from --keyfile --certfile --ssl-version --cert-reqs --ca-certs --ciphers --http-protocols"
    " --http2-max-concurrent-streams --http2-initial-window-size --http2-max-frame-size --http2-max-header-list-size"
    " --paste-global --forwarder-headers --header-map --asgi-loop --asgi-lifespan --asgi-disconnect-grace-period"
    " --websocket-max-message-size --http-parser --root-path --dirty-app --dirty-workers --dirty-timeout --dirty-threads"
    " --dirty-graceful-timeout --control-socket --control-socket-mode",
    "-h --help -v --version --reload --spew --check-config --print-config --preload --no-sendfile --reuse-port -D --daemon"
    " --initgroups --disable-redirect-access-to-syslog --capture-output --log-syslog -R --enable-stdio-inheritance"
    " --enable-backlog-metric --suppress-ragged-eofs --do-handshake-on-connect --strip-header-spaces --proxy-protocol"
    " --permit-obsolete-folding --permit-unconventional-http-method --permit-unconventional-http-version"
    " --casefold-http-method --no-control-socket --http2-cleartext",
    argparse=True,
)
_HYPERCORN = Options.of(
    "--access-log --access-logfile --access-logformat --backlog -b --bind --ca-certs --certfile --cert-reqs --ciphers -c"
    " --config --error-log --error-logfile --log-file --graceful-timeout --read-timeout --max-requests"
    " --max-requests-jitter -g --group -k --worker-class --keep-alive --keyfile --keyfile-password --insecure-bind"
    " --log-config --log-level -p --pid --quic-bind --root-path --server-name --statsd-host --statsd-prefix -m --umask -u"
    " --user --verify-mode --websocket-ping-interval -w --workers",
    "-h --help -D --daemon --debug --reload",
    argparse=True,
)
_GRANIAN = Options.of(
    "--host --port --uds --uds-permissions --interface --http --workers --blocking-threads --blocking-threads-idle-timeout"
    " --threads --threading-mode --runtime-threads --runtime-blocking-threads --runtime-mode --loop --task-impl --backlog"
    " --backpressure --http1-buffer-size --http1-header-read-timeout --http2-initial-connection-window-size"
    " --http2-initial-stream-window-size --http2-keep-alive-interval --http2-keep-alive-timeout"
    " --http2-max-concurrent-streams --http2-max-frame-size --http2-max-headers-size --http2-max-send-buffer-size"
    " --log-level --log-config --access-log-fmt --ssl-certificate --ssl-keyfile --ssl-keyfile-password --ssl-protocol-min"
    " --ssl-ca --ssl-crl --url-path-prefix --respawn-interval --rss-sample-interval --rss-samples --workers-lifetime"
    " --workers-max-rss --workers-kill-timeout --working-dir --env-files --static-path-route --static-path-mount"
    " --static-path-dir-to-file --static-path-expires --metrics-scrape-interval --metrics-address --metrics-port"
    " --reload-paths --reload-ignore-dirs --reload-ignore-patterns --reload-ignore-paths --reload-tick --process-name"
    " --pid-file",
    "--ws --no-ws --http1-keep-alive --no-http1-keep-alive --http1-pipeline-flush --no-http1-pipeline-flush --opt --no-opt"
    " --http2-adaptive-window --no-http2-adaptive-window --log --no-log --access-log --no-access-log --ssl-client-verify"
    " --no-ssl-client-verify --respawn-failed-workers --no-respawn-failed-workers --factory --no-factory --metrics"
    " --no-metrics --reload --no-reload --reload-ignore-worker-failure --no-reload-ignore-worker-failure --version --help",
)
_FLASK = Options.of(
    "-e --env-file -A --app --host -h --port -p --cert --key --extra-files --exclude-patterns",
    "--debug --no-debug --version --reload --no-reload --debugger --no-debugger --with-threads --without-threads --help",
)
_FASTAPI = Options.of(
    "--host --port --workers --root-path --app --entrypoint -e --forwarded-allow-ips --reload-dir",
    "--reload --no-reload --proxy-headers --no-proxy-headers --verbose -v --version --help",
)
_CELERY = Options.of(
    "-A --app -b --broker --result-backend --loader --config --workdir -n --hostname -D --statedb -l --loglevel -O -c"
    " --concurrency -P --pool --prefetch-multiplier -Q --queues -X --exclude-queues -I --include --time-limit"
    " --soft-time-limit --max-tasks-per-child --max-memory-per-child --autoscale -s --schedule --scheduler --pidfile -f"
    " --logfile --uid --gid --umask --executable",
    "-C --no-color -q --quiet --version --skip-checks -E --task-events --events --purge --discard -B --beat --detach"
    " --without-gossip --without-mingle --without-heartbeat --disable-prefetch --help",
)
_FASTAPI_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")


def uvicorn(called: Called) -> Effect:
    """`--app-dir`, by default the working directory (uvicorn/main.py, `run`)."""
    words = called.read(_UVICORN)
    _refuse_env_file(called, words.last("--env-file") or called.variable("UVICORN_ENV_FILE"))
    folder = words.last("--app-dir")
    folder = (called.variable("UVICORN_APP_DIR") or "") if folder is None else folder
    workers = words.last("--workers") or called.variable("UVICORN_WORKERS") or called.variable("WEB_CONCURRENCY") or "1"
    places = [Place(called.at(folder))]
    if workers.strip() != "1" or words.has("--reload") or called.variable("UVICORN_RELOAD"):
        # Each worker is an interpreter of its own that begins in the working directory (multiprocessing, "spawn").
        places.insert(0, Place(called.working_directory))
    return Effect(tuple(places), model=_scored_model(called))


def _scored_model(called: Called) -> str | None:
    """Return the model of MLflow's scoring application, which whoever starts it hands it by a variable."""
    uri = called.variable("__pyfunc_model_path__")
    if uri is None or not any("mlflow.pyfunc.scoring_server" in one for one in called.arguments):
        return None
    path = unquote(uri.removeprefix("file://"))
    return called.at(path) if path.startswith("/") else uri


def gunicorn(called: Called) -> Effect:
    """The working directory, `chdir`, and each of `pythonpath` (gunicorn/app/base.py)."""
    words = called.read(_GUNICORN)
    try:
        more = called.read(_GUNICORN, shlex.split(called.launch.env.get("GUNICORN_CMD_ARGS", "")))
    except ValueError as error:
        raise called.undetermined_error("GUNICORN_CMD_ARGS can't be read", "close its quotes") from error
    config = words.last("-c", "--config") or more.last("-c", "--config")
    files = tuple(_gunicorn_config(called, config))
    stated = _settings(called, files)
    for one in (more, words):
        for name in ("chdir", "pythonpath"):
            if (value := one.last(f"--{name}")) is not None:
                stated[name] = value
    here = called.working_directory
    folder = called.at(posixpath.normpath(posixpath.join(here, stated["chdir"]))) if stated.get("chdir") else here
    paths = [one for one in (stated.get("pythonpath") or "").strip().split(",") if stated.get("pythonpath")]
    absolute = [posixpath.normpath(posixpath.join(folder, one)) for one in paths]
    return Effect(
        tuple(Place(one, Position.FIRST_UNLESS_THERE) for one in (here, folder, *absolute)),
        model=_scored_model(called),
        code=files,
        goes_to=folder if stated.get("chdir") else None,
    )


def _gunicorn_config(called: Called, stated: str | None) -> Iterator[str]:
    if stated is not None and stated.startswith("python:"):
        raise called.undetermined_error("gunicorn's settings are in a module", "name the file of the settings instead: -c FILE")
    path = called.at(stated.removeprefix("file:") if stated is not None else "gunicorn.conf.py")
    if called.is_file(path):
        yield path


def _settings(called: Called, files: tuple[str, ...]) -> dict[str, str]:
    try:
        bodies = [called.tree.read(path) or b"" for path in files]
        return {name: value for body in bodies for name, value in settings(body, ("chdir", "pythonpath")).items()}
    except UnreadableFileError as error:
        why = f"its settings are in {error.path}, which is not kept ({error.why})"
        raise called.undetermined_error(why, "name that file gunicorn.conf.py, and let it have at most 64 KiB") from error
    except SettingsError as error:
        advice = "set chdir and pythonpath to plain strings there, or by --chdir and --pythonpath"
        raise called.undetermined_error(f"{files[0]}: {error}", advice) from error


def hypercorn(called: Called) -> Effect:
    """The directory of the application's module, which may be a path (hypercorn/utils.py, `load_application`)."""
    words = called.read(_HYPERCORN)
    parts = _application_argument(called, words).split(":")
    module = parts[1] if len(parts) == 3 else parts[0]
    config = words.last("-c", "--config") or ""
    if config.startswith("python:"):
        raise called.undetermined_error("hypercorn's settings are in a module", "name their file instead: -c file:FILE")
    file = called.at(config.removeprefix("file:"))
    code = (file,) if config.startswith("file:") and called.is_file(file) else ()
    return Effect((Place(posixpath.dirname(called.at(module))),), code=code)


def granian(called: Called) -> Effect:
    """`--working-dir`, then the target's directory as seen from the working directory (granian/_internal.py)."""
    words = called.read(_GRANIAN)
    _refuse_env_file(called, words.last("--env-files") or called.variable("GRANIAN_ENV_FILES"))
    stated = words.last("--working-dir") or called.variable("GRANIAN_WORKING_DIR")
    folder = called.at(stated or "")
    target = _folder_above_packages(called, called.at(_application_argument(called, words).partition(":")[0]))
    return Effect((Place(folder), Place(target)), goes_to=folder if stated else None)


def flask(called: Called) -> Effect:
    """The directory of `--app` or FLASK_APP, above its packages (flask/cli.py, `prepare_import`)."""
    words = called.read(_FLASK)
    _refuse_env_file(called, words.last("-e", "--env-file") or called.variable("FLASK_ENV_FILE"))
    app = words.last("-A", "--app") or called.variable("FLASK_APP")
    if app is None:
        for name in (".env", ".flaskenv"):
            if called.is_file(called.at(name)):
                raise called.undetermined_error(
                    f"flask reads {called.at(name)}, and {_ENV_FILE}", "set FLASK_APP by ENV, or give --app"
                )
    return Effect((Place(_folder_above_packages(called, called.at((app or "app").partition(":")[0]))),))


def _folder_above_packages(called: Called, path: str) -> str:
    path = path.removesuffix(".py")
    if path.endswith("/__init__"):
        path = posixpath.dirname(path)
    folder = posixpath.dirname(path)
    while folder != "/" and called.is_file(f"{folder}/__init__.py"):
        folder = posixpath.dirname(folder)
    return folder


def fastapi(called: Called) -> Effect:
    """The directory of the file above its packages, or the working directory (fastapi_cli/discover.py)."""
    words = called.read(_FASTAPI)
    here = Place(called.working_directory)
    if words.last("--entrypoint", "-e") or not words.arguments or words.arguments[0] not in ("run", "dev"):
        return Effect((here,))
    stated = words.arguments[1] if len(words.arguments) > 1 else None
    files = (stated,) if stated else _FASTAPI_FILES
    application = next((path for one in files if called.is_file(path := called.at(one)) or stated), None)
    if application is None:
        return Effect((here,))
    # An entrypoint in pyproject.toml, which is not read, takes the working directory.
    before = (here,) if not stated and called.is_file(called.at("pyproject.toml")) else ()
    return Effect((*before, Place(_folder_above_packages(called, application))))


def celery(called: Called) -> Effect:
    """The working directory or `--workdir`, while it loads the application (celery/utils/imports.py, `cwd_in_path`)."""
    words = called.read(_CELERY)
    folder = words.last("--workdir") or called.variable("CELERY_WORKDIR")
    place = Place(called.at(folder or ""), Position.FIRST_UNLESS_THERE)
    return Effect((place,), goes_to=place.folder if folder else None)


def waitress(called: Called) -> Effect:
    """The working directory, behind everything else (waitress/runner.py, `run`)."""
    return Effect((Place(called.working_directory, Position.LAST),))


def _application_argument(called: Called, words: Words) -> str:
    if words.unknown is not None:
        advice = "leave that option out, or write --option=value"
        raise called.undetermined_error(f"its option {words.unknown[:80]} is not known", advice)
    return words.arguments[0] if words.arguments else ""


def _refuse_env_file(called: Called, stated: str | None) -> None:
    if stated is not None:
        raise called.undetermined_error(f"it reads {stated[:200]}, and {_ENV_FILE}", _ENV_ADVICE)
