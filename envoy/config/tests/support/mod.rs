//! What the tests of this crate share: inputs, and an Envoy to judge what is made of them.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use clap::{Args, Command, FromArgMatches};
use gateway_config::{
    ApiServer, Candidates, Credential, Documents, FilterForm, Inputs, Limits, NamedCertificate,
    Options, Protocols, Rendered, ServingCertificate, TlsVersion,
    portal::{COOKIE, Endpoints, IDENTIFY, Login, Part},
    traces::{Traces, TracesFlags, Trust},
};
use gateway_core::{
    config::{API_VERSION, CheckedCredential, KIND},
    native::LIBRARY,
};
use gateway_net::{Host, Proxies, range};
use gateway_portal::Settings;
use serde_json::{Value, json};

/// A CA as an issuer's file would have it; self-signed, P-256, valid for 100 years. Its key was thrown away.
pub const ISSUER_CA: &str = include_str!("issuer-ca.pem");

/// The issuers of [`inputs`]: their URLs, with the CA of the second.
pub const ISSUERS: [(&str, Option<&str>); 2] = [
    ("https://issuer.example", None),
    ("https://keycloak.example:8443/realms/k8s", Some(ISSUER_CA)),
];

/// Inputs whose every path lies under `root`. Nothing needs to exist there.
pub fn inputs(root: &Path) -> Inputs {
    Inputs {
        directory: root.join("rendered"),
        options: Options {
            concurrency: Some(2),
            ..Options::new("127.0.0.1:6443".parse().unwrap(), root.join("filter.wasm"))
        },
        serving: ServingCertificate {
            chain: root.join("serving/tls.crt"),
            key: root.join("serving/tls.key"),
        },
        apiserver: ApiServer {
            host: "10.96.0.1".parse().unwrap(),
            port: 443,
            ca: Some(root.join("serviceaccount/ca.crt")),
            server_name: None,
            credential: Credential::Token(root.join("serviceaccount/token")),
        },
        documents: documents(&ISSUERS, &json!({"clientImpersonation": "strip"})),
        leaving: Vec::new(),
        candidates: Candidates::default(),
        system_ca: root.join("ssl/ca-certificates.crt"),
        issuer_certificate: None,
        admin_socket: root.join("admin.sock"),
        access_log: "/dev/stdout".into(),
        portal: None,
    }
}

/// The file with the CA of the API server.
pub fn apiserver_ca(inputs: &Inputs) -> &PathBuf {
    inputs.apiserver.ca.as_ref().expect("inputs with a CA")
}

/// The file with the ServiceAccount token.
pub fn token(inputs: &Inputs) -> &PathBuf {
    match &inputs.apiserver.credential {
        Credential::Token(path) => path,
        Credential::Certificate(pair) => panic!("no token but {pair:?}"),
    }
}

/// Documents with these issuers and, in the `GatewayConfiguration`, these fields.
pub fn documents(issuers: &[(&str, Option<&str>)], gateway: &Value) -> Documents {
    let mut mappings = json!({"username": {"claim": "sub", "prefix": ""}});
    if gateway.get("groupSources").is_some() {
        mappings["groups"] = json!({"claim": "groups", "prefix": ""});
    }
    let jwt = |(url, ca): &(&str, Option<&str>)| {
        json!({
            "issuer": {"url": url, "certificateAuthority": ca.unwrap_or_default(), "audiences": ["kubernetes"]},
            "claimMappings": mappings,
        })
    };
    let authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": issuers.iter().map(jwt).collect::<Vec<_>>(),
    });
    let mut document = json!({"apiVersion": API_VERSION, "kind": KIND});
    document.as_object_mut().unwrap().extend(gateway.as_object().unwrap().clone());
    Documents::from_values(&authentication, Some(document)).unwrap()
}

