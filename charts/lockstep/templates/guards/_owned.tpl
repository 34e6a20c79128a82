{{- /* Services, PodDisruptionBudgets and ControllerRevisions of a ModelDeployment decide who gets traffic and what a
revision is: only the operator writes them. Their status belongs to Kubernetes: the cloud's controllers report a Service's
load balancer and keep a finalizer there; the disruption controller counts a budget's pods, and the API server itself counts
evictions down (as system:apiserver). Through a status the rest of the metadata could be written too: a label takes a
Service away from its operator or from kube-proxy. */ -}}
{{- define "lockstep.guards.owned" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [services]
    operations: [CREATE, UPDATE, DELETE]
  - apiGroups: [policy]
    apiVersions: ["*"]
    resources: [poddisruptionbudgets]
    operations: [CREATE, UPDATE, DELETE]
  - apiGroups: [apps]
    apiVersions: ["*"]
    resources: [controllerrevisions]
    operations: [CREATE, UPDATE, DELETE]
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [services/status]
    operations: [UPDATE]
  - apiGroups: [policy]
    apiVersions: ["*"]
    resources: [poddisruptionbudgets/status]
    operations: [UPDATE]
matchConditions:
- name: bears-a-reserved-label
  expression: >-
    {{ include "lockstep.guard.labelled" "object" }} ||
    {{ include "lockstep.guard.labelled" "oldObject" }}
variables:
- name: operator
  expression: >-
    {{ include "lockstep.guard.operator" . }}
- name: isStatus
  expression: >-
    {{ include "lockstep.guard.subresource" "status" }}
validations:
- expression: >-
    variables.isStatus || variables.operator ||
    (request.operation != 'CREATE' && {{ include "lockstep.guard.controllers" (list "generic-garbage-collector" "namespace-controller") }})
  message: >-
    this object belongs to a ModelDeployment (label lockstep.dev/model-deployment) and only the Lockstep operator
    writes it; change or delete the ModelDeployment of that name instead
  reason: Forbidden
- expression: >-
    !variables.isStatus || variables.operator ||
    (object.metadata.?labels == oldObject.metadata.?labels && object.metadata.?annotations == oldObject.metadata.?annotations &&
    object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)
  message: >-
    labels, annotations and owners of this object can't be changed through its status: it belongs to a ModelDeployment (label
    lockstep.dev/model-deployment) and only the Lockstep operator writes them; change the ModelDeployment instead
  reason: Forbidden
- expression: >-
    !variables.isStatus || variables.operator || request.resource.resource != 'poddisruptionbudgets' ||
    request.userInfo.username == 'system:apiserver' ||
    {{ include "lockstep.guard.controllers" (list "disruption-controller") }}
  message: >-
    the disruption controller counts the pods of this PodDisruptionBudget, which belongs to a ModelDeployment; nobody else
    writes its status
  reason: Forbidden
{{- end -}}
