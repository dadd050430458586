//! What the tests of this crate share: inputs, and an Envoy to judge what is made of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use kube_oidc_gateway::{
    ApiServer, ClientImpersonation, Inputs, Issuer, Limits, Rendered, ServingCertificate,
    issuer_clusters,
};

/// A CA as an issuer's file would have it; self-signed, P-256, valid for 100 years. Its key was thrown away.
pub const ISSUER_CA: &str = include_str!("issuer-ca.pem");
/// A certificate chain and a key for listeners; nothing trusts them.
pub const SERVING_CHAIN: &str = include_str!("serving.pem");
/// The key of [`SERVING_CHAIN`].
pub const SERVING_KEY: &str = include_str!("serving.key");

/// Inputs whose every path lies under `root`. Nothing needs to exist there.
pub fn inputs(root: &Path) -> Inputs {
    let issuers = vec![
        Issuer { url: "https://issuer.example".to_owned(), certificate_authority: None },
        Issuer {
            url: "https://keycloak.example:8443/realms/k8s".to_owned(),
            certificate_authority: Some(ISSUER_CA.to_owned()),
        },
    ];
    Inputs {
        directory: root.join("rendered"),
        listen: "127.0.0.1:6443".parse().unwrap(),
        serving: ServingCertificate {
            chain: root.join("serving/tls.crt"),
            key: root.join("serving/tls.key"),
        },
        apiserver: ApiServer {
            host: "10.96.0.1".parse().unwrap(),
            port: 443,
            ca: root.join("serviceaccount/ca.crt"),
            server_name: None,
            token: root.join("serviceaccount/token"),
        },
        plugin_configuration: serde_json::json!({
            "authenticationConfiguration": {"kind": "AuthenticationConfiguration"},
            "issuerClusters": issuer_clusters(&issuers),
        })
        .to_string(),
        issuers,
        system_ca: root.join("ssl/ca-certificates.crt"),
        client_impersonation: ClientImpersonation::Strip,
        own_token: false,
        filter: root.join("filter.wasm"),
        concurrency: Some(2),
        admin_socket: root.join("admin.sock"),
        access_log: "/dev/stdout".into(),
        trusted_hops: 0,
        limits: Limits::default(),
    }
}

/// Makes every file that `inputs` refer to.
pub fn make_files(inputs: &Inputs) {
    for (path, content) in [
        (&inputs.serving.chain, SERVING_CHAIN.as_bytes()),
        (&inputs.serving.key, SERVING_KEY.as_bytes()),
        (&inputs.apiserver.ca, ISSUER_CA.as_bytes()),
        (&inputs.apiserver.token, b"not a token".as_slice()),
        (&inputs.system_ca, ISSUER_CA.as_bytes()),
        (&inputs.filter, &filter()),
    ] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The real filter if `GATEWAY_FILTER` names it, else the least module that Envoy takes for a filter.
fn filter() -> Vec<u8> {
    match env::var_os("GATEWAY_FILTER") {
        Some(path) => fs::read(path).expect("GATEWAY_FILTER"),
        None => wat::parse_str(include_str!("filter.wat")).unwrap(),
    }
}

/// Envoy: `ENVOY_BIN`, else `envoy` in `PATH`. A developer without one skips what needs it; CI never does.
pub fn envoy() -> Option<PathBuf> {
    let named = env::var_os("ENVOY_BIN").map(PathBuf::from);
    let found = named.or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|folder| folder.join("envoy")).find(|file| file.is_file())
    });
    assert!(
        found.is_some() || env::var("CI").as_deref() != Ok("true"),
        "no Envoy: set ENVOY_BIN or put envoy into PATH"
    );
    found
}

/// Runs `envoy --mode validate` on what lies in `directory` and returns its complaints, if it has any.
pub fn validate(envoy: &Path, rendered: &Rendered, directory: &Path) -> Result<(), String> {
    let output = Command::new(envoy)
        .args(rendered.arguments(directory))
        .args(["--mode", "validate", "--log-level", "warning"])
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