/// The ways in which gateways differ, by name; the first is [`inputs`].
pub fn variants(root: &Path) -> Vec<(&'static str, Inputs)> {
    let in_cluster = inputs(root);
    let outside = outside(&in_cluster);
    let server_name = Inputs {
        apiserver: ApiServer {
            server_name: Some("kubernetes.default.svc".parse().unwrap()),
            ..in_cluster.apiserver.clone()
        },
        documents: documents(&ISSUERS, &json!({"clientImpersonation": "reject"})),
        ..in_cluster.clone()
    };
    let authorize =
        Inputs { documents: documents(&ISSUERS, &authorize_own_token()), ..in_cluster.clone() };
    let told =
        Inputs { documents: documents(&ISSUERS, &protected_resource()), ..in_cluster.clone() };
    let pair = |name: &str| ServingCertificate {
        chain: root.join(name).join("tls.crt"),
        key: root.join(name).join("tls.key"),
    };
    let certificates = Inputs {
        options: Options {
            protocols: Protocols {
                minimum: TlsVersion::V1_3,
                cipher_suites: vec!["ECDHE-RSA-AES128-GCM-SHA256".to_owned()],
                curves: vec!["X25519".to_owned(), "P-256".to_owned()],
                http2: false,
                certificates: vec![NamedCertificate {
                    certificate: pair("serving-a"),
                    names: vec!["a.example".to_owned(), "*.b.example".to_owned()],
                }],
            },
            request_timeout: Some(Duration::from_secs(30)),
            ..authorize.options.clone()
        },
        apiserver: ApiServer {
            ca: None,
            credential: Credential::Certificate(pair("client")),
            ..in_cluster.apiserver.clone()
        },
        issuer_certificate: Some(pair("issuer-client")),
        ..authorize.clone()
    };
    let [proxied, forwarded] = proxied(&in_cluster);
    let with_portal = Inputs {
        portal: Some(portal(root)),
        options: Options {
            proxy_protocol: proxied.options.proxy_protocol.clone(),
            ..in_cluster.options.clone()
        },
        ..in_cluster.clone()
    };
    let native = Inputs {
        options: Options {
            form: FilterForm::Native,
            filter: root.join(LIBRARY),
            ..in_cluster.options.clone()
        },
        portal: Some(portal(root)),
        ..authorize.clone()
    };
    let [traced, traced_plainly] = traced(root, &in_cluster, &proxied);
    let access = access(&in_cluster);
    vec![
        ("in-cluster", in_cluster),
        ("outside", outside),
        ("server-name-reject", server_name),
        ("authorize-own-token", authorize),
        ("certificates", certificates),
        ("proxies", proxied),
        ("proxy-forwarded", forwarded),
        ("portal", with_portal),
        ("traces", traced),
        ("traces-http", traced_plainly),
        ("protected-resource", told),
        ("access", access),
        ("native", native),
        (
            "group-sources",
            Inputs {
                documents: documents(&ISSUERS, &group_sources(root))
                    .with_tokens_in(&root.join("tokens")),
                ..inputs(root)
            },
        ),
        (
            "introspection",
            Inputs { documents: documents(&ISSUERS, &introspection(root)), ..inputs(root) },
        ),
    ]
}

/// Issuers that are asked about tokens, one with a name and a password and one with a token.
pub fn introspection(root: &Path) -> Value {
    let file = |name: &str| root.join(name).display().to_string();
    json!({"introspection": [
        {
            "name": "main", "issuer": "https://issuer.example", "endpoint": "https://issuer.example/oauth2/introspect",
            "credential": {"basicFile": file("main/basic")},
        },
        {
            "name": "keycloak", "issuer": ISSUERS[1].0, "tokens": "jwt",
            "endpoint": "https://keycloak.example:8443/realms/k8s/protocol/openid-connect/token/introspect",
            "credential": {"bearerTokenFile": file("keycloak/token")},
        },
    ]})
}

