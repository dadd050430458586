package main

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"
)

// Answer is a manner of answering. Empty, it is 200 with the document, application/json and a Content-Length.
type Answer struct {
	Status int `json:"status"`
	// NoReason leaves the reason phrase out, and the blank before it.
	NoReason bool `json:"no_reason"`
	// Version is the answer's HTTP version, 1.1 if absent. HTTP/2 has none.
	Version string `json:"version"`
	// ContentType is none at all if empty.
	ContentType *string `json:"content_type"`
	// Headers come after the Content-Type; their values may hold what no library sends.
	Headers [][2]string `json:"headers"`
	// ManyHeaders are so many headers of LongHeaders bytes each.
	ManyHeaders int `json:"many_headers"`
	LongHeaders int `json:"long_headers"`
	// Interim are statuses that are sent before.
	Interim []int `json:"interim"`
	// Encoding is gzip, deflate, br or a word that is sent with the plain document.
	Encoding string `json:"encoding"`
	// IfAsked has Encoding only if the client asks for it.
	IfAsked bool `json:"if_asked"`
	// Accept is a media type: 406 if the client says that it takes others only.
	Accept string `json:"accept"`
	// Body is a template in place of the document: $ISSUER, $JWKS_URI, $KEYS, $OTHERS; $KEY_KID, $KEY_N and $KEY_E are members of
	// the RSA key that signs.
	Body string `json:"body"`
	// Others is how many keys $OTHERS stands for.
	Others int `json:"others"`
	// Latin1 sends each character of the body as one byte.
	Latin1 bool `json:"latin1"`
	// Blanks is how many blanks there are before the document.
	Blanks int `json:"blanks"`
	// Framing of HTTP/1: length, chunked, trailers (chunked with some), or close (none, and the connection's end is the end).
	Framing string `json:"framing"`
	// Newline ends a line of the head, CR LF if absent.
	Newline string `json:"newline"`
	// To is where a redirect leads.
	To string `json:"to"`
	// DelayMs is how long nothing is sent; SpreadMs over how long the document is, byte by byte.
	DelayMs  int `json:"delay_ms"`
	SpreadMs int `json:"spread_ms"`
	// Cut is after how many bytes of the document the connection is cut.
	Cut int `json:"cut"`
	// End is what becomes of the connection: keep, close (after the answer, without saying so before), drop (likewise, without
	// TLS's own goodbye), or reset (in place of an answer).
	End string `json:"end"`
	// First are the answers that a client gets before this one.
	First []Answer `json:"first"`
}

// reply is an answer to one request.
type reply struct {
	answer *Answer
	body   string
}

func (a *Answer) reply(issuer *Issuer, which string, r *received) *reply {
	answer := *a
	if to := answer.To; to != "" {
		answer.Headers = append([][2]string{{"location", issuer.fill(to, which)}}, answer.Headers...)
	}
	if answer.Accept != "" && !r.accepts(answer.Accept) {
		return &reply{&Answer{Status: 406}, "not acceptable\n"}
	}
	body := issuer.documents[which]
	if answer.Body != "" {
		body = issuer.fill(answer.Body, which)
	}
	body = strings.Repeat(" ", answer.Blanks) + body
	if answer.Latin1 {
		raw := []byte{}
		for _, character := range body {
			raw = append(raw, byte(character))
		}
		body = string(raw)
	}
	if answer.IfAsked && !strings.Contains(r.acceptEncoding, answer.Encoding) {
		answer.Encoding = ""
	}
	if answer.Encoding != "" {
		body = encode(answer.Encoding, body)
	}
	return &reply{&answer, body}
}

