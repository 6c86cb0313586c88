{{/* Settings that the cluster can tell itself: the values, else what they were at the first installation, else what the cluster says now. As YAML. */}}
{{- define "ovnkube.settings" -}}
{{- if ne .Release.Namespace "ovn-kubernetes" }}{{ fail (printf "install into namespace ovn-kubernetes, not %s: helm install ovnkube … --namespace ovn-kubernetes" .Release.Namespace) }}{{ end -}}
{{- $kept := dict -}}
{{- with lookup "v1" "ConfigMap" "ovn-kubernetes" "ovnkube-settings" }}{{ $kept = .data | default dict }}{{ end -}}
{{- $api := .Values.k8s.apiServer | default $kept.apiServer | default (include "ovnkube.discoverAPIServer" .) -}}
{{- if not $api }}{{ fail "k8s.apiServer: where is the API server? Give its own address, --set k8s.apiServer=https://HOST:6443" }}{{ end -}}
{{- $services := .Values.network.serviceCIDRs -}}
{{- if not $services }}{{ $services = $kept.serviceCIDRs | default (include "ovnkube.discoverServices" .) | splitList "," | compact }}{{ end -}}
{{- if not $services }}{{ fail "network.serviceCIDRs: give the API server's --service-cluster-ip-range, --set 'network.serviceCIDRs={10.96.0.0/12}'" }}{{ end -}}
{{- $addresses := .Values.databases.addresses -}}
{{- if not $addresses }}{{ $addresses = $kept.databaseAddresses | default (include "ovnkube.discoverDatabases" .) | splitList "," | compact }}{{ end -}}
{{- if not $addresses }}{{ fail "databases.addresses: give the addresses of the nodes with the databases, one, three or five: --set 'databases.addresses={10.0.0.1}'" }}{{ end -}}
{{- if not (has (len $addresses) (list 1 3 5)) }}{{ fail (printf "databases.addresses: %d addresses (%s); want one, three or five" (len $addresses) (join ", " $addresses)) }}{{ end -}}
{{- if ne (len $addresses) (len (uniq $addresses)) }}{{ fail (printf "databases.addresses: %s has an address twice" (join ", " $addresses)) }}{{ end -}}
{{- $was := $kept.databaseAddresses | default "" | splitList "," | compact -}}
{{- if and (eq (len $was) 1) (gt (len $addresses) 1) (ne (first $was) (first $addresses)) }}{{ fail (printf "databases.addresses: begin with %s, which has the databases now: the first one's content becomes that of the cluster. Where it is lost for ever, give one new address alone, and the others when that one is ready" (first $was)) }}{{ end -}}
{{- toYaml (dict "apiServer" $api "serviceCIDRs" $services "addresses" $addresses) -}}
{{- end }}