/// Sources of groups, each with another credential.
pub fn group_sources(root: &Path) -> Value {
    let file = |name: &str| root.join(name).display().to_string();
    let entra = "https://issuer.example";
    let keycloak = ISSUERS[1].0;
    json!({"groupSources": [
        {
            "name": "entra", "issuer": entra, "provider": "entra", "when": "Overflow",
            "credential": {"oauth2": {
                "tokenEndpoint": "https://login.example/token", "clientID": "gateway",
                "clientSecretFile": file("entra/secret"), "scopes": ["https://graph.microsoft.com/.default"],
                "secretInBody": true,
            }},
        },
        {
            "name": "directory", "issuer": entra, "url": "https://192.0.2.7:8443/api", "certificateAuthority": ISSUER_CA,
            "path": "/groups/${claims.sub}", "groups": "answer.groups",
            "credential": {"clientCertificate": {
                "certificateFile": file("directory/tls.crt"), "keyFile": file("directory/tls.key"),
            }},
        },
        {
            "name": "keycloak", "issuer": keycloak, "provider": "keycloak", "url": "https://keycloak.example:8443",
            "credential": {"bearerTokenFile": file("keycloak/token")},
        },
        {
            "name": "userinfo", "issuer": keycloak, "provider": "userinfo", "url": "https://keycloak.example:8443",
            "path": "/realms/k8s/protocol/openid-connect/userinfo",
        },
        {
            "name": "okta", "issuer": keycloak, "provider": "okta", "url": "https://okta.example",
            "credential": {"assertion": {
                "tokenEndpoint": "https://okta.example/oauth2/v1/token", "clientID": "gateway",
                "keyFile": "/keys/okta.pem", "scopes": ["okta.groups.read"],
            }},
        },
    ]})
}

/// A gateway outside of its cluster, which has no issuer.
fn outside(in_cluster: &Inputs) -> Inputs {
    Inputs {
        apiserver: ApiServer {
            host: "k8s.example".parse().unwrap(),
            port: 6443,
            ..in_cluster.apiserver.clone()
        },
        documents: documents(&[], &json!({})),
        options: Options {
            listen: "[::]:443".parse().unwrap(),
            concurrency: None,
            audit_lines: true,
            trusted_hops: 1,
            limits: Limits {
                heap_bytes: Some(512 << 20),
                connection_duration: Duration::from_hours(1),
                ..Limits::default()
            },
            ..in_cluster.options.clone()
        },
        ..in_cluster.clone()
    }
}

/// A gateway that follows who has no access any more, and to which issuers say who has logged out.
fn access(in_cluster: &Inputs) -> Inputs {
    let logout = json!({"clientImpersonation": "strip", "logout": {"path": "/oidc/logout"}});
    Inputs {
        documents: documents(&ISSUERS, &logout),
        options: Options { access: true, takes_logouts: true, ..in_cluster.options.clone() },
        ..in_cluster.clone()
    }
}

/// Gateways behind proxies: of the clients and of the issuers, and one towards the issuers that asks for a password.
fn proxied(in_cluster: &Inputs) -> [Inputs; 2] {
    let proxies = Proxies::read(|name| {
        (name == "HTTPS_PROXY").then(|| "http://proxy.example:3128".to_owned())
    });
    let proxied = Inputs {
        documents: in_cluster.documents.clone().through(&proxies).unwrap(),
        options: Options {
            trusted_proxies: ["10.0.0.0/8", "fd00::1"].map(|text| range(text).unwrap()).into(),
            proxy_protocol: ["192.0.2.0/24", "2001:db8::7"].map(|text| range(text).unwrap()).into(),
            ..in_cluster.options.clone()
        },
        ..in_cluster.clone()
    };
    let guarded = Proxies::read(|name| {
        (name == "HTTPS_PROXY").then(|| "socks5://user:password@proxy.example".to_owned())
    });
    let forwarded = Inputs {
        documents: in_cluster.documents.clone().through(&guarded).unwrap(),
        ..in_cluster.clone()
    };
    [proxied, forwarded]
}

