"""The server programs that are known, one row each. What is in no row is somebody's own program, and taken as it stands."""

import re

from lockstep.environment.catalogue.servers import launchers, modelservers, webservers
from lockstep.environment.catalogue.servers.server import Server


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Programs that start what their settings, their own options or whoever asks them say: name, entry points, modules.
_UNKNOWN = (
    # Process managers.
    ("supervisord", "supervisor.supervisord:main", "supervisor.supervisord"),
    ("circusd", "circus.circusd:main", "circus.circusd"),
    ("honcho", "honcho.command:main", "honcho honcho.__main__"),
    ("dotenv", "dotenv.__main__:cli dotenv.cli:cli", "dotenv dotenv.__main__"),
    # Reloaders.
    ("watchfiles", "watchfiles.cli:cli", "watchfiles watchfiles.__main__"),
    ("watchmedo", "watchdog.watchmedo:main", "watchdog.watchmedo"),
    ("hupper", "hupper.cli:main", "hupper.cli"),
    ("gradio", "gradio.cli:cli", "gradio gradio.__main__"),
    # What runs jobs or starts workers.
    ("torchrun", "torch.distributed.run:main", "torch.distributed.run torch.distributed.launch"),
    ("accelerate", "accelerate.commands.accelerate_cli:main", "accelerate.commands.launch"),
    ("ray", "ray.scripts.scripts:main ray.serve.scripts:cli", "ray.scripts.scripts ray.serve.scripts"),
    ("torchserve", "ts.model_server:start", "ts.model_server"),
    ("prefect", "prefect.cli:app", "prefect prefect.__main__"),
    ("invoke", "invoke.main:program.run", "invoke invoke.__main__"),
    ("nox", "nox.__main__:main", "nox nox.__main__"),
    ("tox", "tox.run:run", "tox tox.__main__"),
    ("litestar", "litestar.__main__:run_cli", "litestar litestar.__main__"),
    ("debugpy", "debugpy.server.cli:main", "debugpy debugpy.__main__"),
    # What answers from kernels or servers of its own, each in the environment that its specification names.
    ("jupyter", "jupyter_core.command:main", "jupyter jupyter_core jupyter_core.__main__ jupyter_core.command"),
    ("jupyter-server", "jupyter_server.serverapp:main", "jupyter_server jupyter_server.__main__"),
    ("jupyter-lab", "jupyterlab.labapp:main jupyterlab.labhubapp:main", "jupyterlab jupyterlab.__main__"),
    ("jupyter-notebook", "notebook.app:main", "notebook notebook.__main__"),
    ("jupyterhub", "jupyterhub.app:main jupyterhub.singleuser:main", "jupyterhub jupyterhub.__main__ jupyterhub.singleuser"),
    ("voila", "voila.app:main", "voila voila.__main__"),
    # What makes or chooses an environment when it starts.
    ("poetry", "poetry.console.application:main", "poetry poetry.__main__"),
    ("pipenv", "pipenv:cli", "pipenv pipenv.__main__"),
    ("pdm", "pdm.core:main", "pdm pdm.__main__"),
    ("hatch", "hatch.cli:main", "hatch hatch.__main__"),
    ("uv", "", "uv uv.__main__"),
    ("pex", "pex.bin.pex:main pex.cli.pex:main pex.cli.pex:run", "pex pex.__main__"),
)


SERVERS: tuple[Server, ...] = (
    Server(
        "uvicorn",
        _names("uvicorn.main:main"),
        webservers.uvicorn,
        _names("uvicorn uvicorn.__main__ uvicorn.main"),
        _names("UVICORN_APP_DIR UVICORN_ENV_FILE UVICORN_WORKERS UVICORN_RELOAD WEB_CONCURRENCY __pyfunc_model_path__"),
    ),
    Server(
        "gunicorn",
        _names("gunicorn.app.wsgiapp:run"),
        webservers.gunicorn,
        _names("gunicorn gunicorn.__main__ gunicorn.app.wsgiapp"),
        _names("GUNICORN_CMD_ARGS"),
    ),
    Server(
        "hypercorn",
        _names("hypercorn.__main__:main"),
        webservers.hypercorn,
        _names("hypercorn hypercorn.__main__"),
    ),
    Server(
        "granian",
        _names("granian:cli.entrypoint granian.cli:entrypoint granian:cli.cli"),
        webservers.granian,
        _names("granian granian.__main__"),
        _names("GRANIAN_WORKING_DIR GRANIAN_ENV_FILES"),
    ),
    Server(
        "flask",
        _names("flask.cli:main"),
        webservers.flask,
        _names("flask flask.__main__"),
        _names("FLASK_APP FLASK_ENV_FILE"),
    ),
    Server(
        "fastapi",
        _names("fastapi.cli:main fastapi_cli.cli:main"),
        webservers.fastapi,
        _names("fastapi fastapi.__main__ fastapi_cli fastapi_cli.__main__"),
    ),
    Server(
        "celery",
        _names("celery.__main__:main"),
        webservers.celery,
        _names("celery celery.__main__"),
        _names("CELERY_WORKDIR"),
    ),
    Server(
        "waitress",
        _names("waitress.runner:run"),
        webservers.waitress,
        _names("waitress waitress.__main__ waitress.runner"),
    ),
    Server(
        "mlflow",
        _names("mlflow.cli:cli"),
        modelservers.mlflow,
        _names("mlflow mlflow.__main__ mlflow.cli"),
        _names("MLFLOW_MODELS_WORKERS"),
    ),
    Server(
        "mlflow",
        frozenset(),
        modelservers.mlflow_container,
        variables=_names("MLFLOW_DISABLE_ENV_CREATION MLFLOW_MODELS_WORKERS"),
        # What `mlflow models build-docker` writes into its Dockerfile (mlflow/pyfunc/backend.py).
        code=re.compile(r"from mlflow\.models import container as C; C\._serve\('(\w+)'\)"),
    ),
    Server(
        "mlserver",
        _names("mlserver.cli:main"),
        modelservers.mlserver,
        _names("mlserver.cli"),
        _names("MLSERVER_MODEL_URI MLSERVER_MODEL_ENVIRONMENT_PATH MLSERVER_MODEL_ENVIRONMENT_TARBALL"),
    ),
    Server(
        "bentoml",
        _names("bentoml_cli.cli:cli"),
        modelservers.bentoml,
        _names("bentoml bentoml.__main__"),
    ),
    Server(
        "opentelemetry-instrument",
        _names("opentelemetry.instrumentation.auto_instrumentation:run"),
        launchers.opentelemetry,
        launcher=True,
    ),
    Server("ddtrace-run", _names("ddtrace.commands.ddtrace_run:main"), launchers.ddtrace, launcher=True),
    Server(
        "newrelic-admin",
        _names("newrelic.admin:main"),
        launchers.newrelic,
        _names("newrelic.admin newrelic.admin.__main__"),
        launcher=True,
    ),
    *(Server(name, _names(entries), launchers.unknown, _names(modules), launcher=True) for name, entries, modules in _UNKNOWN),
)
BY_ENTRY = {entry: server for server in SERVERS for entry in server.entries}
"""By what their console scripts call."""
BY_MODULE = {module: server for server in SERVERS for module in server.modules}
"""By what `python -m` is given."""
BY_CODE = [(server.code, server) for server in SERVERS if server.code is not None]
"""By what `python -c` is given."""
