{{- /* Whoever writes the EndpointSlices of a Service decides who gets its traffic, whatever the Service selects. Those of a
ModelDeployment's Service, and the Endpoints of its name, are written by Kubernetes' endpoint controllers alone. What gets
past this is taken away by the operator. Asked of each ModelDeployment of the namespace; for failurePolicy see `names`. */ -}}
{{- define "lockstep.guards.endpoints" -}}
failurePolicy: Ignore
paramKind:
  apiVersion: lockstep.dev/v1alpha1
  kind: ModelDeployment
matchConstraints:
  resourceRules:
  - apiGroups: [discovery.k8s.io]
    apiVersions: ["*"]
    resources: [endpointslices]
    operations: [CREATE, UPDATE, DELETE]
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [endpoints]
    operations: [CREATE, UPDATE, DELETE]
matchConditions:
- name: of-the-service-of-a-model-deployment
  expression: >-
    params != null && (request.resource.resource == 'endpoints' ?
    (object != null && has(object.metadata.name) && object.metadata.name == params.metadata.name) ||
    (oldObject != null && has(oldObject.metadata.name) && oldObject.metadata.name == params.metadata.name) :
    (object != null && has(object.metadata.labels) && 'kubernetes.io/service-name' in object.metadata.labels &&
    object.metadata.labels['kubernetes.io/service-name'] == params.metadata.name) ||
    (oldObject != null && has(oldObject.metadata.labels) && 'kubernetes.io/service-name' in oldObject.metadata.labels &&
    oldObject.metadata.labels['kubernetes.io/service-name'] == params.metadata.name))
validations:
- expression: >-
    {{ include "lockstep.guard.operator" . }} ||
    {{ include "lockstep.guard.controllers" (list "endpointslice-controller" "endpointslicemirroring-controller" "endpoint-controller") }} ||
    (request.operation != 'CREATE' && {{ include "lockstep.guard.controllers" (list "generic-garbage-collector" "namespace-controller") }})
  message: >-
    who gets the traffic of a ModelDeployment's Service is written by Kubernetes' endpoint controllers alone; change the
    ModelDeployment instead, or give a Service of your own another name
  reason: Forbidden
{{- end -}}
