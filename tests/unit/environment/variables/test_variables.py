"""What is known of environment variables, name by name."""

import pytest

from lockstep.environment.variables.harmless import gunicorn_numbers, is_plain
from lockstep.environment.variables.known import HARMLESS, KNOWN
from lockstep.environment.variables.variables import (
    FOLLOWED,
    find_known_variable,
    is_forbidden,
    is_harmless,
    runs_code,
    turns_switch,
)

NOBODYS = "not known to be harmless"
FORBIDDEN = "refused by the schema"

# Names that load code, choose code, choose the model, or look as if they might, each with what is made of it in a pod.
VERDICTS = {
    "GUNICORN_CMD_ARGS": "chooses code or settings that the server loads",
    "UVICORN_APP_DIR": FORBIDDEN,
    "UVICORN_ENV_FILE": FORBIDDEN,
    "UVICORN_LOG_CONFIG": "chooses code or settings that the server loads",
    "UVICORN_LIMIT_MAX_REQUESTS": "ends the server after a number of requests, later than any audit",
    "UVICORN_LIMIT_MAX_REQUESTS_JITTER": "ends the server after a number of requests, later than any audit",
    "UVICORN_RELOAD": "chooses code or settings that the server loads",
    "MLSERVER_MODEL_URI": "may choose another model than the registered one",
    "mlserver_model_uri": "may choose another model than the registered one",
    "MLSERVER_MODEL_IMPLEMENTATION": "may choose another model than the registered one",
    "MLSERVER_MODEL_REPOSITORY_IMPLEMENTATION": "may choose another model than the registered one",
    "MLSERVER_ENVIRONMENTS_DIR": "changes which environment or packages are used",
    "MODEL_URI": "may choose another model than the registered one",
    "MODEL_DIR": "may choose another model than the registered one",
    "MODEL_NAME": "may choose another model than the registered one",
    "SERVING_MODEL_CONFIG": "may choose another model than the registered one",
    "__pyfunc_model_path__": "may choose another model than the registered one",
    "MLFLOW_TRACKING_URI": "may choose another model than the registered one",
    "AWS_ENDPOINT_URL_S3": "may choose another model than the registered one",
    "AWS_SHARED_CREDENTIALS_FILE": "names programs that are run, or settings that name some",
    "GCONV_PATH": FORBIDDEN,
    "OPENSSL_CONF": FORBIDDEN,
    "OPENSSL_MODULES": FORBIDDEN,
    "OPENSSL_ENGINES": FORBIDDEN,
    "LOCPATH": FORBIDDEN,
    "NLSPATH": "makes the dynamic linker or the C library load other files",
    "PERL5OPT": FORBIDDEN,
    "PERL5LIB": FORBIDDEN,
    "RUBYOPT": FORBIDDEN,
    "JAVA_TOOL_OPTIONS": "makes another language's runtime load code",
    "JDK_JAVA_OPTIONS": "makes another language's runtime load code",
    "_JAVA_OPTIONS": "makes another language's runtime load code",
    "R_LIBS": "makes another language's runtime load code",
    "R_PROFILE": "makes another language's runtime load code",
    "HF_HOME": "may choose another model than the registered one",
    "TORCH_HOME": "may choose another model than the registered one",
    "XDG_CONFIG_HOME": "may choose another model than the registered one",
    "PIP_INDEX_URL": "changes which environment or packages are used",
    "UV_INDEX_URL": "changes which environment or packages are used",
    "CUDA_INJECTION64_PATH": FORBIDDEN,
    "NVIDIA_VISIBLE_DEVICES": "gives the container graphics cards that it was not granted",
    "MPLCONFIGDIR": "names a place from which compiled code or settings are loaded",
    "MPLBACKEND": "names a module that matplotlib imports",
    "JOBLIB_TEMP_FOLDER": "names a place from which compiled code or settings are loaded",
    "NUMBA_CACHE_DIR": "names a place from which compiled code or settings are loaded",
    "TRITON_CACHE_DIR": "names a place from which compiled code or settings are loaded",
    "TMPDIR": "names a place from which compiled code or settings are loaded",
    "NUMEXPR_SANITIZE": "lets expressions run code",
    "SSL_CERT_FILE": NOBODYS,
    "REQUESTS_CA_BUNDLE": NOBODYS,
    "http_proxy": NOBODYS,
    "DATABASE_URL": NOBODYS,
    "KUBERNETES_SERVICE_HOST": NOBODYS,
    "OPENBLAS_CORETYPE": NOBODYS,
    "MKL_ENABLE_INSTRUCTIONS": NOBODYS,
    "SHELLOPTS": FORBIDDEN,
    "BASHOPTS": FORBIDDEN,
    "PS4": FORBIDDEN,
    "BASH_ENV": FORBIDDEN,
    "BASH_XTRACEFD": FORBIDDEN,
    "IFS": FORBIDDEN,
    "ENV": FORBIDDEN,
    "MAMBA_ROOT_PREFIX": FORBIDDEN,
    "PYENV_VERSION": FORBIDDEN,
    "__PYVENV_LAUNCHER__": FORBIDDEN,
    "PYTHONPATH": FORBIDDEN,
    "PYTHONSTARTUP": FORBIDDEN,
    "LD_PRELOAD": FORBIDDEN,
    "LD_LIBRARY_PATH": FORBIDDEN,
    "PATH": FORBIDDEN,
    "HOME": FORBIDDEN,
    "GLIBC_TUNABLES": FORBIDDEN,
    "CONDA_PREFIX": FORBIDDEN,
    "VIRTUAL_ENV": FORBIDDEN,
    "FLASK_APP": "chooses code or settings that the server loads",
    "FLASK_DEBUG": "chooses code or settings that the server loads",
    "DJANGO_SETTINGS_MODULE": "chooses code or settings that the server loads",
    "CELERY_CONFIG_MODULE": "chooses code or settings that the server loads",
    "BENTOML_CONFIG_OPTIONS": "chooses code or settings that the server loads",
    "GIT_PYTHON_GIT_EXECUTABLE": "names programs that are run, or settings that name some",
    "GIT_SSH_COMMAND": "names programs that are run, or settings that name some",
    "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": FORBIDDEN,
    "OMP_TOOL_LIBRARIES": "names libraries that are loaded",
    "NCCL_NET_PLUGIN": "names libraries that are loaded",
    "OCL_ICD_VENDORS": "names libraries that are loaded",
    "VK_ICD_FILENAMES": "names libraries that are loaded",
    "OTEL_PYTHON_CONFIGURATOR": "chooses code or settings that the server loads",
    "OTEL_PYTHON_DISTRO": "chooses code or settings that the server loads",
    "OTEL_TRACES_EXPORTER": "chooses code or settings that the server loads",
    "OTEL_TRACES_SAMPLER": "chooses code or settings that the server loads",
    "OTEL_EXPORTER_OTLP_ENDPOINT": NOBODYS,
}


