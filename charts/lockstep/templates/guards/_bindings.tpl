{{- /* The labels of a Binding overwrite those of the pod that it places (Kubernetes 1.35 and newer), past all that is asked of
a pod's own labels. Schedulers bring none of these. */ -}}
{{- define "lockstep.guards.bindings" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [bindings, pods/binding]
    operations: [CREATE]
matchConditions:
- name: brings-a-reserved-label
  expression: >-
    object != null && has(object.metadata.labels) && ['lockstep.dev/model-deployment', 'lockstep.dev/revision',
    'pod-template-hash'].exists(l, l in object.metadata.labels)
validations:
- expression: >-
    {{ include "lockstep.guard.breakGlass" . }}
  message: >-
    a Binding can't give a pod the labels lockstep.dev/model-deployment, lockstep.dev/revision or pod-template-hash, since
    they decide who gets traffic; leave them out of the Binding
  reason: Forbidden
{{- end -}}