func encode(encoding, body string) string {
	var out bytes.Buffer
	switch encoding {
	case "gzip", "x-gzip":
		writer := gzip.NewWriter(&out)
		_, _ = writer.Write([]byte(body))
		_ = writer.Close()
	case "deflate":
		writer := zlib.NewWriter(&out)
		_, _ = writer.Write([]byte(body))
		_ = writer.Close()
	case "br":
		// RFC 7932, section 9: a window of 16 bits, one meta-block of up to 64 KiB without compression, and an empty last one.
		var head [4]byte
		binary.LittleEndian.PutUint32(head[:], uint32(len(body)-1)<<4|1<<20)
		out.Write(head[:3])
		out.WriteString(body)
		out.WriteByte(3)
	default:
		out.WriteString(body)
	}
	return out.String()
}

// headers are all but those of the framing.
func (r *reply) headers() [][2]string {
	a := r.answer
	headers := [][2]string{}
	if a.ContentType == nil {
		headers = append(headers, [2]string{"content-type", "application/json"})
	} else if *a.ContentType != "" {
		headers = append(headers, [2]string{"content-type", *a.ContentType})
	}
	if a.Encoding != "" {
		headers = append(headers, [2]string{"content-encoding", a.Encoding})
	}
	headers = append(headers, a.Headers...)
	for n := range a.ManyHeaders {
		name := "x-header-" + string(rune('a'+n/26/26%26)) + string(rune('a'+n/26%26)) + string(rune('a'+n%26))
		headers = append(headers, [2]string{name, strings.Repeat("x", a.LongHeaders)})
	}
	return headers
}

func (r *reply) status() int {
	if r.answer.Status == 0 {
		return 200
	}
	return r.answer.Status
}

// hasBody is whether this status has a body (RFC 9110, section 6.4.1).
func (r *reply) hasBody() bool {
	return r.status() != 204 && r.status() != 304
}

func (r *reply) wait() {
	time.Sleep(time.Duration(r.answer.DelayMs) * time.Millisecond)
}

// spread sends the document byte by byte.
func (r *reply) spread(body []byte, send func([]byte) error) error {
	if r.answer.SpreadMs == 0 || len(body) == 0 {
		return send(body)
	}
	start := time.Now()
	whole := time.Duration(r.answer.SpreadMs) * time.Millisecond
	for n := range body {
		time.Sleep(time.Until(start.Add(whole * time.Duration(n) / time.Duration(len(body)))))
		if err := send(body[n : n+1]); err != nil {
			return err
		}
	}
	return nil
}

// received is a request.
type received struct {
	path, target, agent, acceptEncoding string
	accept                              []string
	protocol, version, group            string
}

func (r *received) accepts(wanted string) bool {
	if len(r.accept) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(wanted, "/")
	for _, item := range strings.Split(strings.Join(r.accept, ","), ",") {
		item, _, _ = strings.Cut(item, ";")
		item = strings.TrimSpace(item)
		if item == wanted || item == kind+"/*" || item == "*/*" {
			return true
		}
	}
	return false
}

// counted is a map for many goroutines.
type counted[T any] struct {
	mutex sync.Mutex
	known map[string]T
}

func (c *counted[T]) set(name string, value T) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.known == nil {
		c.known = map[string]T{}
	}
	c.known[name] = value
}

func (c *counted[T]) get(name string) (T, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	value, known := c.known[name]
	return value, known
}

// counts counts by name, from 0.
type counts struct {
	mutex sync.Mutex
	known map[string]int
}

func (c *counts) next(name string) int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.known == nil {
		c.known = map[string]int{}
	}
	c.known[name]++
	return c.known[name] - 1
}

// requestLog has a line for each request.
type requestLog struct {
	mutex sync.Mutex
	file  *os.File
}

// Request is a line of the log.
type Request struct {
	Issuer   string `json:"issuer"`
	Endpoint string `json:"endpoint"`
	Target   string `json:"target"`
	Agent    string `json:"agent"`
	Protocol string `json:"protocol"`
	TLS      string `json:"tls"`
	Group    string `json:"group"`
}

func (l *requestLog) add(issuer, endpoint string, r *received) {
	line, err := json.Marshal(Request{issuer, endpoint, r.target, r.agent, r.protocol, r.version, r.group})
	if err != nil {
		panic(err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	_, _ = l.file.Write(append(line, '\n'))
}
