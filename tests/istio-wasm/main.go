// Fetches a Wasm module as the agent beside Istio's proxy does, by the agent's own package, and prints the file's path:
//
//	istio-wasm URL FOLDER
//
// URL is what a WasmPlugin has (oci://…, https://…). The agent itself needs istiod, and does nothing else with a module.
package main

import (
	"fmt"
	"os"
	"time"

	"istio.io/istio/pkg/wasm"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: istio-wasm URL FOLDER")
		os.Exit(2)
	}
	cache := wasm.NewLocalFileCache(os.Args[2], wasm.Options{})
	path, err := cache.Get(os.Args[1], wasm.GetOptions{RequestTimeout: time.Minute})
	if err != nil {
		fmt.Fprintln(os.Stderr, "istio-wasm:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
