"""What environment variables do: those that are harmless, and those that run code, choose code or choose the model.

Read from the documentation and sources of the servers and libraries; names that are in neither table are nobody's.
"""

from dataclasses import dataclass

from lockstep.environment.variables.harmless import (
    Judge,
    below_tmp,
    builtin_warnings,
    gunicorn_numbers,
    jvm_sizes,
    matching,
    never,
    system_allocators,
)

HARMLESS = frozenset(
    {
        # Logs and language: what LC_* names is data in the system's own folders, since glibc takes no name with a slash in it.
        *("LOG_LEVEL", "LOGLEVEL", "LOG_FORMAT", "NO_COLOR", "FORCE_COLOR", "TERM", "TZ", "LANG", "LANGUAGE", "LC_ALL"),
        *("LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"),
        # How many at a time. No pattern: OMP_TOOL_LIBRARIES loads libraries, NUMEXPR_SANITIZE lets expressions run code.
        *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_PLACES", "OMP_SCHEDULE"),
        *("OMP_STACKSIZE", "OMP_WAIT_POLICY", "OMP_MAX_ACTIVE_LEVELS", "KMP_AFFINITY", "KMP_BLOCKTIME", "GOMP_CPU_AFFINITY"),
        *("GOMP_SPINCOUNT", "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_DOMAIN_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        *("GOTO_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS"),
        *("NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "TF_NUM_INTRAOP_THREADS"),
        *("TF_NUM_INTEROP_THREADS", "TF_CPP_MIN_LOG_LEVEL", "TOKENIZERS_PARALLELISM", "MALLOC_ARENA_MAX"),
        *("CUDA_VISIBLE_DEVICES", "WORKERS", "NUM_WORKERS", "THREADS", "WEB_CONCURRENCY"),
        # Servers: addresses, numbers, times, logs. One that leaves the port that it is asked at does not become ready.
        *("HOST", "PORT", "MLSERVER_HOST", "MLSERVER_HTTP_PORT", "MLSERVER_GRPC_PORT", "MLSERVER_METRICS_PORT"),
        *("MLSERVER_METRICS_ENDPOINT", "MLSERVER_DEBUG", "MLSERVER_GZIP_ENABLED", "MLSERVER_USE_STRUCTURED_LOGGING"),
        *("MLSERVER_PARALLEL_WORKERS", "MLSERVER_PARALLEL_WORKERS_TIMEOUT", "MLSERVER_GRPC_MAX_MESSAGE_LENGTH"),
        *("MLSERVER_MODEL_PARALLEL_WORKERS", "MLSERVER_MODEL_MAX_BATCH_SIZE", "MLSERVER_MODEL_MAX_BATCH_TIME"),
        *("UVICORN_HOST", "UVICORN_PORT", "UVICORN_WORKERS", "UVICORN_LOG_LEVEL", "UVICORN_ACCESS_LOG", "UVICORN_USE_COLORS"),
        *("UVICORN_BACKLOG", "UVICORN_PROXY_HEADERS", "UVICORN_SERVER_HEADER", "UVICORN_DATE_HEADER"),
        *("UVICORN_TIMEOUT_KEEP_ALIVE", "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN", "UVICORN_TIMEOUT_WORKER_HEALTHCHECK"),
        *("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"),
        *("MLFLOW_LOGGING_LEVEL", "MLFLOW_DISABLE_TELEMETRY", "BENTOML_HOST", "BENTOML_PORT", "BENTOML_DEBUG", "BENTOML_QUIET"),
        *("BENTOML_API_WORKERS", "BENTOML_DO_NOT_TRACK", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "GIT_PYTHON_REFRESH"),
        *("HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY", "AWS_REGION", "AWS_DEFAULT_REGION"),
        # Telemetry: names and attributes. Exporters, samplers and configurators are entry points that are chosen by name.
        *("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_LOG_LEVEL", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER_ARG"),
    }
)
"""Names that whoever deploys may set unasked, where the value is one plain word."""


SPAWNING = frozenset({"UVICORN_WORKERS", "WEB_CONCURRENCY"})
"""Of these, those by which uvicorn starts interpreters of their own, which begin in the working directory: it is on their path
(multiprocessing, start method `spawn`), although it need not be on the path of one process alone.
"""


@dataclass(frozen=True)
class Known:
    """Variables that do more than set a number."""

    does: str
    """What they do, as the end of a sentence: `SHELLOPTS makes shells …`."""
    names: tuple[str, ...]
    """Their names, in upper case, with wildcards."""
    harmless: Judge = never
    """Returns whether a value does none of it."""
    in_images: bool = False
    """Whether they run or choose code of the serving process in a place that no scan of files reads."""


_SHELLS = "makes shells run or read other commands"
_PYTHON = "changes what Python loads or runs"
_LINKER = "makes the dynamic linker or the C library load other files"
_OPENSSL = "makes OpenSSL load modules"
_SERVER = "chooses code or settings that the server loads"
_MODEL = "may choose another model than the registered one"
_LIBRARY = "names libraries that are loaded"
_PROGRAM = "names programs that are run, or settings that name some"
_CACHE = "names a place from which compiled code or settings are loaded"
_RUNTIME = "makes another language's runtime load code"
_PACKAGES = "changes which environment or packages are used"


def _entry(does: str, names: str, harmless: Judge = never, *, in_images: bool = False) -> Known:
    return Known(does, tuple(names.split()), harmless, in_images)


_OF_IMAGES_TOO: tuple[Known, ...] = (
    _entry(_SHELLS, "BASH_ENV", matching(r"(?:/etc/bash\.bashrc|/etc/bashrc|/etc/profile)?"), in_images=True),
    _entry(_SHELLS, "SHELLOPTS BASHOPTS PS4 IFS BASH_*", in_images=True),
    _entry(_PYTHON, "PYTHONWARNINGS", builtin_warnings, in_images=True),
    _entry(_PYTHON, "PYTHONBREAKPOINT", matching("0?"), in_images=True),
    _entry(_PYTHON, "PYTHONSTARTUP PYTHON_PRESITE PYTHONEXECUTABLE __PYVENV_LAUNCHER__", in_images=True),
    _entry(_LINKER, "LD_PRELOAD", system_allocators, in_images=True),
    _entry(_LINKER, "LD_AUDIT GCONV_PATH", in_images=True),
    _entry(
        _OPENSSL,
        "OPENSSL_CONF",
        matching(r"(?:/dev/null|/etc/ssl/?|/etc/ssl/openssl\.cnf|/usr/lib/ssl/openssl\.cnf|/etc/pki/tls/openssl\.cnf)?"),
        in_images=True,
    ),
    _entry(_OPENSSL, "OPENSSL_MODULES OPENSSL_ENGINES", in_images=True),
    _entry(_SERVER, "GUNICORN_CMD_ARGS", gunicorn_numbers, in_images=True),
    # Names of their own; with a colon they are import strings.
    _entry(_SERVER, "UVICORN_LOOP UVICORN_HTTP UVICORN_WS", matching(r"[a-z0-9-]*"), in_images=True),
    _entry(_SERVER, "UVICORN_APP_DIR UVICORN_ENV_FILE UVICORN_LOG_CONFIG", in_images=True),
    _entry(_SERVER, "GRANIAN_WORKING_DIR GRANIAN_ENV_FILES GRANIAN_LOG_CONFIG CELERY_WORKDIR FLASK_ENV_FILE", in_images=True),
    _entry(
        "names a module that matplotlib imports",
        "MPLBACKEND",
        matching(r"[A-Za-z0-9_]*|module://matplotlib_inline\.backend_inline"),
        in_images=True,
    ),
    # GitPython runs it when it is imported, and MLflow imports GitPython.
    _entry(
        _PROGRAM,
        "GIT_PYTHON_GIT_EXECUTABLE",
        matching(r"(?:git|/usr/bin/git|/usr/local/bin/git|/opt/conda/bin/git)?"),
        in_images=True,
    ),
    _entry(_LIBRARY, "CUDA_INJECTION64_PATH NVTX_INJECTION64_PATH TF_PLUGGABLE_DEVICE_LIBRARY_PATH", in_images=True),
    _entry(_LIBRARY, "OMP_TOOL_LIBRARIES HDF5_PLUGIN_PATH INTEL_LIBITTNOTIFY* INTEL_JIT_PROFILER*", in_images=True),
    _entry(_LIBRARY, "HSA_TOOLS_LIB ROCP_TOOL_LIB", in_images=True),
)

_OF_PODS_ALONE: tuple[Known, ...] = (
    _entry("ends the server after a number of requests, later than any audit", "UVICORN_LIMIT_MAX_REQUESTS*"),
    _entry("gives the container graphics cards that it was not granted", "NVIDIA_VISIBLE_DEVICES"),
    _entry("lets expressions run code", "NUMEXPR_SANITIZE"),
    _entry(_SHELLS, "ENV ZDOTDIR FPATH CDPATH GLOBIGNORE PROMPT_COMMAND PS? POSIXLY_CORRECT SHELL"),
    _entry(_PYTHON, "PYTHON* COVERAGE_PROCESS_START PYTEST_* PYDEVD_* DEBUGPY_*"),
    _entry(_LINKER, "LD_* GLIBC_TUNABLES LOCPATH NLSPATH"),
    _entry(_PACKAGES, "PATH HOME VIRTUAL_ENV CONDA_* MAMBA_* PYENV_* PIP_* UV_* POETRY_* PIPENV_*"),
    _entry(_PACKAGES, "MLFLOW_ENV_ROOT MLFLOW_CONDA_* MLFLOW_DISABLE_ENV_CREATION MLSERVER_ENV* BENTOML_HOME"),
    _entry(_RUNTIME, "*JAVA_OPTIONS *JAVA_TOOL_OPTIONS", jvm_sizes),
    _entry(_RUNTIME, "CLASSPATH NODE_OPTIONS NODE_PATH PERL5* PERLLIB RUBYOPT RUBYLIB GEM_* BUNDLE_*"),
    _entry(_RUNTIME, "R_* JULIA_* LUA_* DOTNET_STARTUP_HOOKS CORECLR_* COR_*PROFIL*"),
    _entry(_PROGRAM, "EDITOR VISUAL PAGER MANPAGER BROWSER LESSOPEN LESSCLOSE SSH_ASKPASS CURL_HOME NETRC"),
    _entry(_PROGRAM, "GIT_PYTHON_* GIT_EXEC_PATH GIT_SSH* GIT_CONFIG* GIT_ASKPASS GIT_EDITOR GIT_PAGER GIT_DIR GIT_PROXY_*"),
    _entry(_PROGRAM, "AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_DATA_PATH AWS_PROFILE BOTO_CONFIG"),
    _entry(_PROGRAM, "GOOGLE_APPLICATION_CREDENTIALS GOOGLE_EXTERNAL_ACCOUNT_* KUBECONFIG DOCKER_CONFIG TRITON_*_PATH"),
    _entry(
        _CACHE,
        "MPLCONFIGDIR NUMBA_CACHE_DIR JOBLIB_TEMP_FOLDER TMPDIR TEMP TMP TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR "
        "CUDA_CACHE_PATH PROMETHEUS_MULTIPROC_DIR",
        below_tmp,
    ),
    _entry(_CACHE, "TRITON_HOME TORCH_EXTENSIONS_DIR PYTORCH_KERNEL_CACHE_PATH JAX_COMPILATION_CACHE_DIR DASK_CONFIG"),
    _entry(_LIBRARY, "*_PLUGIN_PATH *_PLUGINS NCCL_*PLUGIN* PJRT_* TPU_LIBRARY_PATH OCL_ICD_* VK_* LIBGL_* LIBVA_*"),
    _entry(_LIBRARY, "GBM_* GST_PLUGIN* GTK_PATH GTK_MODULES GIO_EXTRA_MODULES ODBCINI ODBCSYSINI KRB5_CONFIG"),
    _entry(_SERVER, "UVICORN_APP UVICORN_FACTORY UVICORN_INTERFACE UVICORN_LIFESPAN UVICORN_RELOAD* GUNICORN_* HYPERCORN_*"),
    _entry(_SERVER, "GRANIAN_FACTORY GRANIAN_INTERFACE GRANIAN_LOOP GRANIAN_RELOAD* GRANIAN_STATIC_* CELERY_LOADER CELERY_APP"),
    _entry(_SERVER, "APP_MODULE MODULE_NAME VARIABLE_NAME WORKER_CLASS PRE_START_PATH FLASK_* QUART_* BENTO_PATH"),
    _entry(_SERVER, "*SETTINGS_MODULE *CONFIG_MODULE BENTOML_CONFIG* MLSERVER_EXTENSIONS MLSERVER_*SETTINGS MLSERVER_PATH"),
    _entry(_SERVER, "OTEL_PYTHON_* OTEL_*_EXPORTER OTEL_PROPAGATORS OTEL_TRACES_SAMPLER OTEL_EXPERIMENTAL_*"),
    _entry(_MODEL, "*MODEL* *WEIGHTS* *CHECKPOINT* STORAGE_URI MLFLOW_TRACKING_URI MLFLOW_REGISTRY_URI MLFLOW_RUN_ID"),
    _entry(_MODEL, "MLFLOW_S3_ENDPOINT_URL AWS_ENDPOINT_URL* HF_HOME HF_*CACHE HF_HUB_OFFLINE HF_ENDPOINT HUGGINGFACE_*CACHE"),
    _entry(
        _MODEL, "TRANSFORMERS_CACHE TRANSFORMERS_OFFLINE SENTENCE_TRANSFORMERS_HOME TORCH_HOME KERAS_* XDG_*_HOME NLTK_DATA"
    ),
)

KNOWN = _OF_IMAGES_TOO + _OF_PODS_ALONE
"""The first entry that fits a name counts."""
