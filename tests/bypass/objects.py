"""Objects of the namespace, by who edits or administers it: what serves is disturbed, or traffic led elsewhere."""

import json
from collections.abc import Callable

from examples.demo import kube
from tests.bypass.attempt import Attempts, Outcome, Result, held
from tests.bypass.scene import CLUSTER_ADMIN, EDITOR, Scene
from tests.cluster.say import ClusterError
from tests.cluster.wait import until

attempts = Attempts()


def watched(scene: Scene, act: Callable[[], str | None], *, seconds: float = 20.0, lost: int = 3) -> Result:
    """Have something serve, act, and count what clients get afterwards.

    Args:
        scene: the attempt's.
        act: does it; returns why it was refused, None when it was not.
        seconds: how long clients ask.
        lost: so many requests may fail while it is put right.
    """
    refused = act()
    if refused is not None:
        return held(f"refused: {refused}")
    answers = scene.answers(seconds)
    good = answers.pop(scene.good.answer, 0)
    strange = sum(count for answer, count in answers.items() if "stranger" in answer)
    failed = sum(answers.values()) - strange
    seen = f"{good} of {good + strange + failed} requests answered, {strange} by a stranger"
    last = scene.predict()
    if last != scene.good.answer:
        return Result(Outcome.DEGRADED, f"{seen}; at the end: {last}")
    if strange > lost:
        return Result(Outcome.BYPASSED, seen)
    if failed > lost:
        return Result(Outcome.DEGRADED, f"{seen}: {answers.most_common(1)[0][0][:100]}")
    return Result(Outcome.REFUSED_LATER, f"taken, and put right: {seen}")


@attempts.attempt("C1", "editor", "a Deployment under the blocked candidate's name, then the active one scaled to zero")
def candidates_name(scene: Scene) -> Result:
    scene.serving()
    active = f"model-{scene.revision()}"
    scene.deploy(model={"name": scene.good.model, "version": scene.good.version}, paused=True, template={"labels": {"x": "y"}})
    candidate = until(lambda: (scene.stage.status().get("candidate") or {}).get("revision"), 60, "there is a candidate")
    name = f"model-{candidate}"

    def act() -> str | None:
        image = scene.good.reference
        refused = scene.refusal("create", "deployment", name, f"--image={image}", "--replicas=0", *EDITOR)
        return refused or scene.refusal("scale", f"deployment/{active}", "--replicas=0", *EDITOR)

    return watched(scene, act, seconds=30)


@attempts.attempt("C4", "editor", "a Service that selects the candidate's pods by pod-template-hash")
def by_template_hash(scene: Scene) -> Result:
    # One that waits: it has pods, and none of them is ready.
    scene.deploy(template={"env": [{"name": "MODE", "value": "unready"}]})
    pods = until(lambda: scene.stage.pods(), 60, "the candidate has pods")
    value = pods[0]["metadata"]["labels"]["pod-template-hash"]
    ports = [{"port": 80, "targetPort": 8080}]
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "other"},
        "spec": {"selector": {"pod-template-hash": value}, "ports": ports},
    }
    refused = scene.applied(body, who=EDITOR)
    if refused is not None:
        return held(refused)
    try:
        ready = until(lambda: _reason(scene, "ForeignService"), 30, "ForeignService is said")
    except ClusterError:
        return Result(Outcome.BYPASSED, "not noticed")
    return Result(Outcome.REFUSED_LATER, f"the candidate is held: {ready}")


def _reason(scene: Scene, reason: str) -> str | None:
    ready = scene.stage.condition("Ready")
    return str(ready["message"]) if ready.get("reason") == reason else None


@attempts.attempt("C6", "editor", "a Service of the object's name with a forged owner, of another proxy")
def forged_service(scene: Scene) -> Result:
    scene.deploy(paused=True)
    owner = scene.stage.object()["metadata"]
    reference = {
        "apiVersion": "lockstep.dev/v1alpha1",
        "kind": "ModelDeployment",
        "name": "model",
        "uid": owner["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "model",
            "ownerReferences": [reference],
            "labels": {"service.kubernetes.io/service-proxy-name": "nobody"},
        },
        "spec": {"ports": [{"port": 80}]},
    }
    refused = scene.applied(body, who=EDITOR)
    if refused is not None:
        return held(f"refused: {refused}")
    scene.stage.patch({"paused": False})
    try:
        said = until(lambda: _reason(scene, "NameConflict"), 60, "NameConflict is said")
    except ClusterError:
        answer = scene.predict()
        truth = scene.stage.condition("Ready").get("status")
        if answer == scene.good.answer:
            return Result(Outcome.REFUSED_LATER, "the Service was put right and answers")
        return Result(Outcome.DEGRADED, f"Ready={truth}, and clients see {answer}")
    return Result(Outcome.REFUSED_LATER, f"nothing is promoted: {said}")


@attempts.attempt("C9", "editor", "activeDeadlineSeconds on the active pod")
def active_deadline(scene: Scene) -> Result:
    scene.serving()
    patch = json.dumps({"spec": {"activeDeadlineSeconds": 3}})
    return watched(scene, lambda: scene.refusal("patch", "pod", scene.pod(), "--type=merge", "-p", patch, *EDITOR))


