package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// Certificate says what a server shows. Empty, it is a good one: P-256, for the host, of the common root.
type Certificate struct {
	// Key is p256, p384, p521, ed25519, rsa1024, rsa2048, rsa3072 or rsa4096.
	Key string `json:"key"`
	// Root is the kind of the root's key, if it is not the common root.
	Root string `json:"root"`
	// Signature is how RSA roots sign: pss, or sha1, or SHA-256 by PKCS #1.
	Signature string `json:"signature"`
	// Names are the subject's alternative names in place of the host; none at all with NoNames.
	Names      []string `json:"names"`
	NoNames    bool     `json:"no_names"`
	CommonName string   `json:"common_name"`
	// Lifetime is expired or future, or seconds from now; else a day.
	Lifetime string `json:"lifetime"`
	Seconds  int    `json:"seconds"`
	// Intermediates is how many there are between root and server.
	Intermediates int `json:"intermediates"`
	// Chain is what is sent: all, leaf (without the intermediates), root (with the root too), reversed (the intermediates in
	// the wrong order), or unrelated (with a certificate that has nothing to do with it).
	Chain string `json:"chain"`
	// Anchor is what clients are given to believe: root, intermediate, leaf, or other (another root).
	Anchor string `json:"anchor"`
	// SelfSigned has no root at all.
	SelfSigned bool `json:"self_signed"`
	// Usage is the extended key usage: server, client, any or none.
	Usage string `json:"usage"`
}

// made is a certificate with its chain and the PEM of whom to believe.
type made struct {
	tls    tls.Certificate
	anchor string
}

// authority is a certificate that signs.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// authorities makes each kind of root once.
type authorities struct {
	mutex sync.Mutex
	roots map[string]*authority
}

func newAuthorities() *authorities {
	return &authorities{roots: map[string]*authority{}}
}

func (a *authorities) root(key string) (*authority, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if known := a.roots[key]; known != nil {
		return known, nil
	}
	root, err := newAuthority("manners root "+key, key, nil, x509.UnknownSignatureAlgorithm)
	if err != nil {
		return nil, err
	}
	a.roots[key] = root
	return root, nil
}

// newAuthority makes a root, or an intermediate of parent.
func newAuthority(name, kind string, parent *authority, signature x509.SignatureAlgorithm) (*authority, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	template := template(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	signer := parent
	if signer == nil {
		signer = &authority{template, key}
	} else {
		template.SignatureAlgorithm = signature
	}
	certificate, err := signer.sign(template, key)
	return &authority{certificate, key}, err
}

func (a *authority) sign(template *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (c *Certificate) make(host string, all *authorities) (*made, error) {
	key, err := newKey(c.Key)
	if err != nil {
		return nil, err
	}
	leaf, err := c.leaf(host)
	if err != nil {
		return nil, err
	}
	if c.SelfSigned {
		certificate, err := (&authority{leaf, key}).sign(leaf, key)
		if err != nil {
			return nil, err
		}
		return &made{tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}, pemOf(certificate)}, nil
	}
	root, err := all.root(c.Root)
	if err != nil {
		return nil, err
	}
	signature, err := c.signature()
	if err != nil {
		return nil, err
	}
	signer, chain := root, []*x509.Certificate{}
	for i := range c.Intermediates {
		if signer, err = newAuthority(fmt.Sprintf("manners intermediate %d", i), c.Root, signer, signature); err != nil {
			return nil, err
		}
		chain = append([]*x509.Certificate{signer.certificate}, chain...)
	}
	leaf.SignatureAlgorithm = signature
	certificate, err := signer.sign(leaf, key)
	if err != nil {
		return nil, err
	}
	anchor := root.certificate
	switch c.Anchor {
	case "", "root":
	case "intermediate":
		anchor = signer.certificate
	case "leaf":
		anchor = certificate
	case "other":
		other, err := newAuthority("manners other root", "", nil, x509.UnknownSignatureAlgorithm)
		if err != nil {
			return nil, err
		}
		anchor = other.certificate
	default:
		return nil, fmt.Errorf("no anchor %q", c.Anchor)
	}
	switch c.Chain {
	case "", "all":
	case "leaf":
		chain = nil
	case "root":
		chain = append(chain, root.certificate)
	case "reversed":
		for i, j := 0, len(chain)-1; i < j; i, j = i+1, j-1 {
			chain[i], chain[j] = chain[j], chain[i]
		}
	case "unrelated":
		other, err := newAuthority("manners unrelated", "", nil, x509.UnknownSignatureAlgorithm)
		if err != nil {
			return nil, err
		}
		chain = append([]*x509.Certificate{other.certificate}, chain...)
	default:
		return nil, fmt.Errorf("no chain %q", c.Chain)
	}
	raw := [][]byte{certificate.Raw}
	for _, other := range chain {
		raw = append(raw, other.Raw)
	}
	return &made{tls.Certificate{Certificate: raw, PrivateKey: key}, pemOf(anchor)}, nil
}

func (c *Certificate) leaf(host string) (*x509.Certificate, error) {
	leaf := template(c.CommonName)
	if c.CommonName == "" {
		leaf.Subject.CommonName = "manners"
	}
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	names := c.Names
	if names == nil && !c.NoNames {
		names = []string{host}
	}
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, address)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	switch c.Usage {
	case "", "server":
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	case "client":
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case "any":
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	case "none":
	default:
		return nil, fmt.Errorf("no usage %q", c.Usage)
	}
	now := time.Now()
	switch c.Lifetime {
	case "":
	case "expired":
		leaf.NotBefore, leaf.NotAfter = now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	case "future":
		leaf.NotBefore, leaf.NotAfter = now.Add(24*time.Hour), now.Add(48*time.Hour)
	default:
		return nil, fmt.Errorf("no lifetime %q", c.Lifetime)
	}
	if c.Seconds != 0 {
		leaf.NotAfter = now.Add(time.Duration(c.Seconds) * time.Second)
	}
	return leaf, nil
}

func (c *Certificate) signature() (x509.SignatureAlgorithm, error) {
	switch c.Signature {
	case "":
		return x509.UnknownSignatureAlgorithm, nil
	case "pss":
		return x509.SHA256WithRSAPSS, nil
	case "sha1":
		return x509.SHA1WithRSA, nil
	}
	return x509.UnknownSignatureAlgorithm, fmt.Errorf("no signature %q", c.Signature)
}

func (m *made) chainPEM() string {
	var chain bytes.Buffer
	for _, raw := range m.tls.Certificate {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: raw})
	}
	return chain.String()
}

func (m *made) keyPEM() string {
	der, err := x509.MarshalPKCS8PrivateKey(m.tls.PrivateKey)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func pemOf(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "", "p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "p521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "rsa1024":
		return rsa.GenerateKey(rand.Reader, 1024)
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("no key %q", kind)
}
