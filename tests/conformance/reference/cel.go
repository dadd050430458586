package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/lazy"
)

// expressionQuestion is an expression and what it is evaluated with. Env is "claims" (the default) or "user".
type expressionQuestion struct {
	Expr   string                     `json:"expr"`
	Env    string                     `json:"env,omitempty"`
	Claims map[string]json.RawMessage `json:"claims,omitempty"`
	User   *userInfo                  `json:"user,omitempty"`
}

type userInfo struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra"`
}

// expressionAnswer holds a compile error, or a type with either a value or an evaluation error. StringList is what
// the groups and extra mappings make of the value.
type expressionAnswer struct {
	Expr            string   `json:"expr"`
	Env             string   `json:"env,omitempty"`
	CompileError    string   `json:"compileError,omitempty"`
	OutputType      string   `json:"outputType,omitempty"`
	ExactlyBool     bool     `json:"exactlyBool,omitempty"`
	EvalError       string   `json:"evalError,omitempty"`
	Value           any      `json:"value,omitempty"`
	StringList      []string `json:"stringList,omitempty"`
	StringListError string   `json:"stringListError,omitempty"`
	Cost            *uint64  `json:"cost,omitempty"`
}

var compiler = authenticationcel.NewDefaultCompiler()

func evaluateExpression(question expressionQuestion) (expressionAnswer, error) {
	reply := expressionAnswer{Expr: question.Expr, Env: question.Env}
	name, variable, compile := "claims", newClaimsValue(question.Claims), compiler.CompileClaimsExpression
	switch question.Env {
	case "", "claims":
	case "user":
		info := &user.DefaultInfo{}
		if u := question.User; u != nil {
			*info = user.DefaultInfo{Name: u.Username, UID: u.UID, Groups: u.Groups, Extra: u.Extra}
		}
		name, variable, compile = "user", newUserInfoValue(info), compiler.CompileUserExpression
	default:
		return reply, fmt.Errorf("unknown env %q", question.Env)
	}

	// ExtraMappingExpression accepts every result type, in both environments.
	accessor := &authenticationcel.ExtraMappingExpression{Expression: question.Expr}
	result, err := recovered(func() (authenticationcel.CompilationResult, error) { return compile(accessor) })
	if err != nil {
		reply.CompileError = err.Error()
		return reply, nil
	}
	reply.OutputType = result.AST.OutputType().String()
	reply.ExactlyBool = result.AST.OutputType() == cel.BoolType

	value, details, err := result.Program.ContextEval(context.Background(), &activation{name, variable})
	if details != nil {
		reply.Cost = details.ActualCost()
	}
	if err != nil {
		reply.EvalError = err.Error()
		return reply, nil
	}
	reply.Value = tagged(value)
	list, err := stringList(value)
	if err != nil {
		reply.StringListError = err.Error()
	}
	reply.StringList = list
	return reply, nil
}

// stringList is the mapper's conversion; a value of a type that carries no Go value makes it panic.
func stringList(value ref.Val) ([]string, error) {
	return recovered(func() ([]string, error) { return convertCELValueToStringList(value) })
}

// recovered makes an error of a panic: a few expressions bring upstream's compiler down.
func recovered[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

type activation struct {
	name  string
	value *lazy.MapValue
}

func (a *activation) ResolveName(name string) (any, bool) {
	if name != a.name {
		return nil, false
	}
	return a.value, true
}

func (a *activation) Parent() interpreter.Activation { return nil }
