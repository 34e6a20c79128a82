{{- /* Pods with the revision label get traffic: they come from the ReplicaSet controller alone, nobody adds, changes or
takes away the label later, by whichever subresource, and what was checked goes on running. Deleting and evicting them is
not guarded. The one container that is added to them is the observer, which is the operator's.

Where a pod is and what it runs is told by its node (Kubernetes' own controllers tell when the node no longer does). Others
report what is theirs: schedulers the conditions PodScheduled and DisruptionTarget, load balancers the conditions of
readiness gates. A pod that waits for its scheduling gates is placed by who lifts them (Kueue): nodeSelector, affinity and
tolerations may change until then. */ -}}
{{- define "lockstep.guards.pods" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [pods]
    operations: [CREATE, UPDATE]
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [pods/ephemeralcontainers, pods/resize, pods/status]
    operations: [UPDATE]
matchConditions:
- name: bears-a-reserved-label
  expression: >-
    {{ include "lockstep.guard.labelled" "object" }} ||
    {{ include "lockstep.guard.labelled" "oldObject" }}
variables:
- name: breakGlass
  expression: >-
    {{ include "lockstep.guard.breakGlass" . }}
- name: labels
  expression: "has(object.metadata.labels) ? object.metadata.labels : {}"
- name: oldLabels
  expression: "oldObject != null && has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}"
- name: subresource
  expression: "has(request.subResource) ? request.subResource : ''"
- name: gated
  expression: "oldObject != null && has(oldObject.spec.schedulingGates) && size(oldObject.spec.schedulingGates) > 0"
- name: added
  expression: >-
    oldObject == null ? [] : object.spec.?ephemeralContainers.orValue([]).filter(c,
    !oldObject.spec.?ephemeralContainers.orValue([]).exists(o, o.name == c.name))
- name: reporter
  expression: >-
    (request.userInfo.username.startsWith('system:node:') && has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups) ||
    {{- if .Values.guards.kubelets }}
    request.userInfo.username in ['{{ join "', '" .Values.guards.kubelets }}'] ||
    {{- end }}
    {{ include "lockstep.guard.controllers" (list "node-controller" "pod-garbage-collector" "taint-eviction-controller" "device-taint-eviction-controller" "disruption-controller" "resource-claim-controller") }}
validations:
- expression: >-
    request.operation != 'CREATE' || variables.breakGlass ||
    {{ include "lockstep.guard.controllers" (list "replicaset-controller") }}
  message: >-
    pods with the labels lockstep.dev/model-deployment or lockstep.dev/revision are made by the ReplicaSet controller
    alone, since they get traffic; leave these labels out of a pod of your own
  reason: Forbidden
- expression: >-
    request.operation != 'UPDATE' || variables.breakGlass ||
    ['lockstep.dev/model-deployment', 'lockstep.dev/revision', 'pod-template-hash'].all(l,
    (l in variables.labels ? variables.labels[l] : '') == (l in variables.oldLabels ? variables.oldLabels[l] : ''))
  message: >-
    the labels lockstep.dev/model-deployment, lockstep.dev/revision and pod-template-hash of a pod of a ModelDeployment can't
    be added, changed or removed; delete the pod to replace it
  reason: Forbidden
- expression: >-
    request.operation != 'UPDATE' || variables.breakGlass ||
    object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences ||
    {{ include "lockstep.guard.controllers" (list "replicaset-controller" "generic-garbage-collector") }}
  message: >-
    the owners of a pod of a ModelDeployment can't be changed; delete the pod to replace it
  reason: Forbidden
- expression: >-
    request.operation != 'UPDATE' || variables.subresource != '' || variables.breakGlass || object.spec == oldObject.spec ||
    (variables.gated && object.spec.containers == oldObject.spec.containers &&
    object.spec.?initContainers == oldObject.spec.?initContainers &&
    object.spec.?activeDeadlineSeconds == oldObject.spec.?activeDeadlineSeconds &&
    object.spec.?terminationGracePeriodSeconds == oldObject.spec.?terminationGracePeriodSeconds)
  message: >-
    the spec of a pod of a ModelDeployment can't be changed (image, activeDeadlineSeconds, tolerations), since another one
    was checked; change the ModelDeployment instead, or delete the pod to replace it
  reason: Forbidden
- expression: >-
    variables.subresource != 'ephemeralcontainers' || variables.breakGlass ||
    {{- with include "lockstep.observerImage" . }}
    (({{ include "lockstep.guard.operator" $ }}) && size(variables.added) == 1 && variables.added.all(c,
    c.name == 'lockstep-observer' && c.image == '{{ . }}' && c.?targetContainerName.orValue('') == 'server' &&
    has(c.command) && c.command[0] == '/opt/lockstep/bin/observer-python' && !has(c.args) && !has(c.env) && !has(c.envFrom) &&
    !has(c.volumeMounts) && !has(c.volumeDevices) && !c.?securityContext.privileged.orValue(false))) ||
    {{- end }}
    false
  message: >-
    ephemeral containers (kubectl debug) are not allowed in pods of a ModelDeployment, since nobody checked them;
    debug a copy: kubectl debug POD --copy-to=NAME
  reason: Forbidden
- expression: >-
    variables.subresource != 'resize' || variables.breakGlass
  message: >-
    a pod of a ModelDeployment can't be resized in place, also not by a VerticalPodAutoscaler; change
    spec.template.resources of the ModelDeployment
  reason: Forbidden
- expression: >-
    variables.subresource != 'status' || variables.breakGlass || variables.reporter ||
    (object.?status.?podIP == oldObject.?status.?podIP && object.?status.?podIPs == oldObject.?status.?podIPs &&
    object.?status.?hostIP == oldObject.?status.?hostIP && object.?status.?hostIPs == oldObject.?status.?hostIPs &&
    object.?status.?phase == oldObject.?status.?phase &&
    object.?status.?containerStatuses == oldObject.?status.?containerStatuses &&
    object.?status.?initContainerStatuses == oldObject.?status.?initContainerStatuses &&
    object.?status.?ephemeralContainerStatuses == oldObject.?status.?ephemeralContainerStatuses &&
    object.?status.?conditions.orValue([]).filter(c, c.type in ['Ready', 'ContainersReady']).map(c, c.type + c.status) ==
    oldObject.?status.?conditions.orValue([]).filter(c, c.type in ['Ready', 'ContainersReady']).map(c, c.type + c.status))
  message: >-
    addresses, containers, phase and readiness in the status of a pod of a ModelDeployment are told by its node alone; name a
    virtual kubelet in the chart's value guards.kubelets
  reason: Forbidden
{{- end -}}