/// Gateways with traces: to a collector that is known and asks who comes, and to one that does neither.
fn traced(root: &Path, in_cluster: &Inputs, proxied: &Inputs) -> [Inputs; 2] {
    let traced = Inputs {
        options: Options {
            traces: Some(traces(&[
                "--tracing-endpoint=https://otel.example:4317",
                &format!("--tracing-ca-file={}", root.join("collector/ca.crt").display()),
                &format!("--tracing-token-file={}", root.join("collector-token/token").display()),
                "--tracing-user",
            ])),
            ..in_cluster.options.clone()
        },
        ..in_cluster.clone()
    };
    let traced_plainly = Inputs {
        options: Options {
            traces: Some(traces(&[
                "--tracing-endpoint=http://10.0.0.7:4318",
                "--tracing-protocol=http",
                "--tracing-sampling-percent=100",
                "--tracing-trust-clients",
            ])),
            ..proxied.options.clone()
        },
        ..proxied.clone()
    };
    [traced, traced_plainly]
}

/// What flags say of traces.
pub fn traces(flags: &[&str]) -> Traces {
    let command = TracesFlags::augment_args(Command::new("a").no_binary_name(true));
    let flags = TracesFlags::from_arg_matches(&command.get_matches_from(flags)).unwrap();
    flags.traces().unwrap().unwrap()
}

/// A `GatewayConfiguration`'s fields for a gateway that asks kube-apiserver whatever it can be asked.
pub fn authorize_own_token() -> Value {
    json!({"clientImpersonation": "authorize", "tokenReview": {"enabled": true}})
}

/// A `GatewayConfiguration`'s fields for a gateway that tells strangers where to log in.
pub fn protected_resource() -> Value {
    let clients =
        json!([{"issuer": ISSUERS[1].0, "clientID": "a\"b: %REQ(x)% #", "scopes": ["groups"]}]);
    let told =
        json!({"url": "https://gateway.example:8443", "clusterName": "prod", "clients": clients});
    json!({"clientImpersonation": "strip", "protectedResource": told})
}

/// A portal beside the gateway with all that it can have.
pub fn portal(root: &Path) -> Part {
    let settings = json!({
        "audience": "github.com/planetlabs/kubehook",
        "userHeader": "x-forwarded-user",
        "groupHeader": "x-forwarded-groups",
        "groupHeaderDelimiter": ";",
        "maxLifetimeSeconds": 3600,
        "tokensPerSecond": 5,
        "trust": {"clientCertificate": true, "networks": [], "anybody": false},
        "identify": {"cluster": IDENTIFY, "cookie": COOKIE},
    });
    Part {
        host: match "portal.example".parse() {
            Ok(Host::Dns(name)) => Some(name),
            _ => None,
        },
        serving: Some(ServingCertificate {
            chain: root.join("portal/tls.crt"),
            key: root.join("portal/tls.key"),
        }),
        client_ca: Some(root.join("portal/client-ca.crt")),
        client_subject: Some("proxy.example".to_owned()),
        settings: Settings::parse(settings.to_string().as_bytes()).unwrap(),
        login: Some(Login {
            url: "https://portal.example".to_owned(),
            client_id: "portal".to_owned(),
            client_secret: root.join("portal/client-secret"),
            cookie_secret: root.join("portal/cookie-secret"),
            scopes: vec!["openid".to_owned()],
            issuer: "https://issuer.example".to_owned(),
            endpoints: Endpoints {
                authorization_endpoint: "https://issuer.example/authorize".to_owned(),
                token_endpoint: "https://issuer.example/token".to_owned(),
                end_session_endpoint: None,
                token_endpoint_auth_methods_supported: Vec::new(),
            },
            user_header: Some("x-forwarded-user".to_owned()),
        }),
        filter: root.join("filter.wasm"),
        access_log: "/dev/stdout".into(),
    }
}

