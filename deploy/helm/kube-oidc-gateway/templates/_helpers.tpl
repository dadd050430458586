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
{{- end }}

{{- define "gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}{{ include "gateway.fullname" . }}
{{- else }}default{{ end }}
{{- end }}

{{- define "gateway.tlsSecret" -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "gateway.fullname" .)) }}
{{- end }}

{{/* The names that a client may know the service by. */}}
{{- define "gateway.dnsNames" -}}
{{- $name := include "gateway.fullname" . }}
{{- $names := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) }}
{{- range .Values.ingress.hosts }}{{- if and $.Values.ingress.enabled .host }}{{- $names = append $names .host }}{{- end }}{{- end }}
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
{{- if and .Values.gatewayConfiguration .Values.existingGatewayConfigMap }}{{ fail "gatewayConfiguration and existingGatewayConfigMap: give one of them" }}{{ end }}
{{- if and .Values.portal.secretName (not .Values.portal.configuration) }}{{ fail "portal.secretName is for the files that portal.configuration names, which is empty" }}{{ end }}
{{- if hasKey .Values.extraArgs "allow-vulnerable-envoy" }}{{ fail "extraArgs: allow-vulnerable-envoy is for the project's own tests: an Envoy with CVE-2026-73548 lets a client act as the gateway" }}{{ end }}
{{- if and .Values.tls.certManager (not .Values.tls.selfSigned) (not .Values.tls.issuerName) }}{{ fail "tls.issuerName is needed with tls.certManager and without tls.selfSigned" }}{{ end }}
{{- end }}
