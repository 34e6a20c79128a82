"""`log_environment()`: records the environment with the logged model and its run. Never breaks a training job unless asked."""

import contextlib
import functools
import logging
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from lockstep.training.attach import Attachment, attach, models_of_run

_log = logging.getLogger("lockstep")
_RELOAD_SECONDS = 300.0


class EnvironmentNotLoggedError(RuntimeError):
    """The environment could not be recorded; raised only with `strict=True`."""


def log_environment(
    *,
    run_id: str | None = None,
    model_id: str | None = None,
    extra_packages: Iterable[str] = (),
    prove: bool = True,
    strict: bool = False,
) -> list[str]:
    """Record the environment of this process for the models of a run, before or after they are logged.

    It attaches to `model_id` if given, else to `run_id`, else to the active run, else to MLflow's last active run. A run is
    never created. Called before a model is logged, it attaches as soon as one is.

    Args:
        run_id: the MLflow run whose models are meant.
        model_id: one logged model (`m-…`).
        extra_packages: names of packages that the model needs and that a reload would not show.
        prove: reload the model in a fresh process to prove which packages it needs; a few seconds a model.
        strict: raise instead of warning when the environment could not be recorded.

    Returns:
        The document digests (`sha256:…`) that were recorded; empty when a model is yet to be logged.

    Raises:
        EnvironmentNotLoggedError: with `strict`, when nothing could be recorded.
    """
    try:
        extra = (extra_packages,) if isinstance(extra_packages, str) else tuple(extra_packages)
        return _log_environment(run_id, model_id, extra, prove=prove, strict=strict)
    except Exception as error:
        if strict:
            raise EnvironmentNotLoggedError(str(error)) from error
        _complain(error)
        return []


def _log_environment(run_id: str | None, model_id: str | None, extra: Sequence[str], *, prove: bool, strict: bool) -> list[str]:
    import mlflow

    if model_id is not None:
        return _attach_all([model_id], extra, prove=prove, strict=strict)
    active = mlflow.active_run()
    run = mlflow.get_run(run_id) if run_id is not None else active or mlflow.last_active_run()
    models = models_of_run(run.info.run_id, run.info.experiment_id) if run is not None else []
    # The last active run is a guess: called before autologging's next fit(), it is the run before.
    guessed = run_id is None and active is None
    if run_id is not None and not models and run is not None and run.info.status != "RUNNING":
        raise ValueError(f"the run {run_id} is {run.info.status} and has logged no model")
    if guessed or not models:
        _PENDING.expect(None if guessed or run is None else run.info.run_id, extra, prove=prove, strict=strict)
    if not models:
        whose = "that this process logs" if guessed or run is None else f"of run {run.info.run_id}"
        _say(f"lockstep: no model yet; the environment will be recorded with the next model {whose}")
    return _attach_all(models, extra, prove=prove, strict=strict)


def _attach_all(models: Sequence[str], extra: Sequence[str], *, prove: bool, strict: bool) -> list[str]:
    """Attach to every model; one that fails doesn't keep the others from theirs."""
    digests: list[str] = []
    failures: list[Exception] = []
    for model in models:
        try:
            digests.append(_attached(attach(model, extra, _seconds(prove))))
        except Exception as error:
            _complain(error, model)
            failures.append(error)
    if failures and strict:
        raise failures[0]
    return digests


def _seconds(prove: bool) -> float | None:
    return _RELOAD_SECONDS if prove else None


def _attached(done: Attachment) -> str:
    proof = "the packages it needs are proven" if done.why is None else f"which packages it needs is not proven: {done.why}"
    ending = " (recorded already)" if done.known else f"; {proof}"
    _say(f"lockstep: environment {done.digest} of model {done.model_id}, run {done.run_id or 'none'}{ending}")
    return done.digest


def _complain(error: Exception, model: str | None = None) -> None:
    whose = f" of model {model}" if model else ""
    _log.warning("the environment%s was not recorded: %s: %s", whose, type(error).__name__, error)
    _say(f"lockstep: the environment{whose} was NOT recorded: {error}")


def _say(text: str) -> None:
    # A job's output may be closed or take ASCII only: no reason to end it.
    with contextlib.suppress(Exception):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


class _Pending:
    """Waits for the next logged model. MLflow has no hook for that, so `Model.log`, which every flavor calls, is wrapped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrapped = False
        self._expected: dict[str | None, tuple[tuple[str, ...], bool, bool]] = {}
        """Settings by run; None stands for whichever run."""

    def expect(self, run_id: str | None, extra: Sequence[str], *, prove: bool, strict: bool) -> None:
        with self._lock:
            self._expected[run_id] = (tuple(extra), prove, strict)
            if not self._wrapped:
                self._wrap()
                self._wrapped = True

    def _wrap(self) -> None:
        from mlflow.models import Model

        original = Model.log.__func__

        @functools.wraps(original)
        def log(cls: type, *args: Any, **kwargs: Any) -> Any:
            info = original(cls, *args, **kwargs)
            self._logged(info)
            return info

        Model.log = classmethod(log)  # type: ignore[method-assign]

    def _logged(self, info: Any) -> None:
        model_id, run_id = getattr(info, "model_id", None), getattr(info, "run_id", None)
        settings = self._expected.get(run_id) or self._expected.get(None)
        if settings is None or model_id is None:
            return
        extra, prove, strict = settings
        log_environment(model_id=model_id, extra_packages=extra, prove=prove, strict=strict)


_PENDING = _Pending()
