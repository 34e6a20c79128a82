{{- /* Who gets into a pod that serves, or to ports that its Service does not have, can change what was checked. The policy
that governs the namespace decides (pods.exec); asked of each PromotionPolicy. For failurePolicy see `names`.

What connects has no labels, so that the pod is known by its name: MODELDEPLOYMENT-REVISION-HASH-RANDOM, of which the API server
cuts all but the last five characters after 58 (k8s.io/apiserver, names.SimpleNameGenerator). REVISION has ten hexadecimal digits; the
others are of the alphabet of k8s.io/apimachinery, util/rand. The proxy's names are NAME, NAME:PORT or SCHEME:NAME:PORT. The
proxy of Services leads nowhere else than the Service does; that of nodes is for administrators of nodes. */ -}}
{{- define "lockstep.guards.exec" -}}
{{- $random := "[bcdfghjklmnpqrstvwxz2456789]" -}}
failurePolicy: Ignore
paramKind:
  apiVersion: lockstep.dev/v1alpha1
  kind: PromotionPolicy
matchConstraints:
  resourceRules:
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [pods/attach, pods/exec, pods/portforward, pods/proxy]
    operations: [CONNECT]
matchConditions:
- name: the-policy-denies-it
  expression: "params != null && has(params.spec.pods) && has(params.spec.pods.exec) && params.spec.pods.exec == 'Deny'"
variables:
# Conditions do not see the namespace.
- name: named
  expression: >-
    namespaceObject != null && has(namespaceObject.metadata.labels) && 'lockstep.dev/policy' in namespaceObject.metadata.labels ?
    namespaceObject.metadata.labels['lockstep.dev/policy'] : ''
- name: governs
  expression: >-
    variables.named != '' ? variables.named == params.metadata.name : has(params.spec.default) && params.spec.default
- name: words
  expression: "request.name.split(':')"
- name: pod
  expression: "variables.words[size(variables.words) > 2 ? 1 : 0]"
validations:
- expression: >-
    !variables.governs || {{ include "lockstep.guard.breakGlass" . }} || !(
    variables.pod.matches('^[a-z][-a-z0-9]*-[0-9a-f]{10}-{{ $random }}{1,10}-{{ $random }}{5}$') ||
    (size(variables.pod) == 63 &&
    variables.pod.matches('-([0-9a-f]{5,10}|[0-9a-f]{10}-{{ $random }}{0,10}){{ $random }}{5}$')))
  message: >-
    the PromotionPolicy of this namespace lets nobody into pods of a ModelDeployment (pods.exec: Deny)
  messageExpression: >-
    'the PromotionPolicy ' + params.metadata.name + ' lets nobody into pods of a ModelDeployment (pods.exec: Deny): read the log ' +
    '(kubectl logs), or look into a copy: kubectl debug ' + variables.pod + ' --copy-to=NAME --container=server -it -- sh'
  reason: Forbidden
{{- end -}}
