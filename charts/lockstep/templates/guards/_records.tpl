{{- /* Records are evidence: only the operator writes and prunes them. */ -}}
{{- define "lockstep.guards.records" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [lockstep.dev]
    apiVersions: ["*"]
    resources: [promotionrecords, lineagepins, environmentrecords, layerrecords]
    operations: [CREATE, UPDATE, DELETE]
validations:
- expression: >-
    {{ include "lockstep.guard.operator" . }} ||
    (request.operation == 'DELETE' && {{ include "lockstep.guard.controllers" (list "generic-garbage-collector" "namespace-controller") }})
  message: >-
    records are evidence that only the Lockstep operator writes and prunes; nobody else may create, change or delete them
  reason: Forbidden
{{- end -}}
