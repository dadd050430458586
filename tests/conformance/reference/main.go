// Command reference answers, line by line, what kube-apiserver itself would say.
//
// Each subcommand reads JSON lines on standard input and writes one JSON line for each on standard output:
//
//	reference cel         CEL expressions through the compiler of structured authentication
//	reference config      AuthenticationConfiguration files through the loader and its validation
//	reference token       ID tokens through the JWT authenticators of a configuration, with given keys and time
//	reference request     methods and targets through the resolver of what a request is about
//	reference signatures  (no input) every function overload the two CEL environments declare
//
// The answers of the first four are kept beside this folder as corpora, which the Rust crates replay. It is built once for each version of
// Kubernetes, with the go.mod of that version's folder; see record.sh.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/klog/v2"
)

func main() {
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	if len(os.Args) != 2 {
		fail("usage: reference cel|config|token|request|signatures < QUESTIONS.jsonl > ANSWERS.jsonl")
	}
	var err error
	switch os.Args[1] {
	case "cel":
		err = answer(evaluateExpression)
	case "config":
		err = answer(loadConfiguration)
	case "token":
		err = answer(authenticateTokens)
	case "request":
		err = answer(resolveRequest)
	case "signatures":
		err = printSignatures(os.Stdout)
	default:
		err = fmt.Errorf("unknown subcommand %q", os.Args[1])
	}
	if err != nil {
		fail(err.Error())
	}
}

// answer reads a question of type Q from each line and writes what f makes of it.
func answer[Q, A any](f func(Q) (A, error)) error {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	decoder := json.NewDecoder(in)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for line := 1; ; line++ {
		var question Q
		if err := decoder.Decode(&question); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("question %d: %w", line, err)
		}
		reply, err := f(question)
		if err != nil {
			return fmt.Errorf("question %d: %w", line, err)
		}
		if err := encoder.Encode(reply); err != nil {
			return err
		}
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, "reference:", message)
	os.Exit(1)
}
