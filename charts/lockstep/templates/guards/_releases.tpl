{{- /* Who lets a version be pinned anew says so by the name that the API server knows, and can't take it back: the release stays as
evidence beside the pins. RBAC says who may create one; the operator is not among them. */ -}}
{{- define "lockstep.guards.releases" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [lockstep.dev]
    apiVersions: ["*"]
    resources: [lineagereleases]
    operations: [CREATE, UPDATE, DELETE]
validations:
- expression: >-
    request.operation != 'CREATE' || object.spec.by == request.userInfo.username
  message: >-
    spec.by of a LineageRelease has to be the name of the user who creates it, as `kubectl auth whoami` shows it
  messageExpression: >-
    'spec.by of a LineageRelease has to be the name of the user who creates it: ' + request.userInfo.username
  reason: Forbidden
- expression: >-
    request.operation == 'CREATE' || {{ include "lockstep.guard.breakGlass" . }} ||
    (request.operation == 'DELETE' && {{ include "lockstep.guard.controllers" (list "generic-garbage-collector" "namespace-controller") }})
  message: >-
    a LineageRelease is evidence of who lifted a pin and why; nobody may change or delete it
  reason: Forbidden
{{- end -}}
