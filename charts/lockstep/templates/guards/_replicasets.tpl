{{- /* ReplicaSets that make pods of a revision come from the Deployment controller, and their status from the ReplicaSet
controller; the operator puts edited ones right. */ -}}
{{- define "lockstep.guards.replicasets" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [apps]
    apiVersions: ["*"]
    resources: [replicasets]
    operations: [CREATE, UPDATE, DELETE]
  - apiGroups: [apps]
    apiVersions: ["*"]
    resources: [replicasets/status]
    operations: [UPDATE]
matchConditions:
- name: bears-a-reserved-label
  expression: >-
    {{ include "lockstep.guard.labelled" "object" }} ||
    {{ include "lockstep.guard.labelled" "oldObject" }} ||
    {{ include "lockstep.guard.templateLabelled" "object" }} ||
    {{ include "lockstep.guard.templateLabelled" "oldObject" }}
validations:
- expression: >-
    {{ include "lockstep.guard.operator" . }} ||
    {{ include "lockstep.guard.controllers" (list "deployment-controller") }} ||
    ({{ include "lockstep.guard.subresource" "status" }} && {{ include "lockstep.guard.controllers" (list "replicaset-controller") }}) ||
    (request.operation != 'CREATE' && {{ include "lockstep.guard.controllers" (list "generic-garbage-collector" "namespace-controller") }})
  message: >-
    ReplicaSets with the labels lockstep.dev/model-deployment or lockstep.dev/revision are made by the Deployment
    controller for the Lockstep operator; change the ModelDeployment instead
  reason: Forbidden
{{- end -}}
