"""Environment variables in `spec.template.env`: an editor alone, with the good image."""

from pathlib import Path

from tests.bypass.attempt import Attempts, Outcome, Result, held
from tests.bypass.scene import SHIM, Scene, in_base64

attempts = Attempts()

NAMES = (Path(__file__).parent / "variables.txt").read_text().split()
"""Names that choose code, files or models."""


def judged(scene: Scene, said: str | None) -> Result:
    """Tell what came of a ModelDeployment that was applied, or refused at once."""
    if said is not None:
        return held(f"refused at apply: {said}")
    state = scene.settled()
    if state != "promoted":
        return held(state)
    answer = scene.predict()
    return (
        held("promoted, and it answers as it should")
        if answer == scene.good.answer
        else Result(Outcome.BYPASSED, f"served {answer}")
    )


@attempts.attempt("A1", "editor", "SHELLOPTS and PS4 write a module to /tmp")
def trace(scene: Scene) -> Result:
    script = f"$(echo {in_base64(SHIM)} | base64 -d > /tmp/yaml.py)+"
    variables = [{"name": "SHELLOPTS", "value": "xtrace"}, {"name": "PS4", "value": script}]
    return judged(scene, scene.deploy(template={"env": variables}))


@attempts.attempt("A6", "editor", f"{len(NAMES)} variables that choose code, files or models, each alone")
def names(scene: Scene) -> Result:
    """Each has to be refused; the first one that is not is said."""
    taken = []
    for name in NAMES:
        if scene.deploy(paused=True, template={"env": [{"name": name, "value": "/opt/x"}]}) is not None:
            continue
        if scene.reason("environment", timeout=60) != "VariableNotAllowed":
            taken.append(name)
    if taken:
        return Result(Outcome.BYPASSED, f"not refused: {', '.join(taken)}")
    return held("each is refused, at apply or by name")


@attempts.attempt("A4", "editor", "UVICORN_LIMIT_MAX_REQUESTS ends the server after the audit")
def ends_later(scene: Scene) -> Result:
    return judged(scene, scene.deploy(template={"env": [{"name": "UVICORN_LIMIT_MAX_REQUESTS", "value": "40"}]}))
