{{- /* What the schema cannot say. Each message names the values to change. */ -}}
{{- define "hexagram.checks" -}}
{{- include "hexagram.checkNames" . }}
{{- include "hexagram.checkIngress" .Values }}
{{- include "hexagram.checkHttpRoute" .Values }}
{{- include "hexagram.checkService" .Values.service }}
{{- include "hexagram.checkAuth" .Values.edge }}
{{- include "hexagram.checkAutoscaling" .Values }}
{{- include "hexagram.checkStore" . }}
{{- include "hexagram.checkShards" . }}
{{- include "hexagram.checkStoreChange" . }}
{{- include "hexagram.checkLinksChange" . }}
{{- include "hexagram.checkUpstreamSecrets" . }}
{{- end }}

{{- /* The API server says so too, once half of the objects are there. */ -}}
{{- define "hexagram.checkNames" -}}
{{- $name := include "hexagram.fullname" . }}
{{- if not (regexMatch "^[a-z]" $name) }}
{{- fail (printf "the objects would be called %s, and a Service's name begins with a letter: set fullnameOverride" $name) }}
{{- end }}
{{- end }}

{{- /* An Upstream object could have them sent to its own server. */ -}}
{{- define "hexagram.checkUpstreamSecrets" -}}
{{- $name := include "hexagram.fullname" . }}
{{- $own := list (include "hexagram.keysSecret" .) (printf "%s-upstreams" $name) (printf "%s-link-ca" $name) (printf "%s-link-edge" $name) (printf "%s-link-worker" $name) }}
{{- range .Values.upstreamSecrets }}
{{- if has . $own }}
{{- fail (printf "upstreamSecrets names %s, which is the operator's own: no upstream may be sent it" .) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hexagram.checkLinksChange" -}}
{{- $name := printf "%s-worker" (include "hexagram.fullname" .) }}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace $name }}
{{- if and $live (ne .Values.worker.updateStrategy "Recreate") }}
{{- $now := dig "metadata" "annotations" "hexagram.dev/link-tls" "false" $live }}
{{- $wanted := toString .Values.links.tls.enabled }}
{{- if ne $now $wanted }}
{{- fail (printf "links.tls.enabled changes from %s to %s, and links of both kinds do not go together: set worker.updateStrategy to Recreate for this upgrade, which ends all legacy sessions" $now $wanted) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hexagram.checkIngress" -}}
{{- if and .ingress.enabled (not .ingress.hosts) }}
{{- fail "ingress.enabled needs ingress.hosts" }}
{{- end }}
{{- if and .ingress.enabled (contains "*" (join " " .ingress.hosts)) (not (has "*" .edge.allowedHosts)) }}
{{- fail "ingress.hosts has a wildcard, which edges do not match: name each host, or set edge.allowedHosts to [\"*\"]" }}
{{- end }}
{{- end }}

{{- define "hexagram.checkHttpRoute" -}}
{{- if .httpRoute.enabled }}
{{- if not .httpRoute.parentRefs }}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs: the Gateways that take the route" }}
{{- end }}
{{- if not (or .httpRoute.hostnames .edge.allowedHosts) }}
{{- fail "httpRoute.hostnames is empty: edges would refuse the Gateway's names; give them there, or in edge.allowedHosts" }}
{{- end }}
{{- if and (contains "*" (join " " .httpRoute.hostnames)) (not (has "*" .edge.allowedHosts)) }}
{{- fail "httpRoute.hostnames has a wildcard, which edges do not match: name each host, or set edge.allowedHosts to [\"*\"]" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hexagram.checkService" -}}
{{- if and (eq .type "ClusterIP") (or .nodePort .externalTrafficPolicy) }}
{{- fail "service.nodePort and service.externalTrafficPolicy need service.type NodePort or LoadBalancer" }}
{{- end }}
{{- if and (ne .type "LoadBalancer") (or .loadBalancerClass .loadBalancerSourceRanges) }}
{{- fail "service.loadBalancerClass and service.loadBalancerSourceRanges need service.type LoadBalancer" }}
{{- end }}
{{- end }}

{{- define "hexagram.checkAutoscaling" -}}
{{- range $role := list "edge" "worker" }}
{{- with index $ $role }}
{{- if .autoscaling.enabled }}
{{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) }}
{{- fail (printf "%s.autoscaling.minReplicas is above maxReplicas" $role) }}
{{- end }}
{{- if not ((.resources | default dict).requests | default dict).cpu }}
{{- fail (printf "%s.autoscaling needs %s.resources.requests.cpu: its target is a share of that" $role $role) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hexagram.checkAuth" -}}
{{- if and (eq .auth.kind "api-keys") (not .auth.keysSecret.name) }}
{{- fail "edge.auth.kind api-keys needs edge.auth.keysSecret.name" }}
{{- end }}
{{- if and (eq .auth.kind "trusted-header") (not .trustedProxies) }}
{{- fail "edge.auth.kind trusted-header needs edge.trustedProxies: anyone could send the header" }}
{{- end }}
{{- if and .routing.header (not .trustedProxies) }}
{{- fail "edge.routing.header needs edge.trustedProxies: anyone could send the header" }}
{{- end }}
{{- end }}

{{- define "hexagram.checkStore" -}}
{{- $stores := list .Values.store.url .Values.store.existingSecret.name (ternary "valkey" "" .Values.valkey.enabled) }}
{{- if gt (len (compact $stores)) 1 }}
{{- fail "more than one store: give one of store.url, store.existingSecret.name and valkey.enabled" }}
{{- end }}
{{- if and .Values.valkey.enabled (not .Values.valkey.existingSecret.name) (not .Values.networkPolicy.enabled) }}
{{- fail "valkey would be open to every pod: set valkey.existingSecret.name, or networkPolicy.enabled" }}
{{- end }}
{{- if and .Values.store.caSecret.name (not (or .Values.store.url .Values.store.existingSecret.name)) }}
{{- fail "store.caSecret.name needs store.url or store.existingSecret.name" }}
{{- end }}
{{- if and .Values.store.caSecret.name (hasPrefix "redis://" .Values.store.url) }}
{{- fail "store.caSecret.name needs a store.url with TLS: rediss://" }}
{{- end }}
{{- if and (gt (int .Values.store.wait) 0) (not (or .Values.store.url .Values.store.existingSecret.name)) }}
{{- fail "store.wait needs store.url or store.existingSecret.name: the chart's own Valkey has no replicas to wait for" }}
{{- end }}
{{- end }}

{{- /* The shard map outlives the release, so this also sees one of an earlier install. */ -}}
{{- define "hexagram.checkShards" -}}
{{- if .Capabilities.APIVersions.Has "hexagram.dev/v1alpha1/ShardMap" }}
{{- $name := include "hexagram.fullname" . }}
{{- $map := lookup "hexagram.dev/v1alpha1" "ShardMap" .Release.Namespace $name }}
{{- $shards := dig "spec" "shards" .Values.shards $map | int }}
{{- if ne $shards (int .Values.shards) }}
{{- fail (printf "shards is fixed for the cluster's life: the ShardMap %s has %d, the values say %d; set shards to %d, or install another release" $name $shards (int .Values.shards) $shards) }}
{{- end }}
{{- $wanted := include "hexagram.cluster" . }}
{{- $cluster := dig "spec" "cluster" $wanted $map }}
{{- if ne $cluster $wanted }}
{{- fail (printf "cluster is fixed for the cluster's life: the ShardMap %s has %s, the values say %s; set cluster to %s, or install another release" $name $cluster $wanted $cluster) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A rolling update to another store would wait for ever: a worker is not taken in
       where its store is not that of the others. What a Secret holds only workers know: another
       Secret may have the same store. */ -}}
{{- define "hexagram.checkStoreChange" -}}
{{- $name := printf "%s-worker" (include "hexagram.fullname" .) }}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace $name }}
{{- if and $live (ne .Values.worker.updateStrategy "Recreate") }}
{{- $now := dig "metadata" "annotations" "hexagram.dev/store" "none" $live }}
{{- $wanted := include "hexagram.storePlace" . }}
{{- if and (ne $now $wanted) (not (and (hasPrefix "secret " $now) (hasPrefix "secret " $wanted))) }}
{{- fail (printf "the store changes from %s to %s: set worker.updateStrategy to Recreate for this upgrade, which ends all legacy sessions" $now $wanted) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hexagram.storePlace" -}}
{{- regexReplaceAll "//[^/]*@" (include "hexagram.store" .) "//" | default "none" }}
{{- end }}
