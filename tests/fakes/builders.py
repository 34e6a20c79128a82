"""Builders of facts: everything that passes unless a test says otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lockstep.api.modeldeployment import ModelDeployment, ModelDeploymentSpec
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.environment.document import EnvironmentDocument, Interpreter, Package, Platform, RequiredProof, Start
from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import ModelFile, ModelFiles
from lockstep.gates.evidence import AuditFact, CandidatePods, Evidence, LineagePins, PodFact, Unknown
from lockstep.gates.lineage import pins_of
from lockstep.gathering.subject import Subject
from lockstep.images.image import ImageConfig, ImagePlatform, ResolvedImage
from lockstep.images.scan.result import ImageModel, ImageScan
from lockstep.images.source import ImageSource
from lockstep.lineage.lineage import Lineage, LoggedModel, Place, Run

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RUN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
MODEL_ID = "m-5f2f8f6f4d4b4c1e9a0b7c6d5e4f3a2b"
REPOSITORY = "registry.example.com/team/iris"
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64
UID = "11111111-2222-3333-4444-555555555555"
TRAINED = {"numpy": "1.26.4", "scikit-learn": "1.4.2", "scipy": "1.12.0"}
START = Start(
    executable="/opt/venv/bin/python3",
    program="/opt/venv/bin/mlflow",
    server="mlflow",
    path=("/app", "/usr/lib/python3.11", "/opt/venv/lib/python3.11/site-packages"),
    model="/opt/model",
)
MLMODEL = f"run_id: {RUN}\nmodel_id: {MODEL_ID}\n".encode()


def spec(**parts: Any) -> ModelDeploymentSpec:
    """Return a spec; parts are named as in a manifest."""
    manifest = {
        "model": {"name": "iris", "version": "3"},
        "image": f"{REPOSITORY}:2026-11",
        "replicas": 2,
        "server": {"port": 8080, "mlflow": {}},
    }
    return ModelDeploymentSpec.model_validate(manifest | parts)


def owner(*, status: Mapping[str, Any] | None = None, generation: int = 1, **parts: Any) -> ModelDeployment:
    """Return a ModelDeployment; status fields by their Python names, other parts are the spec's."""
    found = ModelDeployment(
        name="iris", namespace="team", uid=UID, generation=generation, resource_version="7", spec=spec(**parts)
    )
    return found.model_copy(update={"status": found.status.model_copy(update=dict(status or {}))})


def policy(*, gates: Mapping[str, str] | None = None, **parts: Any) -> PromotionPolicy:
    """Return a policy with every gate enforced; `gates` are modes by name, other parts are the spec's."""
    manifest: dict[str, Any] = {"registry": {"trackingURI": "http://mlflow.mlflow.svc:5000"}}
    manifest["gates"] = [{"name": name, "mode": mode} for name, mode in (gates or {}).items()]
    return PromotionPolicy.from_object({"metadata": {"name": "standard"}, "spec": manifest | parts})


def document(packages: Mapping[str, str] = TRAINED, *, python: str = "3.11.2", required: bool = False) -> EnvironmentDocument:
    """Return an environment document; with `required` the training side's, else an image's."""
    return EnvironmentDocument(
        python=Interpreter(implementation="cpython", version=python),
        platform=Platform(os="linux", machine="x86_64", libc="glibc 2.36"),
        packages=tuple(Package(name=name, version=version) for name, version in sorted(packages.items())),
        required=tuple(sorted(packages)) if required else None,
        required_proof=RequiredProof.PROVEN if required else None,
        start=None if required else START,
        collector="tests",
    )


def start(**changes: Any) -> Start:
    """Return what an image starts."""
    return Start(executable="/opt/venv/bin/python3", **changes)


def run(**changes: Any) -> Run:
    """Return a finished run that recorded all that a policy can ask for."""
    found = Run(
        run_id=RUN,
        status="FINISHED",
        lifecycle_stage="active",
        params=(("C", "1.0"), ("clf__random_state", "7")),
        tags=(
            ("mlflow.source.git.commit", "c0ffee"),
            ("lockstep.git.dirty", "false"),
            ("mlflow.source.name", "train.py"),
        ),
        datasets=(("iris", "d1g3st"),),
    )
    return replace(found, **changes)


def lineage(**changes: Any) -> Lineage:
    """Return a complete lineage whose parts name one another."""
    recorded = document(required=True)
    found = Lineage(
        name="iris",
        version="3",
        alias=None,
        version_status="READY",
        version_run_id=RUN,
        source=f"models:/{MODEL_ID}",
        model_id=MODEL_ID,
        logged_model=LoggedModel(model_id=MODEL_ID, source_run_id=RUN, status="READY"),
        run=run(),
        mlmodel=MLMODEL,
        mlmodel_run_id=RUN,
        mlmodel_model_id=MODEL_ID,
        environment_document=recorded.canonical(),
        environment_digest=recorded.digest,
        signature_present=True,
        input_example=b"{}",
        place=place(),
        artifact_uri=place().uri,
    )
    return replace(found, **changes)


