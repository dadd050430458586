// Custom resource definitions of what the chart and the Istio manifests make objects for, out of the modules that ship them.
module kube-oidc-gateway/sandbox/assets/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	istio.io/api v1.31.1
)