def verdict(name: str, value: str = "x:y /z") -> str:
    """Say what is made of a variable of the pods; the value is one that nobody takes for harmless."""
    if is_forbidden(name):
        return FORBIDDEN
    assert not is_harmless(name, value)
    entry = find_known_variable(name)
    return entry.does if entry else NOBODYS


@pytest.mark.parametrize(("name", "expected"), VERDICTS.items(), ids=VERDICTS)
def test_each_name_that_can_do_harm_has_its_verdict(name: str, expected: str) -> None:
    assert verdict(name) == expected


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_harmless_names_may_be_set_to_a_plain_word_and_to_nothing_else(name: str) -> None:
    assert not is_forbidden(name)
    assert find_known_variable(name) is None
    assert is_harmless(name, "4")
    assert is_harmless(name, "")
    assert not is_harmless(name, "4 --reload")


# What servers commonly get, by the server, with what teams set it to.
COMMON = {
    "MLServer": {"MLSERVER_HTTP_PORT": "8080", "MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_MODEL_MAX_BATCH_SIZE": "16"},
    "MLflow": {"MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "120", "GUNICORN_CMD_ARGS": "--workers=2 --timeout 60 -k gevent"},
    "uvicorn": {"UVICORN_LOG_LEVEL": "warning", "UVICORN_WORKERS": "2", "UVICORN_LOOP": "uvloop", "WEB_CONCURRENCY": "4"},
    "gunicorn": {"GUNICORN_CMD_ARGS": "-w4 --threads 8 --access-logfile - --worker-tmp-dir /dev/shm", "PORT": "8080"},
    "BentoML": {"BENTOML_PORT": "3000", "BENTOML_API_WORKERS": "1", "BENTOML_DO_NOT_TRACK": "True"},
    "threads": {
        "OMP_NUM_THREADS": "4,2",
        "MKL_NUM_THREADS": "4",
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    },
    "graphics cards": {"CUDA_VISIBLE_DEVICES": "0,1"},
    "language": {"TZ": "Europe/Berlin", "LANG": "C.UTF-8", "LC_ALL": "de_DE.UTF-8@euro"},
    "telemetry": {"OTEL_SERVICE_NAME": "iris", "OTEL_RESOURCE_ATTRIBUTES": "team=ml,tier=1", "OTEL_SDK_DISABLED": "true"},
    "caches": {"MPLCONFIGDIR": "/tmp/matplotlib", "NUMBA_CACHE_DIR": "/tmp", "TMPDIR": "/tmp/work", "MPLBACKEND": "Agg"},
    "memory of Java": {"JAVA_TOOL_OPTIONS": "-Xmx2g -XX:+UseContainerSupport -XX:MaxRAMPercentage=75.0"},
}


@pytest.mark.parametrize("variables", COMMON.values(), ids=COMMON)
def test_what_servers_commonly_get_may_be_set(variables: dict[str, str]) -> None:
    assert [name for name, value in variables.items() if is_forbidden(name) or not is_harmless(name, value)] == []


@pytest.mark.parametrize(
    "value",
    [
        "a b",
        "$(id)",
        "$X",
        "`id`",
        "a;b",
        "a*",
        "[ab]",
        "a|b",
        "a&b",
        "a>b",
        '"a"',
        "'a'",
        "--reload",
        "-x",
        "a\nb",
        "a\\b",
        "~",
    ],
)
def test_what_a_forgotten_quote_would_turn_into_more_than_one_word_is_not_plain(value: str) -> None:
    assert not is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        "--pythonpath /opt/e",
        "--pythonpath=/opt/e",
        "-c /opt/e.py",
        "--config python:evil",
        "--chdir /opt/e",
        "-k evil.Worker",
        "--worker-class=evil.Worker",
        "--logger-class evil.Logger",
        "--reload",
        "--timeout --pythonpath=/opt/e",
        "--timeout",
        "evil:app",
        "--timeout 60 'unclosed",
        "-e PYTHONPATH=/opt/e",
        "--log-config /opt/e.ini",
        "--access-logfile /tmp/yaml.py",
        "--access-logformat x",
        "--error-logfile=/app/yaml.py",
        "--worker-tmp-dir /app",
    ],
)
def test_options_of_gunicorn_that_bring_code_are_found_among_the_others(value: str) -> None:
    assert not gunicorn_numbers(value)
    assert not gunicorn_numbers(f"--workers 2 {value}")
    assert runs_code("GUNICORN_CMD_ARGS", value) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHELLOPTS", "xtrace"),
        ("PS4", "$(id)+"),
        ("BASH_FUNC_uvicorn%%", "() { :; }"),
        ("BASH_ENV", "/opt/e.sh"),
        ("PYTHONWARNINGS", "ignore::evil.Loaded"),
        ("PYTHONWARNINGS", "ignore,default::evil.Loaded"),
        ("PYTHONBREAKPOINT", "evil.run"),
        ("LD_PRELOAD", "/opt/e.so"),
        ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2 /opt/e.so"),
        ("LD_PRELOAD", "libjemalloc.so.2"),
        ("LD_AUDIT", "/opt/e.so"),
        ("GCONV_PATH", "/opt/e"),
        ("OPENSSL_CONF", "/opt/e.cnf"),
        ("OPENSSL_MODULES", "/opt/e"),
        ("UVICORN_APP_DIR", "/opt/e"),
        ("UVICORN_ENV_FILE", "/opt/e.env"),
        ("UVICORN_LOG_CONFIG", "/opt/e.json"),
        ("UVICORN_LOOP", "evil:loop"),
        ("GRANIAN_WORKING_DIR", "/opt/e"),
        ("MPLBACKEND", "module://evil"),
        ("GIT_PYTHON_GIT_EXECUTABLE", "/opt/e"),
        ("CUDA_INJECTION64_PATH", "/opt/e.so"),
        ("OMP_TOOL_LIBRARIES", "/opt/e.so"),
        ("INTEL_LIBITTNOTIFY64", "/opt/e.so"),
    ],
)
def test_what_an_image_sets_to_run_code_unseen_is_found(name: str, value: str) -> None:
    assert runs_code(name, value) is not None


