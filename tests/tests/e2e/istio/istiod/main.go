// Istiod prints what istiod would send a proxy for some objects: the fixtures beside this file are its output. It is istiod's own
// code that reads the objects, makes listeners and clusters, and merges patches; no server runs.
//
//	go run . -proxy router|sidecar -labels app=NAME -namespace NAMESPACE [-listener NAME] [-clusters REGEXP] FILE... 3>FIXTURE
//
// A file whose name ends with k8s.yaml holds objects of Kubernetes (Services, their endpoints, Pods), any other objects of Istio.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/test"
)

// A mesh with metrics, which istiod's chart turns on, and with the paths as docs/istio.md asks for them.
const meshConfig = `
defaultProviders: {metrics: [prometheus]}
extensionProviders: [{name: prometheus, prometheus: {}}]
pathNormalization: {normalization: NONE}
`

var (
	kind      = flag.String("proxy", "router", "router or sidecar")
	label     = flag.String("labels", "", "a label of the pod: KEY=VALUE")
	namespace = flag.String("namespace", "login", "the pod's namespace")
	listener  = flag.String("listener", "", "print this listener")
	clusters  = flag.String("clusters", "^$", "print the clusters whose names match")
)

func main() {
	flag.Parse()
	var istio, kubernetes []string
	for _, name := range flag.Args() {
		text, err := os.ReadFile(name)
		check(err)
		if strings.HasSuffix(name, "k8s.yaml") {
			kubernetes = append(kubernetes, string(text))
		} else {
			istio = append(istio, string(text))
		}
	}
	config, err := mesh.ApplyMeshConfigDefaults(meshConfig)
	check(err)
	check(test.Wrap(func(t test.Failer) {
		server := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{
			ConfigString:           strings.Join(istio, "\n---\n"),
			KubernetesObjectString: strings.Join(kubernetes, "\n---\n"),
			MeshConfig:             config,
		})
		show(server, server.SetupProxy(proxy()))
	}))
}

// proxy is the pod's, at the address that the fixtures' endpoints have.
func proxy() *model.Proxy {
	key, value, _ := strings.Cut(*label, "=")
	labels := map[string]string{key: value}
	types := map[string]model.NodeType{"router": model.Router, "sidecar": model.SidecarProxy}
	return &model.Proxy{
		Type:            types[*kind],
		IPAddresses:     []string{"10.1.2.3"},
		Labels:          labels,
		ConfigNamespace: *namespace,
		Metadata: &model.NodeMetadata{
			Namespace:    *namespace,
			IstioVersion: "1.31.0",
			Labels:       labels,
			ClusterID:    "Kubernetes",
		},
	}
}

func show(server *xds.FakeDiscoveryServer, proxy *model.Proxy) {
	wanted := regexp.MustCompile(*clusters)
	found := map[string][]json.RawMessage{}
	for _, it := range server.Listeners(proxy) {
		if it.Name == *listener {
			found["listeners"] = append(found["listeners"], text(it))
		}
	}
	for _, it := range server.Clusters(proxy) {
		if wanted.MatchString(it.Name) {
			found["clusters"] = append(found["clusters"], text(it))
		}
	}
	out, err := json.MarshalIndent(found, "", " ")
	check(err)
	check(os.WriteFile("/dev/fd/3", append(out, '\n'), 0o644))
}

func text(message proto.Message) json.RawMessage {
	out, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	check(err)
	return out
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
