package main

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"k8s.io/apiserver/pkg/cel/environment"
)

// printSignatures writes one overload a line, functions by name, overloads in the order in which the checker tries
// them:
//
//	NAME OVERLOAD_ID (ARGUMENT, ..) -> RESULT          a global function
//	NAME OVERLOAD_ID TARGET.(ARGUMENT, ..) -> RESULT   a member function
//
// then the macros (`macro NAME:ARGUMENTS:IS_RECEIVER`) and the names of types (`type NAME: TYPE`).
func printSignatures(w io.Writer) error {
	set := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	env, err := set.Env(environment.StoredExpressions)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	defer out.Flush()

	functions := env.Functions()
	names := make([]string, 0, len(functions))
	for name := range functions {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if functions[name].IsDeclarationDisabled() {
			continue
		}
		for _, overload := range functions[name].OverloadDecls() {
			arguments := make([]string, len(overload.ArgTypes()))
			for i, argument := range overload.ArgTypes() {
				arguments[i] = checker.FormatCELType(argument)
			}
			target := ""
			if overload.IsMemberFunction() {
				target, arguments = arguments[0]+".", arguments[1:]
			}
			fmt.Fprintf(out, "%s %s %s(%s) -> %s\n", name, overload.ID(), target, strings.Join(arguments, ", "),
				checker.FormatCELType(overload.ResultType()))
		}
	}
	lines := []string{}
	for _, macro := range env.Macros() {
		lines = append(lines, "macro "+macro.MacroKey())
	}
	for _, name := range typeNames {
		if ident, found := env.CELTypeProvider().FindIdent(name); found {
			lines = append(lines, fmt.Sprintf("type %s: %s", name, checker.FormatCELType(ident.(*types.Type))))
		}
	}
	for _, variable := range env.Variables() {
		lines = append(lines, fmt.Sprintf("variable %s: %s", variable.Name(), checker.FormatCELType(variable.Type())))
	}
	sort.Strings(lines)
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	return nil
}

// The provider resolves names one by one and lists none.
var typeNames = []string{
	"bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "string", "timestamp", "type", "uint",
	"optional_type", "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.Any",
	"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.StringValue",
	"net.IP", "net.CIDR", "kubernetes.URL", "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.NamedFormat",
	"kubernetes.UserInfo", "kubernetes.authorization.Authorizer",
}