# The variables of public base images, as their configuration has them.
IMAGES = {
    "python": {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "GPG_KEY": "A035C8C19219BA821ECEA86B64E628F8D684696D",
        "PYTHON_VERSION": "3.11.9",
        "PYTHON_SHA256": "9b1e896523fc510691126c864406d9360a3d1e986acbda59cda57b5abda45b87",
        "PYTHON_PIP_VERSION": "24.0",
        "PYTHON_SETUPTOOLS_VERSION": "65.5.1",
        "PYTHON_GET_PIP_URL": "https://github.com/pypa/get-pip/raw/x/public/get-pip.py",
    },
    "an application of python's": {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONHASHSEED": "random",
        "PYTHONPATH": "/app",
        "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore:Unverified HTTPS request",
        "PYTHONBREAKPOINT": "0",
        "PIP_NO_CACHE_DIR": "1",
        "UV_LINK_MODE": "copy",
        "POETRY_VIRTUALENVS_CREATE": "false",
        "VIRTUAL_ENV": "/opt/venv",
        "ENV": "production",
        "DEBUG": "false",
        "GIT_COMMIT": "c0ffee",
        "APP_MODULE": "app.main:app",
        "MODEL_DIR": "/opt/model",
        "GUNICORN_CMD_ARGS": "--bind=0.0.0.0:8080 --workers=2 -k uvicorn.workers.UvicornWorker",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "NUMBA_CACHE_DIR": "/tmp/numba",
        "FLASK_APP": "app.py",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "GIT_PYTHON_REFRESH": "quiet",
        "LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/libtcmalloc.so.4:/usr/lib/x86_64-linux-gnu/libgomp.so.1",
    },
    "nvidia/cuda": {
        "NVARCH": "x86_64",
        "NVIDIA_REQUIRE_CUDA": "cuda>=12.4 brand=tesla,driver>=470,driver<471",
        "NV_CUDA_CUDART_VERSION": "12.4.127-1",
        "CUDA_VERSION": "12.4.1",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "LIBRARY_PATH": "/usr/local/cuda/lib64/stubs",
    },
    "nvcr.io's frameworks and triton": {
        "BASH_ENV": "/etc/bash.bashrc",
        "ENV": "/etc/shinit_v2",
        "SHELL": "/bin/bash",
        "CUDA_MODULE_LOADING": "LAZY",
        "NCCL_VERSION": "2.21.5",
        "OMPI_MCA_coll_hcoll_enable": "0",
        "TORCH_CUDA_ARCH_LIST": "8.0 8.6 9.0+PTX",
        "TRITON_PTXAS_PATH": "/usr/local/cuda/bin/ptxas",
        "TRITON_SERVER_VERSION": "2.50.0",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "PYTHONIOENCODING": "utf-8",
        "PIP_CONSTRAINT": "/etc/pip/constraint.txt",
        "LC_ALL": "C.UTF-8",
    },
    "conda": {"PATH": "/opt/conda/bin:/usr/bin", "LANG": "C.UTF-8", "CONDA_DIR": "/opt/conda", "CONDA_DEFAULT_ENV": "base"},
    "micromamba": {"MAMBA_ROOT_PREFIX": "/opt/conda", "MAMBA_EXE": "/bin/micromamba", "MAMBA_USER": "mambauser"},
    "ubi's python, but for BASH_ENV": {
        "SUMMARY": "Platform for building and running Python 3.11 applications",
        "STI_SCRIPTS_PATH": "/usr/libexec/s2i",
        "APP_ROOT": "/opt/app-root",
        "PROMPT_COMMAND": ". /opt/app-root/bin/activate",
        "ENV": "/opt/app-root/bin/activate",
        "NODEJS_VER": "20",
        "CNB_STACK_ID": "com.redhat.stacks.ubi9-python-311",
        "container": "oci",
        "PIP_NO_CACHE_DIR": "off",
    },
    "BentoML": {
        "BENTO_PATH": "/home/bentoml/bento",
        "BENTOML_HOME": "/home/bentoml/",
        "BENTOML_CONFIG": "",
        "BENTOML_CONTAINERIZED": "true",
        "UV_COMPILE_BYTECODE": "1",
    },
    "Jupyter": {
        "CONDA_DIR": "/opt/conda",
        "SHELL": "/bin/bash",
        "NB_USER": "jovyan",
        "HOME": "/home/jovyan",
        "JUPYTER_PORT": "8888",
        "XDG_CACHE_HOME": "/home/jovyan/.cache/",
        "DEBIAN_FRONTEND": "noninteractive",
        "NODE_OPTIONS": "--max-old-space-size=4096",
        "R_HOME": "/opt/conda/lib/R",
    },
    "MLServer": {"MLSERVER_MODELS_DIR": "/mnt/models", "MLSERVER_ENV_TARBALL": "/mnt/models/environment.tar.gz"},
    "MLflow's own": {
        "DISABLE_NGINX": "true",
        "MLFLOW_DISABLE_ENV_CREATION": "true",
        "JAVA_HOME": "/usr/lib/jvm/java-17-openjdk",
    },
    "Hugging Face": {
        "HF_HOME": "/data",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_CACHE": "/data",
        "HF_TASK": "text-classification",
    },
    "Java on top": {"JAVA_TOOL_OPTIONS": "-XX:+IgnoreUnrecognizedVMOptions -XX:+UseContainerSupport", "JAVA_HOME": "/opt/java"},
}


