// Custom resource definitions of what the chart and the objects for Istio and Envoy Gateway are made of, out of the modules that ship them.
module kube-oidc-gateway/sandbox/assets/crds

go 1.26.7

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/envoyproxy/gateway v1.9.1
	github.com/prometheus-operator/prometheus-operator v0.85.0
	istio.io/api v1.31.1
)
