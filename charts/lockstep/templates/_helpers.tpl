{{- define "lockstep.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lockstep.selectorLabels" -}}
app.kubernetes.io/name: lockstep
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lockstep.labels" -}}
{{ include "lockstep.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "lockstep.serviceAccount" -}}
{{- default (include "lockstep.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "lockstep.image" -}}
{{- if not .Values.image.repository }}
{{- fail "image.repository is the repository to which you pushed the operator's image, such as registry.example.com/lockstep: docs/install.md says how it is built" }}
{{- end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The image of the container that looks at candidates' processes: empty for none, by default the controller's own. */ -}}
{{- define "lockstep.observerImage" -}}
{{- if .Values.observer.enabled -}}
{{- .Values.observer.image | default (include "lockstep.image" .) -}}
{{- end -}}
{{- end -}}

{{- /* The names of the guards, in one place: what installs them and the operator's environment both read them here. */ -}}
{{- define "lockstep.guards" -}}
status owned deployments replicasets pods bindings namespaces records releases names endpoints exec
{{- end -}}

{{- define "lockstep.guardBindings" -}}
{{- if .Values.guards.enabled -}}
{{- $fullname := include "lockstep.fullname" . -}}
{{- $names := list -}}
{{- range splitList " " (include "lockstep.guards" .) -}}
{{- $names = append $names (printf "%s-%s" $fullname .) -}}
{{- end -}}
{{- join "," $names -}}
{{- end -}}
{{- end -}}

{{- /* What each guard says, as digests that the operator compares with what the API server holds: NAME=HEX, with commas. */ -}}
{{- define "lockstep.guardDigests" -}}
{{- if .Values.guards.enabled -}}
{{- $root := . -}}
{{- $digests := list -}}
{{- range $guard := splitList " " (include "lockstep.guards" .) -}}
{{- $policy := include (printf "lockstep.guards.%s" $guard) $root | fromYaml -}}
{{- $binding := omit (include "lockstep.guardBinding" (dict "root" $root "name" $guard) | fromYaml) "validationActions" -}}
{{- $said := dict "policy" $policy "binding" $binding | toRawJson | sha256sum -}}
{{- $digests = append $digests (printf "%s-%s=%s" (include "lockstep.fullname" $root) $guard $said) -}}
{{- end -}}
{{- join "," $digests -}}
{{- end -}}
{{- end -}}

{{- /* CEL: the operator itself, or a group that may act past the guards. */ -}}
{{- define "lockstep.guard.operator" -}}
{{- $operator := printf "system:serviceaccount:%s:%s" .Release.Namespace (include "lockstep.serviceAccount" .) -}}
request.userInfo.username == '{{ $operator }}'
{{- if .Values.guards.breakGlassGroups }} || request.userInfo.groups.exists(g, g in ['{{ join "', '" .Values.guards.breakGlassGroups }}'])
{{- end -}}
{{- end -}}

{{- /* CEL: only the break-glass groups; false when there are none. */ -}}
{{- define "lockstep.guard.breakGlass" -}}
{{- if .Values.guards.breakGlassGroups -}}
request.userInfo.groups.exists(g, g in ['{{ join "', '" .Values.guards.breakGlassGroups }}'])
{{- else -}}
false
{{- end -}}
{{- end -}}

{{- /* CEL: one of Kubernetes' own controllers. Where the controller manager runs without service accounts for its
controllers, all of them act as system:kube-controller-manager. */ -}}
{{- define "lockstep.guard.controllers" -}}
request.userInfo.username in ['system:kube-controller-manager'{{ range . }}, 'system:serviceaccount:kube-system:{{ . }}'{{ end }}]
{{- end -}}

{{- /* CEL: whether the request is about this subresource. */ -}}
{{- define "lockstep.guard.subresource" -}}
(has(request.subResource) && request.subResource == '{{ . }}')
{{- end -}}

{{- /* CEL: whether an object (object or oldObject) bears one of the reserved labels. */ -}}
{{- define "lockstep.guard.labelled" -}}
({{ . }} != null && has({{ . }}.metadata.labels) && ('lockstep.dev/model-deployment' in {{ . }}.metadata.labels || 'lockstep.dev/revision' in {{ . }}.metadata.labels))
{{- end -}}

{{- /* CEL: whether the pods of a Deployment or ReplicaSet would bear a reserved label. */ -}}
{{- define "lockstep.guard.templateLabelled" -}}
({{ . }} != null && has({{ . }}.spec.template.metadata.labels) && ('lockstep.dev/model-deployment' in {{ . }}.spec.template.metadata.labels || 'lockstep.dev/revision' in {{ . }}.spec.template.metadata.labels))
{{- end -}}

{{- /* The spec of a guard's binding. Takes a dict of root and name. A guard with params is asked of each of them: of all that
are cluster-scoped, or of those in the namespace of the request. */ -}}
{{- define "lockstep.guardBinding" -}}
policyName: {{ include "lockstep.fullname" .root }}-{{ .name }}
{{- if (include (printf "lockstep.guards.%s" .name) .root | fromYaml).paramKind }}
paramRef:
  selector: {}
  parameterNotFoundAction: Allow
{{- end }}
validationActions: [Deny]
{{- end -}}

{{- /* Whether the policies let images come from everywhere; empty when they do not. */ -}}
{{- define "lockstep.everywhere" -}}
{{- range .Values.policies.repositories -}}
{{- if regexMatch "^[*?/]+$" . -}}
yes
{{- end -}}
{{- end -}}
{{- end -}}
