package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	osexec "os/exec"
	"strings"

	"github.com/gorilla/websocket"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// headlamp does what Headlamp's server does for a user whose token it holds (Headlamp, OIDC API proxy): requests by HTTP/1.1 with
// the token as they come from the browser, and watches by WebSocket.
func headlamp(ctx context.Context, server, ca string) error {
	if err := look(ctx, server, ca); err != nil {
		return err
	}
	wait()
	return look(ctx, server, ca)
}

func look(ctx context.Context, server, ca string) error {
	token, err := userToken()
	if err != nil {
		return err
	}
	config := &rest.Config{
		Host:            server,
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAFile: ca, NextProtos: []string{"http/1.1"}},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := list(ctx, client); err != nil {
		return err
	}
	if err := watchBySocket(server, ca, token); err != nil {
		return err
	}
	return exec(ctx, config, client, "hello", webSocket)
}

// userToken is the user's token. Headlamp gets it by its own login, which is not replayed.
func userToken() (string, error) {
	arguments := []string{"get-token", "--oidc-issuer-url=" + os.Getenv("ISSUER"), "--oidc-client-id=" + os.Getenv("CLIENT_ID")}
	output, err := osexec.Command("kubectl-oidc", arguments...).Output()
	if err != nil {
		return "", err
	}
	var credential struct{ Status struct{ Token string } }
	err = json.Unmarshal(output, &credential)
	return credential.Status.Token, err
}

func watchBySocket(server, ca, token string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}}
	url := strings.Replace(server, "https://", "wss://", 1) + "/api/v1/namespaces/team/configmaps?watch=1"
	header := http.Header{"Authorization": {"Bearer " + token}, "Origin": {server}, "User-Agent": {"headlamp-replay"}}
	socket, _, err := dialer.Dial(url, header)
	if err != nil {
		return err
	}
	defer socket.Close()
	for {
		var event struct{ Type string }
		if err := socket.ReadJSON(&event); err != nil {
			return err
		}
		if event.Type == "MODIFIED" {
			fmt.Println("a change by WebSocket")
			return nil
		}
	}
}
