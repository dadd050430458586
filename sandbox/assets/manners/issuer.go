package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Issuer is one issuer: a server of its own that answers in one manner.
type Issuer struct {
	Name string `json:"name"`
	// Host is an address of this machine, or a name, which the proxy knows; 127.0.0.1 if absent.
	Host string `json:"host"`
	// Aliases are more names of the server for the proxy.
	Aliases []string `json:"aliases"`
	// Path is the issuer's path as configurations write it.
	Path *string `json:"path"`
	// NoPort leaves the port out of the URL. The host must be a name.
	NoPort bool `json:"no_port"`
	// URL is what tokens name in place of the server's own URL, which is then the discovery URL.
	URL string `json:"url"`
	// KeysAt is the jwks_uri, $ISSUER/keys if absent. $BASE is the server without a path, $PORT its port, $OTHER_PORT and $OTHER_HOST
	// are another server, $PLAIN is one without TLS.
	KeysAt      string      `json:"keys_at"`
	Certificate Certificate `json:"certificate"`
	TLS         TLS         `json:"tls"`
	// Answer is how it answers; Discovery and Keys are what is different about one of the two documents.
	Answer    json.RawMessage `json:"answer"`
	Discovery json.RawMessage `json:"discovery"`
	Keys      json.RawMessage `json:"keys"`

	made            *made
	base, own, port string
	answers         map[string]*Answer
	documents       map[string]string
	discoveryPath   string
	keysPath        string
	keys            KeySet
	elsewhere       *elsewhere
	log             *requestLog
	counts          counts
}

const (
	discovery = "discovery"
	keys      = "keys"
)

func (i *Issuer) start(published KeySet, all *authorities, elsewhere *elsewhere, proxy *proxy, log *requestLog) error {
	if i.Host == "" {
		i.Host = "127.0.0.1"
	}
	var err error
	if i.made, err = i.Certificate.make(i.Host, all); err != nil {
		return err
	}
	config, err := i.TLS.config(i.made.tls)
	if err != nil {
		return err
	}
	listen := i.Host
	if net.ParseIP(i.Host) == nil {
		listen = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(listen, "0"))
	if err != nil {
		return err
	}
	address := listener.Addr().(*net.TCPAddr)
	for _, name := range append([]string{i.Host}, i.Aliases...) {
		proxy.add(name, i.Name, address.String())
	}
	i.keys, i.elsewhere, i.log = published, elsewhere, log
	if err := i.describe(address.Port); err != nil {
		return err
	}
	elsewhere.add(i)
	go serve(listener, config, i.answer)
	return nil
}

// describe makes the documents and how they are answered.
func (i *Issuer) describe(port int) error {
	host := i.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	i.base, i.port = "https://"+host, fmt.Sprint(port)
	if !i.NoPort {
		i.base += fmt.Sprintf(":%d", port)
	}
	path := "/realms/main"
	if i.Path != nil {
		path = *i.Path
	}
	i.own = i.base + path
	i.answers = map[string]*Answer{}
	for name, more := range map[string]json.RawMessage{discovery: i.Discovery, keys: i.Keys} {
		answer := &Answer{}
		for _, text := range []json.RawMessage{i.Answer, more} {
			if text == nil {
				continue
			}
			if err := decode(text, answer); err != nil {
				return err
			}
		}
		i.answers[name] = answer
	}
	if i.KeysAt == "" {
		i.KeysAt = strings.TrimSuffix(i.own, "/") + "/keys"
	}
	i.KeysAt = i.fill(i.KeysAt, keys)
	i.documents = map[string]string{
		discovery: i.fill(`{"issuer":"$ISSUER","jwks_uri":"$JWKS_URI","authorization_endpoint":"$BASE/authorize",`+
			`"response_types_supported":["id_token"],"subject_types_supported":["public"],`+
			`"id_token_signing_alg_values_supported":["RS256"]}`, discovery),
		keys: i.fill(`{"keys":[$KEYS]}`, keys),
	}
	// A client may write a path in any of several ways; what it means is what counts.
	where, err := url.Parse(strings.TrimSuffix(i.own, "/") + "/.well-known/openid-configuration")
	if err != nil {
		return err
	}
	i.discoveryPath = where.Path
	if where, err = url.Parse(i.KeysAt); err != nil {
		return err
	}
	i.keysPath = where.Path
	return nil
}

