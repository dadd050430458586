package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// clientCAVariable names the environment variable with the file of the certificate authority that signs the API
// server's client certificate.
const clientCAVariable = "KWOK_CLIENT_CA_FILE"

// listen serves only clients with a certificate of that authority. TLS ends here, so what follows sees plain HTTP.
func listen(address, certFile, privateKeyFile string) (net.Listener, error) {
	file := os.Getenv(clientCAVariable)
	authorities := x509.NewCertPool()
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clientCAVariable, err)
	}
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in %s", clientCAVariable, file)
	}
	certificate, err := tls.LoadX509KeyPair(certFile, privateKeyFile)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", address, &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    authorities,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"http/1.1"},
	})
}