{{- define "ovnkube.discoverAPIServer" -}}
{{- with lookup "v1" "ConfigMap" "kube-public" "cluster-info" -}}
  {{- with (index .data "kubeconfig" | default "" | fromYaml) }}{{ with .clusters }}{{ (first .).cluster.server }}{{ end }}{{ end -}}
{{- else -}}
  {{- with lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" -}}
    {{- if and (eq (len .endpoints) 1) (eq (len (first .endpoints).addresses) 1) -}}
      {{- printf "https://%s:%v" (include "ovnkube.host" (first (first .endpoints).addresses)) (first .ports).port -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{- define "ovnkube.discoverServices" -}}
{{- with lookup "networking.k8s.io/v1" "ServiceCIDR" "" "kubernetes" -}}
  {{- join "," .spec.cidrs -}}
{{- else -}}
  {{- with lookup "v1" "ConfigMap" "kube-system" "kubeadm-config" -}}
    {{- with (index .data "ClusterConfiguration" | default "" | fromYaml).networking }}{{ .serviceSubnet }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* The InternalIP of each node that databases.nodeSelector selects. */}}
{{- define "ovnkube.discoverDatabases" -}}
{{- $selector := .Values.databases.nodeSelector -}}
{{- $found := dict -}}
{{- range (lookup "v1" "Node" "" "").items -}}
  {{- $node := . -}}
  {{- $selected := true -}}
  {{- range $k, $v := $selector }}{{ if not (and (hasKey $node.metadata.labels $k) (eq (get $node.metadata.labels $k) $v)) }}{{ $selected = false }}{{ end }}{{ end -}}
  {{- if $selected -}}
    {{- range $node.status.addresses }}{{ if and (eq .type "InternalIP") (not (hasKey $found $node.metadata.name)) }}{{ $_ := set $found $node.metadata.name .address }}{{ end }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if and $found (not (has (len $found) (list 1 3 5))) -}}
  {{- fail (printf "%d nodes (%s) have the labels of databases.nodeSelector: databases need one, three or five. Label those that shall have them and set databases.nodeSelector and databases.addresses" (len $found) (join ", " (keys $found | sortAlpha))) -}}
{{- end -}}
{{- $addresses := list -}}
{{- range keys $found | sortAlpha }}{{ $addresses = append $addresses (get $found .) }}{{ end -}}
{{- join "," $addresses -}}
{{- end }}

{{/* An address as part of HOST:PORT. */}}
{{- define "ovnkube.host" -}}{{ if contains ":" . }}[{{ . }}]{{ else }}{{ . }}{{ end }}{{- end }}

{{/* Open vSwitch's endpoints: a dict with addresses and port. */}}
{{- define "ovnkube.endpoints" -}}
{{- $port := .port -}}
{{- $out := list -}}
{{- range .addresses }}{{ $out = append $out (printf "ssl:%s:%v" (include "ovnkube.host" .) $port) }}{{ end -}}
{{- join "," $out -}}
{{- end }}

{{/* What to listen on so that all of the databases' addresses are served. */}}
{{- define "ovnkube.everyAddress" -}}{{ if contains ":" (join "" .) }}[::]{{ else }}0.0.0.0{{ end }}{{- end }}

{{- define "ovnkube.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}

{{/* Labels that select a component's pods: kubectl ovn and the PodMonitors go by them. A list of the component. */}}
{{- define "ovnkube.podLabels" -}}
app.kubernetes.io/name: ovnkube
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "ovnkube.labels" -}}
app.kubernetes.io/part-of: ovnkube
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What all pods have in common. */}}
{{- define "ovnkube.pod" -}}
hostNetwork: true
dnsPolicy: Default
enableServiceLinks: false
automountServiceAccountToken: false
tolerations: {{ toYaml .Values.tolerations | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The API server at its own address: what kubelet puts here is the service, which this network provides. */}}
{{- define "ovnkube.apiEnv" -}}
{{- $url := (include "ovnkube.settings" . | fromYaml).apiServer | urlParse -}}
- name: KUBERNETES_SERVICE_HOST
  value: {{ $url.hostname | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ (regexFind ":[0-9]+$" $url.host | trimPrefix ":") | default "443" | quote }}
{{- end }}

{{- define "ovnkube.nodeEnv" -}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: NODE_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
{{- end }}

{{/* The service account's token, for the container that needs it alone. */}}
{{- define "ovnkube.tokenMount" -}}
- {name: api-access, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}
{{- define "ovnkube.tokenVolume" -}}
- name: api-access
  projected:
    defaultMode: 0400
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3607}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{/* Where a process serves its health and metrics: a dict with root and port. Brackets do no harm to IPv4. */}}
{{- define "ovnkube.exposed" -}}{{ if or .Values.monitoring.expose .Values.monitoring.podMonitors }}true{{ end }}{{- end }}
{{- define "ovnkube.healthAddress" -}}
{{- if include "ovnkube.exposed" .root }}[$(NODE_IP)]{{ else }}127.0.0.1{{ end }}:{{ .port }}
{{- end }}
{{/* Probes by those: a dict with root and port, the port's name. */}}
{{- define "ovnkube.probes" -}}
livenessProbe:
  httpGet: {path: /livez, port: {{ .port }}{{ if not (include "ovnkube.exposed" .root) }}, host: 127.0.0.1{{ end }}}
  initialDelaySeconds: 10
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}{{ if not (include "ovnkube.exposed" .root) }}, host: 127.0.0.1{{ end }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/* Databases need a folder for temporary files. */}}
{{- define "ovnkube.tmpMount" -}}- {name: tmp, mountPath: /tmp}{{- end }}
{{- define "ovnkube.tmpVolume" -}}- {name: tmp, emptyDir: {}}{{- end }}

{{/* Processes that need nothing of the kernel. Files on the host belong to root. */}}
{{- define "ovnkube.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Flags that master and agents must have alike. */}}
{{- define "ovnkube.networkFlags" -}}
- --mtu={{ .Values.network.mtu }}
- --gateway-mode={{ .Values.network.gatewayMode }}
- --nodeport={{ .Values.network.nodePorts }}
{{- with .Values.network.noSNATCIDRs }}
- --no-snat-cidrs={{ join "," . }}
{{- end }}
{{- end }}

{{/* A file of objects for Prometheus' operator, with the labels by which it selects them: a dict with root and file. What is in braces there are Prometheus' own templates. */}}
{{- define "ovnkube.labelled" -}}
{{- $text := .root.Files.Get .file -}}
{{- with .root.Values.monitoring.labels }}{{ $text = replace "namespace: ovn-kubernetes}" (printf "namespace: ovn-kubernetes, labels: %s}" (toJson .)) $text }}{{ end -}}
{{- $text -}}
{{- end }}
