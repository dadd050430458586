//! Kubernetes' authorizer library. Expressions about tokens have no authorizer to ask: calls of its functions compile, and find no
//! overload when they run. Source: k8s.io/apiserver, `pkg/cel/library/authz.go`.

use crate::{
    cost,
    function::{
        Code::Authorizer,
        Cost::{ByName, One},
        Row, row,
    },
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("allowed", "decision_allowed", "kubernetes.authorization.Decision.() -> bool", One, Authorizer),
    row("check", "pathcheck_check", "kubernetes.authorization.PathCheck.(string) -> kubernetes.authorization.Decision", ByName(cost::authorization), Authorizer),
    row("check", "resourcecheck_check", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.Decision", ByName(cost::authorization), Authorizer),
    row("error", "decision_error", "kubernetes.authorization.Decision.() -> string", One, Authorizer),
    row("errored", "decision_errored", "kubernetes.authorization.Decision.() -> bool", One, Authorizer),
    row("fieldSelector", "authorizer_fieldselector", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", One, Authorizer),
    row("group", "authorizer_group", "kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.GroupCheck", One, Authorizer),
    row("labelSelector", "authorizer_labelselector", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", One, Authorizer),
    row("name", "resourcecheck_name", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", One, Authorizer),
    row("namespace", "resourcecheck_namespace", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", One, Authorizer),
    row("path", "authorizer_path", "kubernetes.authorization.Authorizer.(string) -> kubernetes.authorization.PathCheck", One, Authorizer),
    row("reason", "decision_reason", "kubernetes.authorization.Decision.() -> string", One, Authorizer),
    row("resource", "groupcheck_resource", "kubernetes.authorization.GroupCheck.(string) -> kubernetes.authorization.ResourceCheck", One, Authorizer),
    row("serviceAccount", "authorizer_serviceaccount", "kubernetes.authorization.Authorizer.(string, string) -> kubernetes.authorization.Authorizer", One, Authorizer),
    row("subresource", "resourcecheck_subresource", "kubernetes.authorization.ResourceCheck.(string) -> kubernetes.authorization.ResourceCheck", One, Authorizer),
];
