package main

import (
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// requestQuestion is a request line's method and target.
type requestQuestion struct {
	Method string `json:"method"`
	Target string `json:"target"`
}

// requestAnswer is what the resolver of kube-apiserver makes of it, or its error.
type requestAnswer struct {
	requestQuestion
	Error       string `json:"error,omitempty"`
	IsResource  bool   `json:"isResource,omitempty"`
	Path        string `json:"path,omitempty"`
	Verb        string `json:"verb,omitempty"`
	APIGroup    string `json:"apiGroup,omitempty"`
	APIVersion  string `json:"apiVersion,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Name        string `json:"name,omitempty"`
}

func resolveRequest(question requestQuestion) (requestAnswer, error) {
	answer := requestAnswer{requestQuestion: question}
	// As net/http reads a request line.
	target, err := url.ParseRequestURI(question.Target)
	if err != nil {
		answer.Error = err.Error()
		return answer, nil
	}
	factory := request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
	info, err := factory.NewRequestInfo(&http.Request{Method: question.Method, URL: target})
	if err != nil {
		answer.Error = err.Error()
		return answer, nil
	}
	answer.IsResource, answer.Path, answer.Verb = info.IsResourceRequest, info.Path, info.Verb
	answer.APIGroup, answer.APIVersion, answer.Namespace = info.APIGroup, info.APIVersion, info.Namespace
	answer.Resource, answer.Subresource, answer.Name = info.Resource, info.Subresource, info.Name
	return answer, nil
}
