package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// handler says how a request is answered.
type handler func(*received) *reply

// errClosed ends a connection on purpose.
var errClosed = errors.New("closed on purpose")

// serve answers on every connection. HTTP/2 is Go's own server; HTTP/1 is written by hand, for Go's writes only what is good.
func serve(listener net.Listener, config *tls.Config, handle handler) {
	second := &handed{connections: make(chan net.Conn), address: listener.Addr()}
	go func() {
		server := &http.Server{Handler: http2Handler(handle), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100}}
		_ = server.Serve(second)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			if config == nil {
				serveHTTP1(connection, connection, handle)
				return
			}
			secured := tls.Server(connection, config)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if secured.HandshakeContext(ctx) != nil {
				_ = connection.Close()
				return
			}
			if secured.ConnectionState().NegotiatedProtocol == "h2" {
				second.connections <- secured
				return
			}
			serveHTTP1(secured, connection, handle)
		}()
	}
}

// handed is a listener of connections whose handshake is done.
type handed struct {
	connections chan net.Conn
	address     net.Addr
}

func (h *handed) Accept() (net.Conn, error) { return <-h.connections, nil }
func (h *handed) Close() error              { return nil }
func (h *handed) Addr() net.Addr            { return h.address }

func receivedFrom(request *http.Request, state *tls.ConnectionState) *received {
	r := &received{
		path:           request.URL.Path,
		target:         request.RequestURI,
		agent:          request.UserAgent(),
		accept:         request.Header.Values("accept"),
		acceptEncoding: strings.Join(request.Header.Values("accept-encoding"), ","),
		protocol:       request.Proto,
	}
	if state != nil {
		r.version, r.group = tls.VersionName(state.Version), state.CurveID.String()
	}
	return r
}

func http2Handler(handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		reply := handle(receivedFrom(request, request.TLS))
		reply.wait()
		for _, status := range reply.answer.Interim {
			w.WriteHeader(status)
		}
		if reply.answer.End == "reset" {
			panic(http.ErrAbortHandler)
		}
		for _, header := range reply.headers() {
			w.Header().Add(header[0], header[1])
		}
		if reply.answer.ContentType != nil && *reply.answer.ContentType == "" {
			w.Header()["Content-Type"] = nil
		}
		if reply.answer.End == "close" {
			w.Header().Set("connection", "close")
		}
		if reply.answer.Framing == "" && reply.hasBody() {
			w.Header().Set("content-length", fmt.Sprint(len(reply.body)))
		}
		w.WriteHeader(reply.status())
		if !reply.hasBody() {
			return
		}
		body := []byte(reply.body)
		if cut := reply.answer.Cut; cut > 0 {
			_, _ = w.Write(body[:cut])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_ = reply.spread(body, func(part []byte) error {
			if _, err := w.Write(part); err != nil {
				return err
			}
			return http.NewResponseController(w).Flush()
		})
	}
}

func serveHTTP1(connection, below net.Conn, handle handler) {
	defer connection.Close()
	var state *tls.ConnectionState
	if secured, ok := connection.(*tls.Conn); ok {
		now := secured.ConnectionState()
		state = &now
	}
	reader := bufio.NewReader(connection)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		reply := handle(receivedFrom(request, state))
		reply.wait()
		switch err := reply.write(connection); {
		case reply.answer.End == "reset":
			if tcp, ok := below.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = below.Close()
			return
		case reply.answer.End == "drop":
			_ = below.Close()
			return
		case err != nil, reply.answer.End == "close", reply.answer.Framing == "close", request.Close:
			return
		}
	}
}

func (r *reply) write(connection net.Conn) error {
	a := r.answer
	if a.End == "reset" {
		return nil
	}
	newline := "\r\n"
	if a.Newline != "" {
		newline = a.Newline
	}
	version := "1.1"
	if a.Version != "" {
		version = a.Version
	}
	var head strings.Builder
	line := func(text string) { head.WriteString(text + newline) }
	for _, status := range a.Interim {
		line(fmt.Sprintf("HTTP/%s %d %s", version, status, http.StatusText(status)))
		line("")
	}
	reason := " " + http.StatusText(r.status())
	if a.NoReason {
		reason = ""
	}
	line(fmt.Sprintf("HTTP/%s %d%s", version, r.status(), reason))
	for _, header := range r.headers() {
		line(header[0] + ": " + header[1])
	}
	body := []byte(r.body)
	if !r.hasBody() {
		body = nil
	}
	switch a.Framing {
	case "":
		if r.hasBody() {
			line(fmt.Sprintf("content-length: %d", len(body)))
		}
	case "chunked":
		line("transfer-encoding: chunked")
	case "trailers":
		line("transfer-encoding: chunked")
		line("trailer: x-checksum")
	case "close":
	default:
		panic("no framing " + a.Framing)
	}
	line("")
	if _, err := connection.Write([]byte(head.String())); err != nil {
		return err
	}
	if a.Cut > 0 {
		_, _ = connection.Write(body[:a.Cut])
		return errClosed
	}
	chunked := a.Framing == "chunked" || a.Framing == "trailers"
	err := r.spread(body, func(part []byte) error {
		var err error
		if chunked && len(part) > 0 {
			_, err = fmt.Fprintf(connection, "%x;ext=1\r\n%s\r\n", len(part), part)
		} else if !chunked {
			_, err = connection.Write(part)
		}
		return err
	})
	if err != nil || !chunked {
		return err
	}
	last := "0\r\n\r\n"
	if a.Framing == "trailers" {
		last = "0\r\nx-checksum: 1\r\n\r\n"
	}
	_, err = connection.Write([]byte(last))
	return err
}
