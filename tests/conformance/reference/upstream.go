package main

import (
	_ "unsafe" // for go:linkname

	"github.com/google/cel-go/common/types/ref"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/lazy"

	"encoding/json"

	_ "k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// What the authenticator keeps to itself: the values its expressions see, and what becomes of their results. Linked
// by name so that the answers are upstream's own and not a copy's.

//go:linkname newClaimsValue k8s.io/apiserver/plugin/pkg/authenticator/token/oidc.newClaimsValue
func newClaimsValue(claims map[string]json.RawMessage) *lazy.MapValue

//go:linkname newUserInfoValue k8s.io/apiserver/plugin/pkg/authenticator/token/oidc.newUserInfoValue
func newUserInfoValue(info user.Info) *lazy.MapValue

//go:linkname convertCELValueToStringList k8s.io/apiserver/plugin/pkg/authenticator/token/oidc.convertCELValueToStringList
func convertCELValueToStringList(val ref.Val) ([]string, error)

// Makes the verifier of a distributed claim ready before its first use, instead of failing that use.
//
//go:linkname synchronizeTokenIDVerifierForTest k8s.io/apiserver/plugin/pkg/authenticator/token/oidc.synchronizeTokenIDVerifierForTest
var synchronizeTokenIDVerifierForTest bool
