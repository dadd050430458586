// Lists, watches and runs a command; lists again when the first token has expired. Called with a name, it sends what Headlamp or
// Argo CD sends.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

func main() {
	ctx, words := context.Background(), append(os.Args[1:], "")
	var err error
	switch words[0] {
	case "headlamp":
		err = headlamp(ctx, words[1], words[2])
	case "argo-cd":
		err = argoCD(ctx, words[1])
	default:
		err = clientGo(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func clientGo(ctx context.Context) error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return err
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
	if err := exec(ctx, config, client, "hello", webSocket); err != nil {
		return err
	}
	if err := exec(ctx, config, client, "hello", spdy); err != nil {
		return err
	}
	wait()
	if err := list(ctx, client); err != nil {
		return err
	}
	return exec(ctx, config, client, "again", webSocket)
}

func list(ctx context.Context, client kubernetes.Interface) error {
	pods, err := client.CoreV1().Pods("team").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		fmt.Println(pod.Name)
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("no pods")
	}
	return nil
}

func watchMaps(ctx context.Context, client kubernetes.Interface) error {
	events, err := client.CoreV1().ConfigMaps("team").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		if event.Type == watch.Modified {
			return nil
		}
	}
	return fmt.Errorf("the watch ended")
}

// The protocols that client-go has for streams.
var (
	webSocket = func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
		return remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	}
	spdy = func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
		return remotecommand.NewSPDYExecutor(config, "POST", request.URL())
	}
)

func exec(ctx context.Context, config *rest.Config, client kubernetes.Interface, word string,
	by func(*rest.Config, *rest.Request) (remotecommand.Executor, error)) error {
	options := &corev1.PodExecOptions{Command: []string{"echo", word}, Stdout: true}
	request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace("team").Name("web").
		SubResource("exec").VersionedParams(options, scheme.ParameterCodec)
	executor, err := by(config, request)
	if err != nil {
		return err
	}
	var output bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &output}); err != nil {
		return err
	}
	if output.String() != word+"\n" {
		return fmt.Errorf("the command's output is %q", output.String())
	}
	return nil
}

// wait returns when the tokens that were used until now have expired.
func wait() {
	fmt.Println("wait")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}
