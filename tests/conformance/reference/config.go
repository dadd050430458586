package main

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
)

// configurationQuestion is the content of a file and the service account issuers that the server would have.
type configurationQuestion struct {
	Name                  string   `json:"name,omitempty"`
	Config                string   `json:"config"`
	ServiceAccountIssuers []string `json:"serviceAccountIssuers,omitempty"`
}

// configurationAnswer repeats the question. Load is why the file cannot be decoded; Errors are those of its
// validation, in order; Aggregate is the one text that the server prints for them.
type configurationAnswer struct {
	configurationQuestion
	Load      string   `json:"load,omitempty"`
	Errors    []string `json:"errors,omitempty"`
	Aggregate string   `json:"aggregate,omitempty"`
}

var codecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}()

func loadConfiguration(question configurationQuestion) (configurationAnswer, error) {
	reply := configurationAnswer{configurationQuestion: question}
	configuration, err := decode(question.Config)
	if err != nil {
		reply.Load = err.Error()
		return reply, nil
	}
	errs := validation.ValidateAuthenticationConfiguration(compiler, configuration, question.ServiceAccountIssuers)
	for _, err := range errs {
		reply.Errors = append(reply.Errors, err.Error())
	}
	if err := errs.ToAggregate(); err != nil {
		reply.Aggregate = err.Error()
	}
	return reply, nil
}

// decode follows kube-apiserver's options: empty files first, then the strict decoder of all served versions.
func decode(text string) (*apiserver.AuthenticationConfiguration, error) {
	if len(text) == 0 {
		return nil, fmt.Errorf("empty config data")
	}
	object, err := runtime.Decode(codecs.UniversalDecoder(), []byte(text))
	if err != nil {
		return nil, err
	}
	configuration, ok := object.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("expected AuthenticationConfiguration, got %T", object)
	}
	return configuration, nil
}