def place(model_id: str = MODEL_ID, version: str = "3") -> Place:
    """Return where a logged model's files are."""
    return Place("iris", version, uri=f"mlflow-artifacts:/1/models/{model_id}/artifacts", model_id=model_id)


def contents(of: Lineage | None = None, /, **changed: bytes) -> dict[str, bytes]:
    """Return the files of a version: those that its lineage has been told from, and weights; dots are written `__`."""
    found = of or lineage()
    bodies = {
        "MLmodel": found.mlmodel,
        "model.skops": f"weights of {found.model_id}".encode(),
        "python_env.yaml": found.python_env,
        "requirements.txt": found.requirements,
        "serving_input_example.json": found.input_example,
    }
    bodies |= {name.replace("__", "."): body for name, body in changed.items()}
    return {path: body for path, body in bodies.items() if body is not None}


def files_of(bodies: Mapping[str, bytes]) -> ModelFiles:
    """Return the list of some files."""
    return ModelFiles.of({path: ModelFile(sha256_of(body), len(body)) for path, body in bodies.items()})


def held(of: Lineage | None = None, path: str = "/opt/model", **changes: Any) -> ImageModel:
    """Return a version's model as an image holds it."""
    found = of or lineage()
    assert found.mlmodel is not None
    run_id = found.run.run_id if found.run else None
    made = ImageModel(path, sha256_of(found.mlmodel), found.model_id, run_id, files=files_of(contents(found)))
    return replace(made, **changes)


def image(**changes: Any) -> ResolvedImage:
    """Return a pinned image."""
    found = ResolvedImage(
        repository=REPOSITORY,
        digest=DIGEST,
        index_digest=None,
        config_digest=OTHER_DIGEST,
        config=ImageConfig(platform=ImagePlatform("linux", "amd64"), diff_ids=()),
        layers=(),
    )
    return replace(found, **changes)


def scan(**changes: Any) -> ImageScan:
    """Return the scan of an image that holds the registered model in the training environment."""
    found = ImageScan(
        digest=DIGEST,
        analyser="1",
        document=document(),
        models=(held(),),
    )
    return replace(found, **changes)


def pins(of: Lineage | None = None, **changes: Any) -> LineagePins:
    """Return what a lineage declared when it was first seen."""
    made = pins_of(of or lineage(), first_seen=NOW, files=files_of(contents(of)))
    return replace(made, **changes)


def pod(name: str = "iris-1", **changes: Any) -> PodFact:
    """Return a ready pod."""
    pinned = f"{REPOSITORY}@{DIGEST}"
    return replace(PodFact(name=name, ready=True, phase="Running", image_id=pinned, restarts=0), **changes)


def audit(name: str = "iris-1", **changes: Any) -> AuditFact:
    """Return a passed audit."""
    return replace(AuditFact(pod=name, passed=True, answered=3), **changes)


def candidate(**changes: Any) -> CandidatePods:
    """Return two ready and audited pods."""
    found = CandidatePods(wanted=2, since=NOW, pods=(pod("iris-1"), pod("iris-2")), audits=(audit("iris-1"), audit("iris-2")))
    return replace(found, **changes)


def unknown(reason: Reason = Reason.INTERNAL_ERROR, *, retry: bool = True) -> Unknown:
    """Return a fact that could not be had."""
    return Unknown(reason, "it could not be determined", retry=retry)


def subject(**changes: Any) -> Subject:
    """Return what evidence is gathered about; its images can't be opened."""
    found = Subject(owner=owner(), policy=policy(), images=_NoImages(), platform=image().config.platform)
    return replace(found, **changes)


class _NoImages:
    async def open(self, reference: str, policy: PromotionPolicy) -> tuple[ImageSource, str]:
        raise AssertionError(f"{reference} is not to be opened")


def evidence(**changes: Any) -> Evidence:
    """Return evidence on which every gate passes; the model's files are those of the lineage."""
    told = changes.get("lineage")
    found = Evidence(
        now=NOW,
        namespace="team",
        name="iris",
        spec=spec(),
        policy=policy(),
        lineage=lineage(),
        image=image(),
        scan=scan(),
        files=files_of(contents(told if isinstance(told, Lineage) else None)),
        pins=pins(),
        pods=candidate(),
    )
    return replace(found, **changes)