/// Makes every file that `inputs` refer to; the filter is the least one.
pub fn make_files(inputs: &Inputs) {
    let serving = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (serving.cert.pem(), serving.signing_key.serialize_pem());
    let mut pairs = vec![&inputs.serving];
    pairs.extend(inputs.options.protocols.certificates.iter().map(|named| &named.certificate));
    pairs.extend(&inputs.issuer_certificate);
    pairs.extend(inputs.portal.iter().filter_map(|portal| portal.serving.as_ref()));
    let wasm = least_filter();
    let filter = match inputs.options.form {
        FilterForm::Wasm => wasm.clone(),
        FilterForm::Native => least_module(),
    };
    let mut files = vec![(&inputs.system_ca, ISSUER_CA.as_bytes())];
    let connections = inputs.options.connections_filter();
    files.push((&inputs.options.filter, filter.as_slice()));
    if inputs.options.form == FilterForm::Wasm {
        files.push((&connections, wasm.as_slice()));
    }
    files.extend(inputs.apiserver.ca.iter().map(|path| (path, ISSUER_CA.as_bytes())));
    match &inputs.apiserver.credential {
        Credential::Token(path) => files.push((path, b"not a token")),
        Credential::Certificate(pair) => pairs.push(pair),
    }
    for pair in pairs {
        files.extend([(&pair.chain, chain.as_bytes()), (&pair.key, key.as_bytes())]);
    }
    if let Some(traces) = &inputs.options.traces {
        if let Some(Trust::File(path)) = &traces.collector.tls {
            files.push((path, ISSUER_CA.as_bytes()));
        }
        files.extend(traces.collector.token.iter().map(|it| (&it.file, &b"not a token"[..])));
    }
    if let Some(portal) = &inputs.portal {
        files.push((&portal.filter, &wasm));
        files.extend(portal.client_ca.iter().map(|path| (path, ISSUER_CA.as_bytes())));
        if let Some(login) = &portal.login {
            files.extend(
                [&login.client_secret, &login.cookie_secret].map(|it| (it, &b"secret"[..])),
            );
        }
    }
    let secrets = inputs.documents.callouts().iter().flat_map(|callout| {
        match callout.credential.given() {
            CheckedCredential::OAuth2(it) => vec![(it.client_secret_file.as_str(), "secret")],
            CheckedCredential::Bearer(file) | CheckedCredential::Basic(file) => {
                vec![(file, "secret")]
            }
            CheckedCredential::Certificate(it) => {
                vec![
                    (it.certificate_file.as_str(), chain.as_str()),
                    (it.key_file.as_str(), key.as_str()),
                ]
            }
            CheckedCredential::Assertion(_) => {
                let file = callout.token_file.as_deref().and_then(Path::to_str);
                vec![(file.expect("a token's file"), "token")]
            }
            CheckedCredential::None => Vec::new(),
        }
        .into_iter()
        .map(|(path, text)| (PathBuf::from(path), text))
        .collect::<Vec<_>>()
    });
    let secrets: Vec<_> = secrets.collect();
    files.extend(secrets.iter().map(|(path, text)| (path, text.as_bytes())));
    for (path, content) in files {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The real filter if `GATEWAY_FILTER` names it, else the least module that Envoy takes for a filter.
pub fn filter() -> Vec<u8> {
    match env::var_os("GATEWAY_FILTER") {
        Some(path) => fs::read(path).expect("GATEWAY_FILTER"),
        None => least_filter(),
    }
}

/// The least module that Envoy takes for a filter.
pub fn least_filter() -> Vec<u8> {
    wat::parse_str(include_str!("filter.wat")).unwrap()
}

/// The least native module that Envoy takes for a filter, compiled by the machine's C compiler.
pub fn least_module() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("module.c"), folder.path().join(LIBRARY));
    fs::write(&source, include_str!("module.c")).unwrap();
    let mut compiler = process::Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    let status = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(status.expect("a C compiler: cc, or the one in CC").success());
    fs::read(library).unwrap()
}

/// Envoy: `ENVOY_BIN`, else `envoy` in `PATH`. Without one the test fails: it would say nothing.
pub fn envoy() -> PathBuf {
    let in_path = || {
        env::split_paths(&env::var_os("PATH")?)
            .map(|folder| folder.join("envoy"))
            .find(|file| file.is_file())
    };
    let named = env::var_os("ENVOY_BIN").map(PathBuf::from);
    named.or_else(in_path).expect("no Envoy: set ENVOY_BIN or put envoy into PATH")
}

/// A rendered file as a value.
pub fn parsed(rendered: &Rendered, name: &str) -> Value {
    let file = rendered.files().iter().find(|file| file.name == name);
    let text = &file.unwrap_or_else(|| panic!("no {name}")).text;
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}
