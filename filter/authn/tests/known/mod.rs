//! Where an answer differs from kube-apiserver's, and why.

const UNDEFINED_TYPE: &str = "refused in both, here by the checker already: the name of a type that upstream knows and cannot use";
const MESSAGE: &str = "refused here at load, while upstream refuses it at each evaluation";

/// Expressions and reasons.
#[allow(dead_code, reason = "each test uses its own table")]
pub const DIFFERENCES: &[(&str, &str)] = &[
    ("timestamp", UNDEFINED_TYPE),
    ("duration", UNDEFINED_TYPE),
    ("google.protobuf.Any", UNDEFINED_TYPE),
    ("google.protobuf.Struct", UNDEFINED_TYPE),
    ("kubernetes.UserInfo{username: 'x'}", MESSAGE),
    ("kubernetes.UserInfo{}", MESSAGE),
];

/// Configuration files and reasons.
#[allow(dead_code, reason = "each test uses its own table")]
pub const CONFIGURATIONS: &[(&str, &str)] = &[];
