// Command manners serves OpenID discovery documents and key sets over HTTPS, each issuer in a manner of its own: TLS versions,
// certificates, key exchanges, HTTP framing, encodings, paces, redirects. It is a program of its own because Go's crypto/tls has
// what the provider's TLS library lacks: P-521, Ed25519 with every group, RSA-PSS, X25519MLKEM768 alone.
//
// Its only argument is a file with a Spec. When everything listens, it writes a Ready to the file that the Spec names.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Spec is what to serve.
type Spec struct {
	// Ready is the file for the Ready document.
	Ready string `json:"ready"`
	// Log is the file that gets a line of JSON (a Request) for each request.
	Log string `json:"log"`
	// Keys is the key set of all issuers.
	Keys KeySet `json:"keys"`
	// Issuers are the issuers, each on a port of its own.
	Issuers []Issuer `json:"issuers"`
	// Certificates are certificates for other servers.
	Certificates []NamedCertificate `json:"certificates"`
}

// KeySet is a JWK set.
type KeySet struct {
	Keys []json.RawMessage `json:"keys"`
}

// NamedCertificate is a certificate for a server that is not ours.
type NamedCertificate struct {
	Name        string      `json:"name"`
	Certificate Certificate `json:"certificate"`
}

// Ready is what a test has to know before it can ask.
type Ready struct {
	// Proxy is the URL of a proxy (CONNECT) that knows the hosts of the issuers; on their names the port does not matter.
	Proxy        string             `json:"proxy"`
	Issuers      []ReadyIssuer      `json:"issuers"`
	Certificates []ReadyCertificate `json:"certificates"`
}

// ReadyIssuer is an issuer that answers.
type ReadyIssuer struct {
	Name string `json:"name"`
	// URL is what tokens name.
	URL string `json:"url"`
	// DiscoveryURL is where the discovery document is, if the URL does not lead there.
	DiscoveryURL string `json:"discovery_url,omitempty"`
	// CA is whom to believe, PEM.
	CA string `json:"ca"`
}

// ReadyCertificate is a certificate with its key and whom to believe, PEM.
type ReadyCertificate struct {
	Name        string `json:"name"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "manners:", err)
		os.Exit(1)
	}
	select {}
}

func run(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("one argument: the file with what to serve")
	}
	text, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	var spec Spec
	if err := decode(text, &spec); err != nil {
		return err
	}
	log, err := os.Create(spec.Log)
	if err != nil {
		return err
	}
	ready, err := start(&spec, &requestLog{file: log})
	if err != nil {
		return err
	}
	out, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	if err := os.WriteFile(spec.Ready+".new", out, 0o600); err != nil {
		return err
	}
	return os.Rename(spec.Ready+".new", spec.Ready)
}

func start(spec *Spec, log *requestLog) (*Ready, error) {
	authorities := newAuthorities()
	elsewhere, err := startElsewhere(authorities, log)
	if err != nil {
		return nil, err
	}
	ready := &Ready{Issuers: make([]ReadyIssuer, len(spec.Issuers)), Certificates: make([]ReadyCertificate, len(spec.Certificates))}
	proxy := &proxy{log: log}
	// Large RSA keys take their time.
	var group sync.WaitGroup
	errors := make([]error, len(spec.Issuers)+len(spec.Certificates))
	for i := range spec.Issuers {
		group.Go(func() {
			issuer := &spec.Issuers[i]
			if err := issuer.start(spec.Keys, authorities, elsewhere, proxy, log); err != nil {
				errors[i] = fmt.Errorf("%s: %w", issuer.Name, err)
				return
			}
			ready.Issuers[i] = issuer.ready()
		})
	}
	for i, wanted := range spec.Certificates {
		group.Go(func() {
			made, err := wanted.Certificate.make("localhost", authorities)
			if err != nil {
				errors[len(spec.Issuers)+i] = fmt.Errorf("%s: %w", wanted.Name, err)
				return
			}
			ready.Certificates[i] = ReadyCertificate{wanted.Name, made.chainPEM(), made.keyPEM(), made.anchor}
		})
	}
	group.Wait()
	for _, err := range errors {
		if err != nil {
			return nil, err
		}
	}
	ready.Proxy, err = proxy.listen()
	return ready, err
}

// decode reads JSON in which every member means something.
func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
