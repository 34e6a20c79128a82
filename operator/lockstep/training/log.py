"""`log_environment()`: records the environment with the logged model and its run. Never breaks a training job unless asked."""

import contextlib
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.formats.keys import PrivateKey
from lockstep.training.attach import Attachment, attach, models_of_run
from lockstep.training.signing import signing_key

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
    sign_key: str | os.PathLike[str] | None = None,
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
        sign_key: a private key, as a PEM text or the path of a PEM file, that signs what is recorded; the environment
            variable LOCKSTEP_KEY_PASSWORD opens an encrypted one. With a key that can't be used nothing is recorded,
            since what is recorded once is not signed later.

    Returns:
        The document digests (`sha256:…`) that were recorded; empty when a model is yet to be logged.

    Raises:
        EnvironmentNotLoggedError: with `strict`, when nothing could be recorded.
    """

    def record() -> list[str]:
        extra = (extra_packages,) if isinstance(extra_packages, str) else tuple(extra_packages)
        signer = None if sign_key is None else signing_key(sign_key)
        return _log_environment(run_id, model_id, _Wishes(extra, prove, strict, signer))

    return _run_guarded(strict, record)


def _run_guarded(strict: bool, record: Callable[[], list[str]]) -> list[str]:
    """Let nothing that goes wrong end the job, unless that is wished for."""
    try:
        return record()
    except Exception as error:
        if strict:
            raise EnvironmentNotLoggedError(str(error)) from error
        _complain(error)
        return []


@dataclass(frozen=True)
class _Wishes:
    """What the caller asked for, kept until a model is logged."""

    extra: tuple[str, ...]
    prove: bool
    strict: bool
    signer: PrivateKey | None


def _log_environment(run_id: str | None, model_id: str | None, wishes: _Wishes) -> list[str]:
    import mlflow

    if model_id is not None:
        return _attach_all([model_id], wishes)
    active = mlflow.active_run()
    run = mlflow.get_run(run_id) if run_id is not None else active or mlflow.last_active_run()
    models = models_of_run(run.info.run_id, run.info.experiment_id) if run is not None else []
    # The last active run is a guess: called before autologging's next fit(), it is the run before.
    guessed = run_id is None and active is None
    if run_id is not None and not models and run is not None and run.info.status != "RUNNING":
        raise ValueError(f"the run {run_id} is {run.info.status} and has logged no model")
    if guessed or not models:
        _PENDING.expect(None if guessed or run is None else run.info.run_id, wishes)
    if not models:
        whose = "that this process logs" if guessed or run is None else f"of run {run.info.run_id}"
        _say(f"lockstep: no model yet; the environment will be recorded with the next model {whose}")
    return _attach_all(models, wishes)


def _attach_all(models: Sequence[str], wishes: _Wishes) -> list[str]:
    """Attach to every model; one that fails doesn't keep the others from theirs."""
    digests: list[str] = []
    failures: list[Exception] = []
    for model in models:
        try:
            digests.append(_report_attached(attach(model, wishes.extra, _seconds(wishes.prove), wishes.signer)))
        except Exception as error:
            _complain(error, model)
            failures.append(error)
    if failures and wishes.strict:
        raise failures[0]
    return digests


def _seconds(prove: bool) -> float | None:
    return _RELOAD_SECONDS if prove else None


def _report_attached(done: Attachment) -> str:
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
        self._expected: dict[str | None, _Wishes] = {}
        """Wishes by run; None stands for whichever run."""

    def expect(self, run_id: str | None, wishes: _Wishes) -> None:
        with self._lock:
            self._expected[run_id] = wishes
            if not self._wrapped:
                self._wrap()
                self._wrapped = True

    def _wrap(self) -> None:
        from mlflow.models import Model

        original = Model.log.__func__

        @functools.wraps(original)
        def log(cls: type, *args: Any, **kwargs: Any) -> Any:
            info = original(cls, *args, **kwargs)
            self._on_logged(info)
            return info

        Model.log = classmethod(log)  # type: ignore[method-assign]

    def _on_logged(self, info: Any) -> None:
        model_id, run_id = getattr(info, "model_id", None), getattr(info, "run_id", None)
        wishes = self._expected.get(run_id) or self._expected.get(None)
        if wishes is None or model_id is None:
            return
        _run_guarded(wishes.strict, lambda: _attach_all([model_id], wishes))


_PENDING = _Pending()
