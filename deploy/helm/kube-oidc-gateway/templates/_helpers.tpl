{{- define "gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "gateway.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "gateway.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "gateway.image" -}}
{{- $image := .Values.image }}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}
{{- if or $image.tag (not $image.digest) }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Envoy's workers: as many as the CPUs that the container may use. */}}
{{- define "gateway.workers" -}}
{{- $cpu := dig "limits" "cpu" "" (.Values.resources | default dict) | default "" | toString }}
{{- if not (kindIs "invalid" .Values.concurrency) }}{{ int .Values.concurrency }}
{{- else if hasSuffix "m" $cpu }}{{ max 1 (div (add (trimSuffix "m" $cpu | int) 999) 1000) }}
{{- else if $cpu }}{{ max 1 (ceil (float64 $cpu) | int) }}
{{- else }}2{{ end }}
{{- end }}

{{/* How many pods there are at least. */}}
{{- define "gateway.replicas" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled }}
{{- end }}

{{/* "true" if a disruption budget is asked for whose minAvailable would let no pod go. */}}
{{- define "gateway.budgetBlocks" -}}
{{- $budget := .Values.podDisruptionBudget }}
{{- if and $budget.enabled (not $budget.maxUnavailable) $budget.minAvailable (not (hasSuffix "%" (toString $budget.minAvailable))) }}
{{- if ge (int $budget.minAvailable) (int (include "gateway.replicas" .)) }}true{{ end }}
{{- end }}
{{- end }}

{{- define "gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}{{ include "gateway.fullname" . }}
{{- else }}default{{ end }}
{{- end }}

{{- define "gateway.tlsSecret" -}}
{{- $ending := ternary "serving" "tls" (eq (include "gateway.certificate" .) "job") }}
{{- .Values.tls.secretName | default (printf "%s-%s" (include "gateway.fullname" .) $ending) }}
{{- end }}

{{/* Where the serving certificate comes from: "given", "certManager", "job" or "helm". */}}
{{- define "gateway.certificate" -}}
{{- if .Values.tls.secretName }}given
{{- else if .Values.tls.certManager }}certManager
{{- else }}{{ .Values.tls.madeBy }}{{ end }}
{{- end }}

{{/* The names that a client may know the service by. */}}
{{- define "gateway.dnsNames" -}}
{{- $name := include "gateway.fullname" . }}
{{- $names := list }}
{{- if .Values.tls.serviceNames }}{{ $names = list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) "localhost" }}{{ end }}
{{- range .Values.ingress.hosts }}{{- if and $.Values.ingress.enabled .host }}{{- $names = append $names .host }}{{- end }}{{- end }}
{{- if .Values.tlsRoute.enabled }}{{ $names = concat $names .Values.tlsRoute.hostnames }}{{ end }}
{{- toJson (concat $names .Values.tls.dnsNames | uniq) }}
{{- end }}

{{/* Where the issuers come from: "content", "object", "configmap", "providers" or "flags". */}}
{{- define "gateway.issuers" -}}
{{- if .Values.existingAuthenticationConfigMap }}configmap
{{- else if .Values.authenticationConfiguration }}object
{{- else if .Values.authenticationConfig.content }}content
{{- else if .Values.oidc.extraProviders }}providers
{{- else }}flags{{ end }}
{{- end }}

{{/* The AuthenticationConfiguration of the values, as JSON; {} if there is none that the chart can see. */}}
{{- define "gateway.authentication" -}}
{{- $issuers := include "gateway.issuers" . }}
{{- if eq $issuers "object" }}{{ toJson .Values.authenticationConfiguration }}
{{- else if eq $issuers "content" }}{{ fromYaml .Values.authenticationConfig.content | toJson }}
{{- else if eq $issuers "providers" }}{{ include "gateway.providers" . }}
{{- else }}{}{{ end }}
{{- end }}

{{/* The first issuer and oidc.extraProviders as one AuthenticationConfiguration. */}}
{{- define "gateway.providers" -}}
{{- $oidc := .Values.oidc }}
{{- $claim := $oidc.usernameClaim | default "sub" }}
{{- $prefix := $oidc.usernamePrefix | default (ternary "-" (printf "%s#" $oidc.issuerUrl) (eq $claim "email")) }}
{{- $mappings := dict "username" (dict "claim" $claim "prefix" (ternary "" $prefix (eq $prefix "-"))) }}
{{- with $oidc.groupsClaim }}{{ $_ := set $mappings "groups" (dict "claim" . "prefix" ($oidc.groupsPrefix | default "")) }}{{ end }}
{{- $issuer := dict "url" $oidc.issuerUrl "audiences" (list $oidc.clientId) }}
{{- with $oidc.caPEM }}{{ $_ := set $issuer "certificateAuthority" . }}{{ end }}
{{- $first := dict "issuer" $issuer "claimMappings" $mappings }}
{{- $rules := list }}
{{- range $name, $value := $oidc.requiredClaims }}{{ $rules = append $rules (dict "claim" $name "requiredValue" (toString $value)) }}{{ end }}
{{- if $rules }}{{ $_ := set $first "claimValidationRules" $rules }}{{ end }}
{{- $jwt := list $first }}
{{- range $oidc.extraProviders }}
  {{- $issuer := dict "url" .issuerUrl "audiences" .audiences "audienceMatchPolicy" "MatchAny" }}
  {{- with .caPEM }}{{ $_ := set $issuer "certificateAuthority" . }}{{ end }}
  {{- $user := dict }}
  {{- if .usernameExpression }}{{ $_ := set $user "expression" .usernameExpression }}
  {{- else }}{{ $_ := set $user "claim" (.usernameClaim | default "sub") }}{{ $_ := set $user "prefix" (.usernamePrefix | default "") }}{{ end }}
  {{- $mappings := dict "username" $user }}
  {{- if .groupsExpression }}{{ $_ := set $mappings "groups" (dict "expression" .groupsExpression) }}
  {{- else if .groupsClaim }}{{ $_ := set $mappings "groups" (dict "claim" .groupsClaim "prefix" (.groupsPrefix | default "")) }}{{ end }}
  {{- $jwt = append $jwt (dict "issuer" $issuer "claimMappings" $mappings) }}
{{- end }}
{{- toJson (dict "apiVersion" "apiserver.config.k8s.io/v1" "kind" "AuthenticationConfiguration" "jwt" $jwt) }}
{{- end }}

{{/* The documents that the chart itself has, as the data of a ConfigMap; nothing if there is none. */}}
{{- define "gateway.documents" -}}
{{- $issuers := include "gateway.issuers" . }}
{{- if eq $issuers "content" }}
authentication.yaml: {{ .Values.authenticationConfig.content | quote }}
{{- else if has $issuers (list "object" "providers") }}
authentication.yaml: |
  {{- include "gateway.authentication" . | fromJson | toYaml | nindent 2 }}
{{- end }}
{{- with .Values.gatewayConfiguration }}
gateway.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.portal.configuration }}
portal.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The issuers' ports, as far as the chart can see them, as JSON. */}}
{{- define "gateway.issuerPorts" -}}
{{- $urls := list }}
{{- range (include "gateway.authentication" . | fromJson).jwt }}
  {{- $urls = append $urls .issuer.url }}
  {{- with .issuer.discoveryURL }}{{ $urls = append $urls . }}{{ end }}
{{- end }}
{{- if eq (include "gateway.issuers" .) "flags" }}{{ $urls = append $urls .Values.oidc.issuerUrl }}{{ end }}
{{- $ports := list }}
{{- range $urls }}{{ $ports = append $ports (regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default "443" | int) }}{{ end }}
{{- toJson (ternary (list 443) ($ports | uniq) (empty $ports)) }}
{{- end }}

{{/* What is wrong with the values, beyond what the schema can say. */}}
{{- define "gateway.validate" -}}
{{- if eq (include "gateway.issuers" .) "flags" }}
  {{- range list "clientId" "issuerUrl" }}
    {{- if not (index $.Values.oidc .) }}{{ fail (printf "oidc.%s is needed, or an AuthenticationConfiguration in authenticationConfiguration, existingAuthenticationConfigMap or authenticationConfig.content" .) }}{{ end }}
  {{- end }}
{{- end }}
{{- $own := or .Values.gatewayConfiguration .Values.existingGatewayConfigMap }}
{{- if and $own (or .Values.tokenPassthrough.enabled .Values.extraImpersonationHeaders.clientIP .Values.extraImpersonationHeaders.headers .Values.corsAllowedOrigins) }}
  {{- fail "tokenPassthrough, extraImpersonationHeaders and corsAllowedOrigins are fields of the GatewayConfiguration: with gatewayConfiguration or existingGatewayConfigMap set them there (tokenReview, extras, corsAllowedOrigins)" }}
{{- end }}
{{- if and $own .Values.kubernetesRules }}{{ fail "kubernetesRules is a field of the GatewayConfiguration: with gatewayConfiguration or existingGatewayConfigMap set it there" }}{{ end }}
{{- if and .Values.gatewayConfiguration .Values.existingGatewayConfigMap }}{{ fail "gatewayConfiguration and existingGatewayConfigMap: give one of them" }}{{ end }}
{{- if and .Values.portal.secretName (not .Values.portal.configuration) }}{{ fail "portal.secretName is for the files that portal.configuration names, which is empty" }}{{ end }}
{{- $credentials := list }}
{{- range .Values.credentials }}
  {{- if has .name $credentials }}{{ fail (printf "credentials: the name %s is there twice" .name) }}{{ end }}
  {{- $credentials = append $credentials .name }}
{{- end }}
{{- $mounted := "/etc/kube-oidc-gateway/credentials/" }}
{{- range regexFindAll (printf "%s[^/\"]+/[^\"]*" $mounted) (toJson .Values.gatewayConfiguration) -1 }}
  {{- $named := trimPrefix $mounted . | splitList "/" | first }}
  {{- if not (has $named $credentials) }}{{ fail (printf "gatewayConfiguration names the file %s: credentials has no Secret of the name %s" . $named) }}{{ end }}
{{- end }}
{{- if .Values.elevation.enabled }}
  {{- if not (or .Values.portal.configuration (hasKey .Values.extraArgs "portal-config")) }}{{ fail "elevation.enabled needs portal.configuration: groups are asked for at the portal" }}{{ end }}
  {{- if not (or .Values.existingGatewayConfigMap (dig "elevation" "rules" list .Values.gatewayConfiguration)) }}{{ fail "elevation.enabled lends nothing without gatewayConfiguration.elevation.rules" }}{{ end }}
  {{- if and .Values.access.enabled (eq (include "gateway.grants" .) (include "gateway.access" .)) }}{{ fail "elevation.configMapName and access.configMapName must be two: who may write one of them must not write the other by that" }}{{ end }}
{{- else if .Values.elevation.webhook.secretName }}{{ fail "elevation.webhook.secretName is for elevation.enabled" }}{{ end }}
{{- range list "filter-form" "native-filter" }}{{ if hasKey $.Values.extraArgs . }}{{ fail (printf "extraArgs: %s: the value filterForm says it" .) }}{{ end }}{{ end }}
{{- if hasKey .Values.extraArgs "allow-vulnerable-envoy" }}{{ fail "extraArgs: allow-vulnerable-envoy is for the project's own tests: an Envoy with CVE-2026-73548 lets a client act as the gateway" }}{{ end }}
{{- if and .Values.tls.loadBalancerNames (or (ne (include "gateway.certificate" .) "job") (ne .Values.service.type "LoadBalancer")) }}{{ fail "tls.loadBalancerNames is for tls.madeBy: job and service.type: LoadBalancer" }}{{ end }}
{{- if and .Values.tlsRoute.enabled (not .Values.tlsRoute.parentRefs) }}{{ fail "tlsRoute.parentRefs is needed with tlsRoute.enabled: the Gateway whose listener passes TLS through" }}{{ end }}
{{- if and (not .Values.tls.secretName) (not (include "gateway.dnsNames" . | fromJsonArray)) (not .Values.tls.ipAddresses) }}{{ fail "tls.dnsNames or tls.ipAddresses is needed with tls.serviceNames: false" }}{{ end }}
{{- if and .Values.tls.certManager (not .Values.tls.selfSigned) (not .Values.tls.issuerName) }}{{ fail "tls.issuerName is needed with tls.certManager and without tls.selfSigned" }}{{ end }}
{{- end }}

{{- /* The ConfigMap that says whose access has ended. */}}
{{- define "gateway.access" -}}
{{- .Values.access.configMapName | default (printf "%s-access" (include "gateway.fullname" .)) }}
{{- end }}

{{- /* The ConfigMap that says what is lent to whom. */}}
{{- define "gateway.grants" -}}
{{- .Values.elevation.configMapName | default (printf "%s-grants" (include "gateway.fullname" .)) }}
{{- end }}
