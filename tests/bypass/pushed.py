"""Images that are made on the good one, by who may push: other weights, other code, the same environment on paper."""

from collections.abc import Mapping

from tests.bypass.attempt import Attempts, Outcome, Result
from tests.bypass.scene import FALSE_JOBLIB, SHIM, Scene, in_base64
from tests.bypass.variables import judged

attempts = Attempts()

_SITE = "/opt/venv/lib/python3*/site-packages"
_SERVE = (
    '["mlflow", "models", "serve", "--model-uri", "{model}", "--env-manager", "local", "--host", "0.0.0.0", "--port", "8080"]'
)


def _tried(scene: Scene, *steps: str, files: Mapping[str, str] | None = None) -> Result:
    return judged(scene, scene.deploy(scene.image(*steps, files=files)))


def _documented(scene: Scene, *steps: str, files: Mapping[str, str] | None = None) -> Result:
    """An attempt that the threat model says is not found out: who must be kept out needs a signature."""
    result = _tried(scene, *steps, files=files)
    return Result(Outcome.DOCUMENTED, result.seen) if result.outcome is Outcome.BYPASSED else result


@attempts.attempt("B1", "who pushes", "other weights under the registered MLmodel")
def weights(scene: Scene) -> Result:
    retrain = (
        "import glob, skops.io as io; p = glob.glob('/opt/model/*.skops')[0]; "
        "m = io.load(p, trusted=io.get_untrusted_types(file=p)); m[-1].coef_ = -m[-1].coef_; io.dump(m, p)"
    )
    return _tried(scene, f'RUN /opt/venv/bin/python -c "{retrain}"')


@attempts.attempt("B2", "who pushes", "an edited MLmodel that loads its own code, with the ids kept")
def mlmodel(scene: Scene) -> Result:
    loader = (
        "class Model:\n    def predict(self, X, params=None): return [77] * len(X)\ndef _load_pyfunc(path): return Model()\n"
    )
    steps = (
        "RUN mkdir -p /opt/model/code && sed -i 's/loader_module: .*/loader_module: evil_loader/' /opt/model/MLmodel "
        "&& sed -i '0,/python_function:/s//python_function:\\n    code: code/' /opt/model/MLmodel",
        "COPY evil_loader.py /opt/model/code/evil_loader.py",
    )
    return _tried(scene, *steps, files={"evil_loader.py": loader})


@attempts.attempt("B3", "who pushes", "the registered model is there, another one is served")
def unused_model(scene: Scene) -> Result:
    flip = (
        "import glob, skops.io as io; p = glob.glob('/opt/evil/*.skops')[0]; "
        "m = io.load(p, trusted=io.get_untrusted_types(file=p)); m[-1].coef_ = -m[-1].coef_; io.dump(m, p)"
    )
    copied = f'RUN cp -r /opt/model /opt/evil && /opt/venv/bin/python -c "{flip}"'
    return _tried(scene, copied, f"CMD {_SERVE.format(model='/opt/evil')}")


@attempts.attempt("B4", "who pushes", "SHELLOPTS and PS4 in the image's Env")
def traced(scene: Scene) -> Result:
    script = f"$(echo {in_base64(SHIM)} | base64 -d > /tmp/yaml.py)+"
    return _tried(scene, f"ENV SHELLOPTS=xtrace PS4='{script}'")


@attempts.attempt("B5", "who pushes", "UVICORN_APP_DIR in the image's Env leads to another joblib")
def app_dir(scene: Scene) -> Result:
    return _tried(scene, "COPY joblib.py /opt/e/joblib.py", "ENV UVICORN_APP_DIR=/opt/e", files={"joblib.py": FALSE_JOBLIB})


@attempts.attempt("B6", "who pushes", "a joblib in the working directory, which uvicorn puts on the path")
def working_directory(scene: Scene) -> Result:
    return _tried(scene, "COPY joblib.py /app/joblib.py", "WORKDIR /app", files={"joblib.py": FALSE_JOBLIB})


@attempts.attempt("B6b", "who pushes", "a yaml in the working directory")
def working_directory_yaml(scene: Scene) -> Result:
    return _tried(scene, "COPY yaml.py /app/yaml.py", "WORKDIR /app", files={"yaml.py": SHIM})


@attempts.attempt("B6c", "who pushes", "an edited module of the standard library")
def standard_library(scene: Scene) -> Result:
    return _tried(scene, "RUN echo 'EVIL = 1' >> $(ls -d /usr/lib/python3.*/)bisect.py")


@attempts.attempt("B9", "who pushes", "a script that puts another folder on sys.path at run time")
def sets_the_path(scene: Scene) -> Result:
    text = (
        "import sys\nsys.path.insert(0, '/opt/e')\nimport os\nos.environ.update(__pyfunc_model_path__='/opt/model')\n"
        "from mlflow.pyfunc import scoring_server\nimport uvicorn\n"
        "from mlflow.pyfunc import load_model\n"
        "uvicorn.run(scoring_server.init(load_model('/opt/model')), host='0.0.0.0', port=8080)\n"
    )
    return _documented(
        scene,
        "COPY serve.py /srv/serve.py",
        "COPY yaml.py /opt/e/yaml.py",
        'CMD ["python3", "/srv/serve.py"]',
        files={"serve.py": text, "yaml.py": SHIM},
    )


@attempts.attempt("B11", "who pushes", "code in CMD")
def code_in_the_command(scene: Scene) -> Result:
    code = "import sys; sys.path.insert(0, '/opt/e'); import mlflow.pyfunc.scoring_server, uvicorn"
    return _tried(scene, f'CMD ["python3", "-c", "{code}"]')


@attempts.attempt("B13", "who pushes", "an edited bin/uvicorn")
def console_script(scene: Scene) -> Result:
    edit = 'RUN sed -i \'s/^import sys/import sys; sys.argv += ["--app-dir", "\\/opt\\/e"]/\' /opt/venv/bin/uvicorn'
    return _tried(scene, "COPY joblib.py /opt/e/joblib.py", edit, files={"joblib.py": FALSE_JOBLIB})


@attempts.attempt("B14", "who pushes", "an edited file of the installed server")
def edited_server(scene: Scene) -> Result:
    return _tried(
        scene,
        f"COPY shim.py /tmp/shim.py\nRUN cat /tmp/shim.py >> $(ls {_SITE}/mlflow/pyfunc/scoring_server/app.py)",
        files={"shim.py": SHIM.replace("here = sys.path.pop(0)", "")},
    )


@attempts.attempt("B16", "who pushes", "/etc/ld.so.preload")
def preload(scene: Scene) -> Result:
    result = _tried(scene, "RUN echo /opt/evil.so > /etc/ld.so.preload")
    harmless = result.outcome is Outcome.HELD and "promoted" in result.seen
    return Result(Outcome.BYPASSED, "not refused") if harmless else result
