"""Finds the logged models in an image: the directories with an `MLmodel` file, and all files below them."""

import posixpath
from collections.abc import Iterator

from lockstep.api.reasons import Reason
from lockstep.environment.tree import EntryTree, FileKind, UnreadableFileError
from lockstep.formats.canonical import sha256_of, strict_json
from lockstep.formats.mlmodel import InvalidMLmodelError, read_mlmodel
from lockstep.formats.modelfiles import MAX_FILES, InvalidModelFilesError, ModelFile, ModelFiles
from lockstep.images.image import ImageError
from lockstep.images.scan.result import ImageModel

_MAX_MODELS = 64
_MAX_PACKED = 700_000
"""Characters that the lists of all models' files may have in an image's record."""
_MAX_DEPTH = 100
_CACHE = "__pycache__"

_RUNTIMES = frozenset(
    {
        "mlserver_mlflow.MLflowRuntime",
        "mlserver_sklearn.SKLearnModel",
        "mlserver_xgboost.XGBoostModel",
        "mlserver_lightgbm.LightGBMModel",
        "mlserver_catboost.CatboostModel",
    }
)
"""MLServer's own runtimes that load a model from the directory where `model-settings.json` stands."""
_MODEL_SETTINGS = frozenset(
    {"cache_enabled", "implementation", "inputs", "max_batch_size", "max_batch_time", "metadata", "name", "outputs"}
    | {"parallel_workers", "parameters", "platform", "versions", "warm_workers"}
)
_SERVER_SETTINGS = frozenset(
    {"debug", "grpc_port", "host", "http_port", "load_models_at_startup", "metrics_endpoint", "metrics_port"}
    | {"parallel_workers", "root_path", "server_name"}
)
"""Settings of MLServer that say nothing about which code or model is loaded; any other makes the file one to be checked."""


class _UndeterminedError(Exception):
    """The files of a model can't be determined; the message says why."""


def models_of(tree: EntryTree) -> tuple[ImageModel, ...]:
    """Find the models.

    Raises:
        ImageError: LimitExceeded; FileUnreadable where an MLmodel file is none.
        UnreadableFileError: an MLmodel file is too large.
    """
    models: list[ImageModel] = []
    for path in tree.paths("/MLmodel"):
        body = tree.read(path)
        if body is None:
            continue
        if len(models) == _MAX_MODELS:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"the image holds more than {_MAX_MODELS} models")
        models.append(_model(tree, path, body))
    if sum(len(model.files.pack()) for model in models if model.files is not None) > _MAX_PACKED:
        raise ImageError(Reason.LIMIT_EXCEEDED, "the models in the image have too many files")
    return tuple(models)


def _model(tree: EntryTree, path: str, body: bytes) -> ImageModel:
    folder = path.rpartition("/")[0] or "/"
    try:
        stated = read_mlmodel(body)
    except InvalidMLmodelError as error:
        raise ImageError(Reason.FILE_UNREADABLE, f"{path}: {error}") from error
    model = ImageModel(path=folder, sha256=sha256_of(body), model_id=stated.model_id, run_id=stated.run_id)
    try:
        files_by_path = dict(_Below(tree).files(folder))
        files = ModelFiles.of({path: file for path, file in files_by_path.items() if file is not None})
    except (_UndeterminedError, InvalidModelFilesError) as error:
        return ImageModel(**(vars(model) | {"undetermined": str(error)}))
    caches = tuple(sorted(path for path, file in files_by_path.items() if file is None))
    harmless = tuple(path for path in files.files if _is_harmless(tree, folder, path))
    return ImageModel(**(vars(model) | {"files": files, "caches": caches, "harmless": harmless}))


class _Below:
    """Walks a directory as a loader would find its files."""

    def __init__(self, tree: EntryTree) -> None:
        self._tree = tree
        self._seen = 0

    def files(self, folder: str) -> Iterator[tuple[str, ModelFile | None]]:
        """Yield each file by its path from `folder`; None for cached byte code.

        Raises:
            _UndeterminedError: there is something else than files and directories, or a file that was not hashed.
        """
        yield from self._walk(folder, "", frozenset())

    def _walk(self, folder: str, below: str, above: frozenset[str]) -> Iterator[tuple[str, ModelFile | None]]:
        # A link to a directory above would lead round and round.
        if folder in above or len(above) > _MAX_DEPTH:
            raise _UndeterminedError(f"{below or folder} leads to a directory above it, or lies too deep")
        for name in self._tree.listdir(folder):
            self._seen += 1
            if self._seen > 2 * MAX_FILES:
                raise _UndeterminedError(f"it has more than {MAX_FILES} files")
            path, shown = posixpath.join(folder, name), posixpath.join(below, name)
            target = self._tree.resolve(path)
            kind = self._tree.kind(target) if target is not None else None
            if target is not None and kind is FileKind.DIRECTORY:
                yield from self._walk(target, shown, above | {folder})
            elif target is not None and kind is FileKind.FILE:
                yield shown, self._file(target, shown)
            else:
                raise _UndeterminedError(f"{shown} is no file, or leads to none")

    def _file(self, path: str, shown: str) -> ModelFile | None:
        # Under both names: a link to a cache from elsewhere is byte code without a source.
        if all(_CACHE in name.split("/")[-2:-1] and name.endswith(".pyc") for name in (path, shown)):
            return None
        try:
            digest, stat = self._tree.sha256(path), self._tree.stat(path)
        except UnreadableFileError as error:
            raise _UndeterminedError(f"{shown} is {path}, and {error.why}") from error
        if digest is None or stat is None:
            raise _UndeterminedError(f"{shown} is no file")
        return ModelFile(digest, stat.size)


def _is_harmless(tree: EntryTree, folder: str, path: str) -> bool:
    """Return whether a file is one that MLServer needs beside a model and neither brings code nor leads to another model."""
    if path not in ("model-settings.json", "settings.json"):
        return False
    try:
        body = tree.read(f"{folder}/{path}")
        stated = strict_json(body) if body is not None else None
    except (UnreadableFileError, ValueError):
        return False
    if not isinstance(stated, dict):
        return False
    if path == "settings.json":
        return stated.keys() <= _SERVER_SETTINGS
    return _serves_beside(stated, folder)


def _serves_beside(settings: dict[str, object], folder: str) -> bool:
    parameters = settings.get("parameters") or {}
    if not isinstance(parameters, dict) or not parameters.keys() <= {"uri", "version", "format", "content_type"}:
        return False
    uri = parameters.get("uri") or "."
    if not isinstance(uri, str) or ":" in uri:
        return False
    leads_to = posixpath.normpath(posixpath.join(folder, uri))
    within = leads_to == folder or leads_to.startswith(f"{folder}/")
    return within and settings.keys() <= _MODEL_SETTINGS and settings.get("implementation") in _RUNTIMES
