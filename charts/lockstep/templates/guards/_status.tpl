{{- /* The status of a ModelDeployment says what was proven, that of a PromotionPolicy what it leaves open: only the operator
writes them. */ -}}
{{- define "lockstep.guards.status" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [lockstep.dev]
    apiVersions: ["*"]
    resources: [modeldeployments/status, promotionpolicies/status]
    operations: [CREATE, UPDATE]
validations:
- expression: >-
    {{ include "lockstep.guard.operator" . }}
  message: >-
    only the Lockstep operator writes the status of ModelDeployments and PromotionPolicies; change the spec instead,
    and read `kubectl get mdep -o wide` for what it waits on
  reason: Forbidden
{{- end -}}
