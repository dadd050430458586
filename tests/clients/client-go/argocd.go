package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// clusterConfig is the `config` of a cluster's Secret, as far as it is used here (Argo CD, declarative setup, clusters).
type clusterConfig struct {
	ExecProviderConfig struct {
		Command    string   `json:"command"`
		Args       []string `json:"args"`
		APIVersion string   `json:"apiVersion"`
	} `json:"execProviderConfig"`
	TLSClientConfig struct {
		CAData []byte `json:"caData"`
	} `json:"tlsClientConfig"`
}

// argoCD does what Argo CD does with a cluster: it reads what the server has, keeps a cache of its resources by lists and
// watches, and runs a terminal's command by SPDY.
func argoCD(ctx context.Context, path string) error {
	config, err := clusterOf(path)
	if err != nil {
		return err
	}
	resources, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	if _, err := resources.ServerPreferredResources(); err != nil {
		return err
	}
	cache, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(cache, 0, "team", nil)
	informer := factory.ForResource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if len(informer.GetStore().List()) == 0 {
		return fmt.Errorf("the cache is empty")
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := list(ctx, client); err != nil {
		return err
	}
	if err := watchMaps(ctx, client); err != nil {
		return err
	}
	if err := exec(ctx, config, client, "hello", spdy); err != nil {
		return err
	}
	wait()
	if _, err := client.CoreV1().Pods("team").List(ctx, metav1.ListOptions{}); err != nil {
		return err
	}
	return exec(ctx, config, client, "again", spdy)
}

// clusterOf is the client configuration that the Secret in a file stands for.
func clusterOf(path string) (*rest.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var secret corev1.Secret
	if err := yaml.Unmarshal(text, &secret); err != nil {
		return nil, err
	}
	var cluster clusterConfig
	if err := json.Unmarshal([]byte(secret.StringData["config"]), &cluster); err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            secret.StringData["server"],
		TLSClientConfig: rest.TLSClientConfig{CAData: cluster.TLSClientConfig.CAData},
		ExecProvider: &api.ExecConfig{
			Command:         cluster.ExecProviderConfig.Command,
			Args:            cluster.ExecProviderConfig.Args,
			APIVersion:      cluster.ExecProviderConfig.APIVersion,
			InteractiveMode: api.NeverExecInteractiveMode,
		},
	}, nil
}
