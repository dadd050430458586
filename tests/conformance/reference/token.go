package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/coreos/go-oidc"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/union"
	upstream "k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// tokenQuestion is a configuration, the key set of each issuer URL, the clock, and tokens to judge. HTTP answers what a
// distributed claim asks for, by URL: its endpoint, and its issuer's discovery document and keys.
type tokenQuestion struct {
	Name   string            `json:"name,omitempty"`
	Config json.RawMessage   `json:"config"`
	JWKS   map[string]string `json:"jwks"`
	HTTP   map[string]string `json:"http,omitempty"`
	Time   time.Time         `json:"time"`
	// Given keys are not fetched: the authenticator has them, which makes a difference since 1.38.
	Given  bool          `json:"given,omitempty"`
	Tokens []tokenAnswer `json:"tokens"`
}

// tokenAnswer is a token with an identity, an error, or neither: no authenticator took the token for its own.
type tokenAnswer struct {
	Name  string    `json:"name,omitempty"`
	Token string    `json:"token"`
	User  *identity `json:"user,omitempty"`
	Error string    `json:"error,omitempty"`
}

type identity struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

func authenticateTokens(question tokenQuestion) (tokenQuestion, error) {
	synchronizeTokenIDVerifierForTest = true
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	chain, err := authenticators(ctx, question)
	if err != nil {
		return question, fmt.Errorf("%s: %w", question.Name, err)
	}
	for i := range question.Tokens {
		judge(ctx, chain, &question.Tokens[i])
	}
	return question, nil
}

func judge(ctx context.Context, chain authenticator.Token, bearer *tokenAnswer) {
	// A question may repeat what another version answered.
	bearer.User, bearer.Error = nil, ""
	response, ok, err := chain.AuthenticateToken(ctx, bearer.Token)
	switch {
	case err != nil:
		bearer.Error = err.Error()
	case ok:
		info := response.User
		bearer.User = &identity{info.GetName(), info.GetUID(), info.GetGroups(), info.GetExtra()}
	}
}

// authenticators are those of the configuration in its order. Each has its keys from memory, through upstream's own
// remote key set, or is given them; discovery is not asked.
func authenticators(ctx context.Context, question tokenQuestion) (authenticator.Token, error) {
	configuration, err := decode(string(question.Config))
	if err != nil {
		return nil, err
	}
	if err := validation.ValidateAuthenticationConfiguration(compiler, configuration, nil).ToAggregate(); err != nil {
		return nil, err
	}
	var chain []authenticator.Token
	for _, jwt := range configuration.JWT {
		one, err := jwtAuthenticator(ctx, jwt, question)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", jwt.Issuer.URL, err)
		}
		chain = append(chain, one)
	}
	return union.NewFailOnError(chain...), nil
}

func jwtAuthenticator(ctx context.Context, jwt apiserver.JWTAuthenticator, question tokenQuestion) (authenticator.Token, error) {
	const keysURL = "memory://keys"
	answers := memory{keysURL: question.JWKS[jwt.Issuer.URL]}
	for url, body := range question.HTTP {
		answers[url] = body
	}
	client := &http.Client{Transport: answers}
	jwt.Issuer.DiscoveryURL = ""       // excludes a key set; validated above
	jwt.Issuer.EgressSelectorType = "" // excludes a client; validated above
	options := upstream.Options{
		JWTAuthenticator:     jwt,
		KeySet:               keySet(ctx, question, answers[keysURL], oidc.NewRemoteKeySet(oidc.ClientContext(ctx, client), keysURL)),
		Client:               client,
		Compiler:             compiler,
		SupportedSigningAlgs: upstream.AllValidSigningAlgorithms(),
	}
	setClock(&options, func() time.Time { return question.Time })
	return upstream.New(ctx, options)
}

// setClock reaches the option that upstream keeps for its own tests.
func setClock(options *upstream.Options, now func() time.Time) {
	field := reflect.ValueOf(options).Elem().FieldByName("now")
	*(*func() time.Time)(unsafe.Pointer(field.UnsafeAddr())) = now
}

// memory answers HTTP requests from a map by URL.
type memory map[string]string

func (m memory) RoundTrip(request *http.Request) (*http.Response, error) {
	body, found := m[request.URL.String()]
	status := http.StatusOK
	if !found {
		status = http.StatusNotFound
	}
	return &http.Response{
		StatusCode: status,
		Status:     fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(body)),
		Request:    request,
	}, nil
}
