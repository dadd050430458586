package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// proxy is a CONNECT proxy that knows names which no resolver does. A name has one server, whatever the port.
type proxy struct {
	hosts counted[host]
	log   *requestLog
}

// host is where an issuer is.
type host struct {
	issuer, address string
}

func (p *proxy) add(name, issuer, address string) {
	p.hosts.set(strings.ToLower(name), host{issuer, address})
}

func (p *proxy) listen() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return "http://" + listener.Addr().String(), nil
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	reader := bufio.NewReader(client)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	name, _, _ := net.SplitHostPort(request.Host)
	host, known := p.hosts.get(strings.ToLower(name))
	if request.Method != http.MethodConnect || !known {
		fmt.Fprint(client, "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
		return
	}
	p.log.add(host.issuer, "connect", receivedFrom(request, nil))
	server, err := net.Dial("tcp", host.address)
	if err != nil {
		return
	}
	defer server.Close()
	fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, reader)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
}
