{{- define "lethe.name" -}}
{{- printf "%s" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "lethe.labels" -}}
app.kubernetes.io/name: lethe
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lethe.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end -}}

{{- define "lethe.keysClaim" -}}
{{ .Values.keys.existingClaim | default (printf "%s-keys" (include "lethe.name" .)) }}
{{- end -}}

{{- define "lethe.auditClaim" -}}
{{ .Values.audit.existingClaim | default (printf "%s-audit" (include "lethe.name" .)) }}
{{- end -}}

{{/* What every pod has. A Service makes variables such as LETHE_METRICS_PORT, which are settings: so no links. */}}
{{- define "lethe.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch # files of keys stay their owner's alone, or they are refused
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "lethe.container" -}}
image: {{ include "lethe.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* The settings that all share. */}}
{{- define "lethe.env" -}}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end -}}

{{/* How a role reaches Kafka. (dict "root" $ "role" "worker") */}}
{{- define "lethe.kafkaEnv" -}}
{{- $kafka := .root.Values.kafka }}
{{- $role := index $kafka.roles .role }}
- {name: LETHE_BROKERS, value: {{ required "kafka.brokers must be given" $kafka.brokers | quote }}}
- {name: LETHE_SECURITY, value: {{ $kafka.security }}}
{{- if eq $kafka.security "plaintext" }}
- {name: LETHE_PLAINTEXT, value: {{ $kafka.plaintextAllowed | quote }}}
{{- else }}
{{- if $kafka.caSecret }}
- {name: LETHE_TLS_CA, value: /secrets/ca/ca.pem}
{{- end }}
{{- if $role.certificateSecret }}
- {name: LETHE_TLS_CERT, value: /secrets/tls/tls.crt}
- {name: LETHE_TLS_KEY, value: /secrets/tls/tls.key}
{{- end }}
{{- if eq $kafka.security "sasl_tls" }}
- {name: LETHE_SASL_USER, value: {{ $role.user | quote }}}
- {name: LETHE_SASL_PASSWORD_FILE, value: /secrets/sasl/password}
{{- end }}
{{- end }}
{{- end -}}

{{- define "lethe.kafkaMounts" -}}
{{- $kafka := .root.Values.kafka }}
{{- $role := index $kafka.roles .role }}
{{- if ne $kafka.security "plaintext" }}
{{- if $kafka.caSecret }}
- {name: ca, mountPath: /secrets/ca, readOnly: true}
{{- end }}
{{- if $role.certificateSecret }}
- {name: tls, mountPath: /secrets/tls, readOnly: true}
{{- end }}
{{- if eq $kafka.security "sasl_tls" }}
- {name: sasl, mountPath: /secrets/sasl, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{/* A secret belongs to root, and fsGroup may read it: lethe takes that. */}}
{{- define "lethe.kafkaVolumes" -}}
{{- $kafka := .root.Values.kafka }}
{{- $role := index $kafka.roles .role }}
{{- if ne $kafka.security "plaintext" }}
{{- if $kafka.caSecret }}
- {name: ca, secret: {secretName: {{ $kafka.caSecret }}, defaultMode: 0440}}
{{- end }}
{{- if $role.certificateSecret }}
- {name: tls, secret: {secretName: {{ $role.certificateSecret }}, defaultMode: 0440}}
{{- end }}
{{- if eq $kafka.security "sasl_tls" }}
- {name: sasl, secret: {secretName: {{ $role.passwordSecret }}, defaultMode: 0440}}
{{- end }}
{{- end }}
{{- end -}}

{{/* The URL of the store, which holds a password. (dict "root" $ "who" "archive") */}}
{{- define "lethe.storeEnv" -}}
{{- $store := .root.Values.store }}
{{- if eq $store.mode "embedded" }}
- {name: LETHE_STORE, value: "chdb:/data/store"}
{{- else }}
- name: LETHE_STORE
  valueFrom: {secretKeyRef: {name: {{ $store.secret }}, key: {{ index $store.secretKeys .who }}}}
{{- end }}
{{- end -}}

{{- define "lethe.keysEnv" -}}
- {name: LETHE_KEYS, value: /keys/lethe.keys.json}
- {name: LETHE_KEYRING, value: /keys/lethe.keyring.json}
- {name: LETHE_KEK, value: {{ .Values.keys.kekUrl | default "file:/kek/lethe.kek.json" | quote }}}
{{- end -}}

{{/* (dict "root" $ "readOnly" true) */}}
{{- define "lethe.keysMounts" -}}
- {name: keys, mountPath: /keys, readOnly: {{ .readOnly }}}
{{- if not .root.Values.keys.kekUrl }}
- {name: kek, mountPath: /kek, readOnly: true}
{{- end }}
{{- end -}}

{{- define "lethe.keysVolumes" -}}
- {name: keys, persistentVolumeClaim: {claimName: {{ include "lethe.keysClaim" . }}}}
{{- if not .Values.keys.kekUrl }}
- {name: kek, secret: {secretName: {{ .Values.keys.kekSecret }}, defaultMode: 0440}}
{{- end }}
{{- end -}}

{{/* Of a worker and an archive: an answer may take 3 s, and a supervisor may be without a process for a minute. */}}
{{- define "lethe.probes" -}}
ports: [{name: metrics, containerPort: {{ .Values.metricsPort }}}]
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 4
  failureThreshold: 48
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 15
  timeoutSeconds: 4
  failureThreshold: 5
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 4
  failureThreshold: 3
{{- end -}}

{{- define "lethe.servingEnv" -}}
- {name: LETHE_METRICS_HOST, value: 0.0.0.0}
- {name: LETHE_METRICS_PORT, value: {{ .Values.metricsPort | quote }}}
- {name: LETHE_GRACE_S, value: {{ .Values.graceS | quote }}}
{{- end -}}

{{- define "lethe.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- end -}}