@pytest.mark.parametrize("variables", IMAGES.values(), ids=IMAGES)
def test_the_variables_of_common_images_are_theirs(variables: dict[str, str]) -> None:
    assert {name: why for name, value in variables.items() if (why := runs_code(name, value))} == {}


def test_what_the_scan_follows_is_not_judged_a_second_time() -> None:
    assert [name for name in FOLLOWED if runs_code(name, "/opt/e")] == []


@pytest.mark.parametrize(
    ("name", "value", "server"),
    [
        ("UVICORN_APP_DIR", "/opt/e", "uvicorn"),
        ("UVICORN_APP_DIR", "/opt/e", "mlflow"),
        ("GUNICORN_CMD_ARGS", "--chdir /opt/e -c /opt/e/conf.py --pythonpath=/opt/f -w 2", "gunicorn"),
        ("GRANIAN_WORKING_DIR", "/opt/e", "granian"),
    ],
)
def test_what_the_scan_follows_for_a_known_server_is_refused_for_any_other_program(name: str, value: str, server: str) -> None:
    assert runs_code(name, value, server) is None
    assert runs_code(name, value, None) is not None
    assert runs_code(name, value, "bentoml") is not None


def test_what_brings_code_of_its_own_is_refused_for_gunicorn_too() -> None:
    assert runs_code("GUNICORN_CMD_ARGS", "--chdir /app -k evil.Worker", "gunicorn") is not None
    assert runs_code("GUNICORN_CMD_ARGS", "-e PYTHONPATH=/opt/e", "gunicorn") is not None
    assert not is_harmless("GUNICORN_CMD_ARGS", "--chdir /app"), "of the pods it was not scanned"


@pytest.mark.parametrize(
    ("name", "before", "value", "may"),
    [
        ("QUEUE_SIZE", "10", "20", True),
        ("CACHE_TTL", "60s", "5m", True),
        ("WITH_METRICS", "true", "off", True),
        ("APP_LOG", "info", "debug", True),
        ("QUEUE_SIZE", "10", "/opt/e", False),
        ("FLAVOUR", "basic", "5", False),
        ("FLAVOUR", "basic", "full", False),
        ("DATA_DIR", "/opt/data", "/opt/e", False),
        ("WEIGHTS_NUMBER", "1", "2", False),
        ("VARIANT", "1", "2", False),
        ("APP_DEBUG", "false", "true", False),
    ],
)
def test_numbers_and_switches_of_an_image_may_be_turned_and_words_and_places_may_not(
    name: str, before: str, value: str, may: bool
) -> None:
    assert turns_switch(name, before, value) is may


def test_every_entry_says_what_it_does_as_the_end_of_a_sentence() -> None:
    for entry in KNOWN:
        assert entry.does[0].islower()
        assert not entry.does.endswith(".")
        assert all(pattern == pattern.upper() for pattern in entry.names)
