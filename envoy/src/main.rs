//! The program: see `kube-oidc-gateway --help`.

fn main() {}
