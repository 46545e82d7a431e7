{{/* Labels of everything; `name` is the component's. */}}
{{- define "srv6.labels" -}}
{{- with .name }}
app.kubernetes.io/name: {{ . }}
{{- end }}
app.kubernetes.io/part-of: nccl-net-srv6
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "srv6.agentImage" -}}
{{ .Values.image.agent.repository }}:{{ .Values.image.agent.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "srv6.pluginImage" -}}
{{ .Values.image.plugin.repository }}:{{ .Values.image.plugin.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "srv6.pathApi" -}}
{{- if .Values.settings.JALAPENO_API_ENDPOINT -}}
{{ .Values.settings.JALAPENO_API_ENDPOINT }}
{{- else if .Values.pathServer.enabled -}}
http://srv6-path-server.{{ .Release.Namespace }}.svc:8000
{{- else -}}
{{ fail "settings.JALAPENO_API_ENDPOINT: where agents ask for paths, as pathServer.enabled is false" }}
{{- end -}}
{{- end }}

{{/* What agents are set by: the values, and where paths come from. */}}
{{- define "srv6.settings" -}}
{{- $settings := merge (dict "JALAPENO_API_ENDPOINT" (include "srv6.pathApi" .)) .Values.settings -}}
{{ toYaml $settings }}
{{- end }}

{{/* Containers that need no right at all. */}}
{{- define "srv6.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
