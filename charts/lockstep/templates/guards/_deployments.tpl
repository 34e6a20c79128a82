{{- /* A Service selects any pod that bears the revision label, so that Deployments that bear it, or whose pods would, come
from the operator alone. The Deployment controller writes their status and annotations. Scaling goes through the scale
subresource, which bears no labels and is put right by the operator. */ -}}
{{- define "lockstep.guards.deployments" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [apps]
    apiVersions: ["*"]
    resources: [deployments]
    operations: [CREATE, UPDATE, DELETE]
  - apiGroups: [apps]
    apiVersions: ["*"]
    resources: [deployments/status]
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
    (request.operation != 'CREATE' && {{ include "lockstep.guard.controllers" (list "generic-garbage-collector" "namespace-controller") }}) ||
    (request.operation == 'UPDATE' && object.spec == oldObject.spec && {{ include "lockstep.guard.controllers" (list "deployment-controller") }})
  message: >-
    Deployments and pod templates with the labels lockstep.dev/model-deployment or lockstep.dev/revision belong to the
    Lockstep operator; change the ModelDeployment instead, or leave these labels out of a Deployment of your own
  reason: Forbidden
{{- end -}}
