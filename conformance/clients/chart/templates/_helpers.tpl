{{- define "voyage.name" -}}{{ .Release.Name }}-voyage{{- end }}
{{- define "voyage.selector" -}}
app.kubernetes.io/name: voyage
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "voyage.labels" -}}
{{ include "voyage.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
