{{- /* Which policy governs a namespace is for those who hold the verb `use` on it, and on the one that governed before:
strict can't be left by naming another policy, or none, by whichever subresource. */ -}}
{{- define "lockstep.guards.namespaces" -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [namespaces]
    operations: [CREATE, UPDATE]
  - apiGroups: [""]
    apiVersions: ["*"]
    resources: [namespaces/finalize, namespaces/status]
    operations: [UPDATE]
matchConditions:
- name: the-policy-changes
  expression: >-
    (has(object.metadata.labels) && 'lockstep.dev/policy' in object.metadata.labels ?
    object.metadata.labels['lockstep.dev/policy'] : '') !=
    (oldObject != null && has(oldObject.metadata.labels) && 'lockstep.dev/policy' in oldObject.metadata.labels ?
    oldObject.metadata.labels['lockstep.dev/policy'] : '')
variables:
- name: named
  expression: >-
    has(object.metadata.labels) && 'lockstep.dev/policy' in object.metadata.labels ?
    object.metadata.labels['lockstep.dev/policy'] : ''
- name: left
  expression: >-
    oldObject != null && has(oldObject.metadata.labels) && 'lockstep.dev/policy' in oldObject.metadata.labels ?
    oldObject.metadata.labels['lockstep.dev/policy'] : ''
- name: concerned
  expression: "[variables.left, variables.named].filter(name, name != '')"
validations:
- expression: >-
    {{ include "lockstep.guard.breakGlass" . }} || variables.concerned.all(name,
    authorizer.group('lockstep.dev').resource('promotionpolicies').name(name).check('use').allowed())
  message: >-
    the Namespace label lockstep.dev/policy is for those who hold the verb use on that PromotionPolicy; ask the
    platform team for it
  messageExpression: >-
    'the Namespace label lockstep.dev/policy is for those who hold the verb use on the PromotionPolicy ' +
    variables.concerned.join(' and ') + ', which ' + request.userInfo.username + ' does not; ask the platform team for it'
  reason: Forbidden
{{- end -}}