// fill puts the issuer's values into a template.
func (i *Issuer) fill(text, which string) string {
	published := make([]string, len(i.keys.Keys))
	for n, key := range i.keys.Keys {
		published[n] = string(key)
	}
	// The members of the first key, for keys that differ from it in something.
	var first struct {
		Kid string `json:"kid"`
		N   string `json:"n"`
		E   string `json:"e"`
	}
	if len(published) > 0 {
		_ = json.Unmarshal(i.keys.Keys[0], &first)
	}
	others := ""
	if answer := i.answers[which]; answer != nil && strings.Contains(text, "$OTHERS") {
		others = otherKeys(answer.Others)
	}
	return strings.NewReplacer(
		"$ISSUER", i.url(),
		"$JWKS_URI", i.KeysAt,
		"$KEYS", strings.Join(published, ","),
		"$OTHERS", others,
		"$KEY_KID", first.Kid,
		"$KEY_N", first.N,
		"$KEY_E", first.E,
		"$BASE", i.base,
		"$PORT", i.port,
		"$OTHER_PORT", i.elsewhere.port+"/"+url.PathEscape(i.Name),
		"$OTHER_HOST", i.elsewhere.host+"/"+url.PathEscape(i.Name),
		"$PLAIN", i.elsewhere.plain+"/"+url.PathEscape(i.Name),
		"$WHICH", which,
	).Replace(text)
}

// url is what tokens name.
func (i *Issuer) url() string {
	if i.URL != "" {
		return i.URL
	}
	return i.own
}

func (i *Issuer) ready() ReadyIssuer {
	ready := ReadyIssuer{Name: i.Name, URL: i.url(), CA: i.made.anchor}
	if i.URL != "" {
		ready.DiscoveryURL = strings.TrimSuffix(i.own, "/") + "/.well-known/openid-configuration"
	}
	return ready
}

// answer is what a request to the issuer's own server gets.
func (i *Issuer) answer(r *received) *reply {
	which := ""
	switch r.path {
	case i.discoveryPath:
		which = discovery
	case i.keysPath:
		which = keys
	case "/moved/discovery", "/moved/keys":
		return i.good(strings.TrimPrefix(r.path, "/moved/"))
	}
	i.log.add(i.Name, which, r)
	if which == "" {
		return &reply{answer: &Answer{Status: 404}, body: "there is no such thing\n"}
	}
	answer := i.answers[which]
	// Each client is answered as if there were no other.
	if n := i.counts.next(which + " " + r.agent); n < len(answer.First) {
		answer = &answer.First[n]
	}
	return answer.reply(i, which, r)
}

// good is the document, sent in the plainest way.
func (i *Issuer) good(which string) *reply {
	return &reply{answer: &Answer{}, body: i.documents[which]}
}

// otherKeys are keys that sign nothing, each with a comma.
func otherKeys(count int) string {
	var text strings.Builder
	for n := range count {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		public, err := key.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		fmt.Fprintf(&text, `{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"other-%d","x":"%s","y":"%s"},`,
			n, encode(public[1:33]), encode(public[33:]))
	}
	return text.String()
}

// elsewhere is where documents are that do not lie on the issuer's own server.
type elsewhere struct {
	issuers counted[*Issuer]
	// The same server by its address and by a name, and one without TLS.
	port, host, plain string
	log               *requestLog
}

func startElsewhere(all *authorities, log *requestLog) (*elsewhere, error) {
	e := &elsewhere{log: log}
	certificate := Certificate{Names: []string{"127.0.0.1", "localhost"}}
	made, err := certificate.make("", all)
	if err != nil {
		return nil, err
	}
	config, err := (&TLS{}).config(made.tls)
	if err != nil {
		return nil, err
	}
	for _, config := range []*tls.Config{config, nil} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		port := listener.Addr().(*net.TCPAddr).Port
		if config == nil {
			e.plain = fmt.Sprintf("http://127.0.0.1:%d", port)
		} else {
			e.port, e.host = fmt.Sprintf("https://127.0.0.1:%d", port), fmt.Sprintf("https://localhost:%d", port)
		}
		go serve(listener, config, e.answer)
	}
	return e, nil
}

func (e *elsewhere) add(issuer *Issuer) {
	e.issuers.set(issuer.Name, issuer)
}

func (e *elsewhere) answer(r *received) *reply {
	name, which, _ := strings.Cut(strings.TrimPrefix(r.path, "/"), "/")
	issuer, known := e.issuers.get(name)
	if !known || issuer.documents[which] == "" {
		return &reply{answer: &Answer{Status: 404}, body: "there is no such thing\n"}
	}
	e.log.add(name, which+" elsewhere", r)
	return issuer.good(which)
}
