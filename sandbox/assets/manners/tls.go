package main

import (
	"crypto/tls"
	"fmt"
)

// TLS says what a server's handshake is like. Empty, it is Go's own.
type TLS struct {
	// Minimum and Maximum are 1.0, 1.1, 1.2 or 1.3.
	Minimum string `json:"minimum"`
	Maximum string `json:"maximum"`
	// Groups are the key exchanges, by the names of IANA's registry.
	Groups []string `json:"groups"`
	// Ciphers are the cipher suites up to TLS 1.2, by the names of IANA's registry.
	Ciphers []string `json:"ciphers"`
	// ALPN are the protocols; h2 and http/1.1 if absent, no answer to the extension if empty.
	ALPN *[]string `json:"alpn"`
	// Client is whether a client certificate is requested or required.
	Client string `json:"client"`
}

var versions = map[string]uint16{
	"": 0, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13,
}

var groups = map[string]tls.CurveID{
	"x25519":             tls.X25519,
	"secp256r1":          tls.CurveP256,
	"secp384r1":          tls.CurveP384,
	"secp521r1":          tls.CurveP521,
	"X25519MLKEM768":     tls.X25519MLKEM768,
	"SecP256r1MLKEM768":  tls.SecP256r1MLKEM768,
	"SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024,
}

func (t *TLS) config(certificate tls.Certificate) (*tls.Config, error) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}
	var known bool
	if config.MinVersion, known = versions[t.Minimum]; !known {
		return nil, fmt.Errorf("no version %q", t.Minimum)
	}
	if config.MaxVersion, known = versions[t.Maximum]; !known {
		return nil, fmt.Errorf("no version %q", t.Maximum)
	}
	for _, name := range t.Groups {
		group, known := groups[name]
		if !known {
			return nil, fmt.Errorf("no group %q", name)
		}
		config.CurvePreferences = append(config.CurvePreferences, group)
	}
	for _, name := range t.Ciphers {
		id, err := cipher(name)
		if err != nil {
			return nil, err
		}
		config.CipherSuites = append(config.CipherSuites, id)
	}
	if t.ALPN != nil {
		config.NextProtos = *t.ALPN
	}
	switch t.Client {
	case "":
	case "requested":
		config.ClientAuth = tls.RequestClientCert
	case "required":
		config.ClientAuth = tls.RequireAnyClientCert
	default:
		return nil, fmt.Errorf("no client certificate %q", t.Client)
	}
	return config, nil
}

func cipher(name string) (uint16, error) {
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.Name == name {
			return suite.ID, nil
		}
	}
	return 0, fmt.Errorf("no cipher suite %q", name)
}
