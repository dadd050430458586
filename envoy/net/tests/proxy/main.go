// What Go's client does by HTTPS_PROXY and NO_PROXY (golang.org/x/net/http/httpproxy), as a table: the answers of tests/proxy.rs.
//
//	go run . >answers.json
package main

import (
	"encoding/json"
	"net/url"
	"os"

	"golang.org/x/net/http/httpproxy"
)

func main() {
	const proxy = "http://proxy.example:3128"
	directs := []string{
		"", "*", " * ", "a.example,*", "*,a.example", "issuer.example", "ISSUER.example", " issuer.example ", ".issuer.example",
		"*.issuer.example", "*issuer.example", "*.example", "example", ".example", "issuer.example:443", "issuer.example:8443",
		".issuer.example:8443", "*.issuer.example:8443", "issuer.example:", "issuer.example:https", ":443", ".", "*.", ",, ",
		"10.0.0.0/8", "10.1.2.3/8", "10.0.0.0/33", "10.1.2.3", "10.1.2.3:443", "10.1.2.3:8443", "10.1.2", "010.1.2.3", "0.0.0.0/0", "::/0",
		"fd00::1", "[fd00::1]", "[fd00::1]:443", "[fd00::1]:8443", "fd00::/8", "FD00::1", "::ffff:10.1.2.3", "localhost", "127.0.0.1",
		"bücher.example", "xn--bcher-kva.example", "issuer.example.", "a:b:c", "issuer.example/path", "https://issuer.example",
	}
	urls := []string{
		"https://issuer.example", "https://issuer.example:443/realms/a", "https://issuer.example:8443", "https://a.issuer.example",
		"https://a.b.issuer.example:8443", "https://myissuer.example", "https://ISSUER.example", "https://10.1.2.3", "https://10.1.2.3:8443",
		"https://11.1.2.3", "https://[fd00::1]", "https://[fd00::1]:8443", "https://[fe80::1]", "https://[::ffff:10.1.2.3]", "https://localhost",
		"https://localhost:8443", "https://LOCALHOST", "https://localhost.example", "https://127.0.0.1", "https://127.9.9.9:8443",
		"https://[::1]", "https://0.0.0.0", "https://xn--bcher-kva.example", "https://issuer.example.",
	}
	ask := func(proxy, direct, text string) string {
		parsed, err := url.Parse(text)
		if err != nil {
			panic(err)
		}
		config := httpproxy.Config{HTTPSProxy: proxy, NoProxy: direct}
		by, err := config.ProxyFunc()(parsed)
		if err != nil {
			panic(err)
		}
		if by == nil {
			return ""
		}
		return by.String()
	}
	// For each NO_PROXY the URLs that are behind the proxy.
	behind := map[string][]string{}
	for _, direct := range directs {
		behind[direct] = []string{}
		for _, text := range urls {
			if ask(proxy, direct, text) != "" {
				behind[direct] = append(behind[direct], text)
			}
		}
	}
	// For each HTTPS_PROXY what it is read as.
	read := map[string]string{}
	for _, proxy := range []string{
		"proxy.example:3128", "proxy.example", "http://proxy.example", "https://proxy.example", "https://proxy.example:8443/",
		"socks5://proxy.example", "socks5h://proxy.example:1081", "http://user:secret@proxy.example:3128", "user:secret@proxy.example:3128",
		"http://us%40er:se%3Acret@proxy.example", "http://user@proxy.example", "socks5://user:secret@proxy.example", "ftp://proxy.example",
		"http://[fd00::1]:3128", "10.0.0.1:3128", "HTTP://proxy.example", "http://", "", " http://proxy.example",
	} {
		read[proxy] = ask(proxy, "", "https://issuer.example")
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(map[string]any{"urls": urls, "behind": behind, "read": read}); err != nil {
		panic(err)
	}
}
