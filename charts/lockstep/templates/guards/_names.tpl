{{- /* A Service or PodDisruptionBudget of somebody else's under a ModelDeployment's name would stand in Lockstep's way. Those
that exist when the ModelDeployment is made are left alone (NameConflict). One with Lockstep's labels is a matter of `owned`.

Asked of each ModelDeployment of the namespace. failurePolicy: Ignore, here and wherever a guard takes params, since without
the CRD, or for the seconds until the API server knows it, Fail would refuse every such object of the whole cluster. The
expressions themselves can't fail. */ -}}
{{- define "lockstep.guards.names" -}}
failurePolicy: Ignore
paramKind:
  apiVersion: lockstep.dev/v1alpha1
  kind: ModelDeployment
matchConstraints:
  resourceRules:
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [services]
    operations: [CREATE]
  - apiGroups: [policy]
    apiVersions: ["*"]
    resources: [poddisruptionbudgets]
    operations: [CREATE]
matchConditions:
- name: bears-the-name-of-a-model-deployment
  expression: >-
    params != null && has(object.metadata.name) && object.metadata.name == params.metadata.name &&
    !{{ include "lockstep.guard.labelled" "object" }}
validations:
- expression: >-
    {{ include "lockstep.guard.operator" . }}
  message: >-
    the Service and the PodDisruptionBudget of this name are Lockstep's to make, for the ModelDeployment of the same name;
    choose another name
  reason: Forbidden
{{- end -}}