@attempts.attempt("C10", "editor", "a candidate of a higher priority class that finds no room")
def preemption(scene: Scene) -> Result:
    resource = "bypass.lockstep.dev/slot"
    node = kube.items("nodes")[0]["metadata"]["name"]
    give = json.dumps({"status": {"capacity": {resource: "1"}}})
    kube.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", give)
    high = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "bypass-high"}, "value": 1000}
    kube.apply(json.dumps(high))
    slot = {"requests": {resource: "1"}, "limits": {resource: "1"}}
    try:
        scene.deploy(template={"resources": slot})
        if (state := scene.settled()) != "promoted":
            return Result(Outcome.DEGRADED, f"the first one was not promoted: {state}")
        until(lambda: scene.predict() == scene.good.answer, 30, "the Service answers")
        template = {"resources": slot, "priorityClassName": "bypass-high"}
        server = {"port": 8080, "custom": {"readyPath": "/never", "predictPath": "/invocations"}}
        return watched(scene, lambda: scene.deploy(template=template, server=server), seconds=30)
    finally:
        take = json.dumps({"status": {"capacity": {resource: None}}})
        kube.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", take)
        kube.kubectl("delete", "priorityclass", "bypass-high", "--ignore-not-found")


@attempts.attempt("C11", "editor", "a custom server without a path for predictions, whose predictions are all errors")
def nothing_asked(scene: Scene) -> Result:
    server = {"port": 8080, "custom": {"readyPath": "/ping"}}
    said = scene.deploy(server=server, template={"env": [{"name": "MODE", "value": "wrong"}]})
    state = said or scene.settled()
    return held(state) if state != "promoted" else Result(Outcome.BYPASSED, "promoted although nothing was asked")


@attempts.attempt("C17", "editor", "a finalizer of one's own, the object deleted, its pods scaled away")
def finalizer(scene: Scene) -> Result:
    scene.serving()
    active = f"model-{scene.revision()}"
    try:
        patch = json.dumps({"metadata": {"finalizers": ["example.com/mine"]}})
        scene.kubectl("patch", "mdep", "model", "--type=merge", "-p", patch, *EDITOR)
        scene.kubectl("delete", "mdep", "model", "--wait=false", *EDITOR)
        scene.refusal("scale", f"deployment/{active}", "--replicas=0", *EDITOR)
        until(lambda: _honest(scene), 40, "the status says what is there")
        return Result(Outcome.REFUSED_LATER, f"Ready={scene.stage.condition('Ready').get('reason')}: {scene.predict()}")
    except ClusterError:
        return Result(Outcome.DEGRADED, "Ready=True although nothing answers")
    finally:
        scene.kubectl("patch", "mdep", "model", "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}}))


def _honest(scene: Scene) -> bool:
    says = scene.stage.condition("Ready").get("status") == "True" and scene.stage.condition("Available").get("status") == "True"
    return says == (scene.predict() == scene.good.answer)


@attempts.attempt("C18", "editor", "delete --cascade=orphan")
def orphan(scene: Scene) -> Result:
    scene.serving()
    try:
        scene.kubectl("delete", "mdep", "model", "--cascade=orphan", "--timeout=60s", *EDITOR)
    except kube.CommandFailedError as error:
        scene.kubectl("patch", "mdep", "model", "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}}))
        return Result(Outcome.DEGRADED, f"it does not end: {error}")
    answer = scene.predict()
    return held("it ends, and what served goes on") if answer == scene.good.answer else Result(Outcome.DEGRADED, answer)


@attempts.attempt("C24", "editor", "an object that is too large for etcd")
def too_large(scene: Scene) -> Result:
    values = [{"name": f"LOG_LEVEL_{i}", "value": "é" * 4096} for i in range(60)]
    said = scene.deploy(template={"env": values})
    state = said or scene.settled(timeout=90)
    return held(state) if state != "promoted" else Result(Outcome.BYPASSED, state)


@attempts.attempt("C28", "editor", "exec into a serving pod, under a policy that denies it")
def execute(scene: Scene) -> Result:
    scene.serving()
    refused = scene.refusal("exec", scene.pod(), *EDITOR, "--", "true")
    return held(refused) if refused is not None else Result(Outcome.BYPASSED, "executed")


@attempts.attempt("W1", "cluster admin", "an admission policy that adds a variable to pods")
def injected(scene: Scene) -> Result:
    scene.serving()
    before = scene.pod()
    name = scene.namespace
    expression = (
        'Object{spec: Object.spec{containers: [Object.spec.containers{name: "server", '
        'env: [Object.spec.containers.env{name: "AWS_ROLE_ARN", value: "arn:x"}]}]}}'
    )
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            },
            "reinvocationPolicy": "Never",
            "failurePolicy": "Fail",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    try:
        kube.apply(json.dumps(policy))
        kube.apply(json.dumps(binding))

        def act() -> str | None:
            return scene.refusal("delete", "pod", before, "--wait=false", *CLUSTER_ADMIN)

        result = watched(scene, act, seconds=60, lost=10**6)
        made = {pod["metadata"]["name"] for pod in scene.stage.pods()}
        if len(made) > 3:
            return Result(Outcome.DEGRADED, f"{len(made)} pods are there at once")
        ready = scene.stage.condition("Ready")
        return Result(result.outcome, f"{result.seen}; Ready={ready.get('status')} {ready.get('reason')}")
    finally:
        kube.kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name, "--ignore-not-found")
