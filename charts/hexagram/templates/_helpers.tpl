{{- define "hexagram.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough for "-operator" and a pod's suffix behind it. */ -}}
{{- define "hexagram.fullname" -}}
{{- $name := include "hexagram.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{- /* The helpers below take (dict "root" $ "role" "edge"). toYaml quotes names that YAML would
       read as a number. */ -}}

{{- define "hexagram.selector" -}}
app.kubernetes.io/name: {{ include "hexagram.name" .root | toYaml }}
app.kubernetes.io/instance: {{ toYaml .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "hexagram.labels" -}}
{{ include "hexagram.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hexagram
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "hexagram.metadata" -}}
name: {{ include "hexagram.fullname" .root }}-{{ .role }}
namespace: {{ toYaml .root.Release.Namespace }}
labels:
  {{- include "hexagram.labels" . | nindent 2 }}
{{- end }}

{{- /* As many as run now, where the values give no number: an upgrade that leaves out what the
       one before had makes it 1, and an autoscaler has to begin anew. None where nothing is known
       of the cluster: first installs, and renders for GitOps. */ -}}
{{- define "hexagram.replicas" -}}
{{- $values := index .root.Values .role }}
{{- if not (or $values.autoscaling.enabled (kindIs "invalid" $values.replicas)) -}}
replicas: {{ $values.replicas }}
{{- else }}
{{- $name := printf "%s-%s" (include "hexagram.fullname" .root) .role }}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace $name }}
{{- with $live.spec -}}
replicas: {{ int .replicas }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hexagram.cluster" -}}
{{- default (printf "%s/%s" .Release.Namespace (include "hexagram.fullname" .)) .Values.cluster }}
{{- end }}

{{- define "hexagram.keysSecret" -}}
{{- default (printf "%s-keys" (include "hexagram.fullname" .)) .Values.keys.secretName }}
{{- end }}

{{- /* Somebody else may look after a Secret that has a name of its own. */ -}}
{{- define "hexagram.keysRotateDays" -}}
{{- $keys := .Values.keys }}
{{- if kindIs "invalid" $keys.rotateDays }}
{{- ternary 0 90 (not (empty $keys.secretName)) }}
{{- else }}
{{- int $keys.rotateDays }}
{{- end }}
{{- end }}

{{- define "hexagram.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Where the store is, without credentials; empty without one. */ -}}
{{- define "hexagram.store" -}}
{{- if .Values.valkey.enabled }}
{{- printf "redis://%s-valkey:6379/0" (include "hexagram.fullname" .) }}
{{- else if .Values.store.existingSecret.name }}
{{- printf "secret %s/%s" .Values.store.existingSecret.name .Values.store.existingSecret.key }}
{{- else }}
{{- .Values.store.url }}
{{- end }}
{{- end }}

{{- /* A variable and not a flag: a flag shows the password in the list of processes. */ -}}
{{- define "hexagram.storeEnv" -}}
{{- $password := .Values.valkey.existingSecret }}
{{- if and .Values.valkey.enabled $password.name }}
- name: VALKEY_PASSWORD
  valueFrom:
    secretKeyRef: {{ toJson $password }}
- name: HEXAGRAM_STORE
  value: redis://:$(VALKEY_PASSWORD)@{{ include "hexagram.fullname" . }}-valkey:6379/0
{{- else if .Values.store.existingSecret.name }}
- name: HEXAGRAM_STORE
  valueFrom:
    secretKeyRef: {{ toJson .Values.store.existingSecret }}
{{- else if include "hexagram.store" . }}
- name: HEXAGRAM_STORE
  value: {{ include "hexagram.store" . | quote }}
{{- end }}
{{- end }}

{{- /* Those of an HTTPRoute that are given. */ -}}
{{- define "hexagram.routeTimeouts" -}}
{{- $given := dict }}
{{- range $name, $limit := . }}
{{- if $limit }}
{{- $_ := set $given $name $limit }}
{{- end }}
{{- end }}
{{- if $given }}
{{- toYaml $given }}
{{- end }}
{{- end }}

{{- /* Where processes listen. `[::]` takes IPv4 as well, but a node may have no IPv6. */ -}}
{{- define "hexagram.anywhere" -}}
{{- ternary "[::]" "0.0.0.0" .Values.ipv6 }}
{{- end }}

{{- /* A Service of both families sends clients to edges by either. */ -}}
{{- define "hexagram.anywhereForClients" -}}
{{- ternary "[::]" (include "hexagram.anywhere" .) (hasSuffix "DualStack" .Values.service.ipFamilyPolicy) }}
{{- end }}

{{- /* Flags that all roles take. */ -}}
{{- define "hexagram.commonArgs" -}}
- --name=$(POD_NAME)
- --admin={{ include "hexagram.anywhere" . }}:9090
- {{ printf "--cluster=%s" (include "hexagram.cluster" .) | quote }}
- --shards={{ int .Values.shards }}
- --shard-map={{ include "hexagram.fullname" . }}
- --log-format={{ .Values.log.format }}
{{- end }}

{{- /* What seals session ids and links, of edges and workers. */ -}}
{{- define "hexagram.sealArgs" -}}
- --keys=/etc/hexagram/keys/ring.txt
- --session-lifetime={{ int .Values.sessionLifetimeHours }}
{{- if .Values.links.tls.enabled }}
- --link-tls=/etc/hexagram/link
{{- end }}
{{- end }}

{{- define "hexagram.keysMount" -}}
- name: keys
  mountPath: /etc/hexagram/keys
  readOnly: true
{{- end }}

{{- /* The pod waits until the operator has made the Secret. */ -}}
{{- define "hexagram.keysVolume" -}}
- name: keys
  secret:
    secretName: {{ include "hexagram.keysSecret" . }}
    defaultMode: 0440
{{- end }}

{{- /* Mutual TLS on links: edges and workers take (dict "root" $ "role" "edge"). As above, the pod waits. */ -}}
{{- define "hexagram.linkMount" -}}
{{- if .root.Values.links.tls.enabled -}}
- name: link
  mountPath: /etc/hexagram/link
  readOnly: true
{{- end }}
{{- end }}

{{- define "hexagram.linkVolume" -}}
{{- if .root.Values.links.tls.enabled -}}
- name: link
  secret:
    secretName: {{ include "hexagram.fullname" .root }}-link-{{ .role }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "hexagram.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}

{{- /* As many threads as the CPU request, rounded up (divisor 1), where the values do not say: a
       share of the node's CPUs is no measure of a worker's load. A request of 0 is none. */ -}}
{{- define "hexagram.requestedThreads" -}}
{{- $cpu := ((.resources | default dict).requests | default dict).cpu }}
{{- if and (not .threads) (regexMatch "[1-9]" (toString $cpu)) -}}
- name: HEXAGRAM_THREADS
  valueFrom:
    resourceFieldRef: {resource: requests.cpu, divisor: "1"}
{{- end }}
{{- end }}

{{- define "hexagram.container" -}}
name: {{ .role }}
image: {{ include "hexagram.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
resources:
  {{- toYaml (index .root.Values .role).resources | nindent 2 }}
# Generous while it starts, so that a slow image or node is no crash loop.
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "hexagram.podMetadata" -}}
{{- $values := index .root.Values .role -}}
# Without the chart's version: a chart that changes nothing else restarts no pod.
labels:
  {{- include "hexagram.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .role }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* What every pod of our own image has. */ -}}
{{- define "hexagram.pod" -}}
serviceAccountName: {{ include "hexagram.fullname" .root }}-{{ .role }}
# Every role reads the shard map.
automountServiceAccountToken: true
# A Service named hexagram would set HEXAGRAM_* variables, which are settings.
enableServiceLinks: false
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.topologyKeys }}
topologySpreadConstraints:
  {{- range . }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "hexagram.selector" $ | nindent 8 }}
    # Counts a rollout's new pods alone.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- with include "hexagram.scheduling" . | trim }}
{{ . }}
{{- end }}
{{- end }}

{{- define "hexagram.scheduling" -}}
{{- include "hexagram.nodes" . }}
{{- with (index .root.Values .role).affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "hexagram.nodes" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with index .root.Values .role }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
