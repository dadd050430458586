//! Logins of machines, without secrets: token exchange (RFC 8693) and client assertions (RFC 7523).

mod common;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{Plugin, World, claims, http::Server, query};
use kube_authn::{
    Rules,
    crypto::{self, Algorithm, SoftwareVerifier},
    jwks::{KeySet, KeySetLimits},
};
use oidc_provider::{ClientConfig, Endpoint};
use serde_json::{Value, json};

/// An issuer that writes down what it is asked at its token endpoint and gives nothing.
struct Listening {
    server: Server,
    forms: Arc<Mutex<Vec<std::collections::BTreeMap<String, String>>>>,
}

impl Listening {
    fn start() -> Self {
        let forms = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&forms);
        let server = Server::start(move |request| {
            let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            if request.starts_with("GET ") {
                let url = |path: &str| format!("http://{host}{path}");
                return json!({"issuer": url(""), "token_endpoint": url("/token"), "jwks_uri": url("/keys")}).to_string();
            }
            let body = request.split_once("\r\n\r\n").unwrap().1;
            seen.lock().unwrap().push(query(&format!("http://x/?{body}")));
            json!({"error": "invalid_grant"}).to_string()
        });
        Self { server, forms }
    }

    /// What a call of the plugin, which gets nothing, was sent with.
    fn form(&self, plugin: Plugin) -> std::collections::BTreeMap<String, String> {
        let issuer = format!("--oidc-issuer-url={}", self.server.url());
        let plugin = plugin.args([
            "get-token",
            "--oidc-client-id=robot",
            "--token-store=none",
            "-v",
            &issuer,
        ]);
        let outcome = plugin.run();
        outcome.fails_with("invalid_grant");
        let form = self.forms.lock().unwrap().pop().unwrap();
        for secret in ["client_assertion", "subject_token", "actor_token"] {
            if let Some(value) = form.get(secret) {
                assert!(
                    !outcome.stderr.contains(value.as_str()),
                    "{secret} is shown: {}",
                    outcome.stderr
                );
            }
        }
        form
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

/// The public key of a private one, as an issuer would have it.
fn key_set(folder: &Path, key: &str, kind: &str) -> KeySet {
    let der = openssl(folder, &["pkey", "-in", key, "-pubout", "-outform", "DER"]);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = if kind == "RS256" {
        let text = openssl(folder, &["rsa", "-in", key, "-noout", "-modulus"]);
        let text = String::from_utf8(text).unwrap();
        let hex = text.trim().strip_prefix("Modulus=").unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        json!({"kty": "RSA", "n": encode(&bytes), "e": "AQAB", "kid": "k1"})
    } else {
        let (curve, width) = if kind == "ES256" { ("P-256", 32) } else { ("P-384", 48) };
        let (x, y) = der[der.len() - 2 * width..].split_at(width);
        json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y), "kid": "k1"})
    };
    KeySet::parse(
        json!({"keys": [jwk]}).to_string().as_bytes(),
        KeySetLimits::default(),
        Rules::default(),
    )
    .unwrap()
}

#[test]
fn a_key_proves_the_client() {
    let world = World::new();
    let listening = Listening::start();
    let folder = world.home.path();
    for (kind, arguments) in [
        (
            "RS256",
            &[
                "genpkey",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-out",
                "key.pem",
            ][..],
        ),
        ("ES256", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"]),
        ("ES384", &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "key.pem"]),
    ] {
        openssl(folder, arguments);
        let keys = key_set(folder, "key.pem", kind);
        let mut seen = Vec::new();
        // Many, for the numbers of a signature that begin with zeros.
        for _ in 0..12 {
            let plugin = world
                .plugin()
                .env("KUBECTL_OIDC_GRANT_TYPE", "client-credentials")
                .env("KUBECTL_OIDC_CLIENT_ASSERTION_KEY_FILE", "key.pem")
                .env("KUBECTL_OIDC_CLIENT_ASSERTION_KEY_ID", "k1");
            let form = listening.form(plugin);
            assert_eq!(
                form["client_assertion_type"],
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
            assert_eq!((form["client_id"].as_str(), form.get("client_secret")), ("robot", None));
            let assertion = &form["client_assertion"];
            let (signed, signature) = assertion.rsplit_once('.').unwrap();
            let header: Value = serde_json::from_slice(
                &URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap(),
            )
            .unwrap();
            assert_eq!(header, json!({"alg": kind, "typ": "JWT", "kid": "k1"}));
            let algorithm: Algorithm = kind.parse().unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let good = keys.candidates("k1").any(|key| {
                crypto::verify(&SoftwareVerifier, algorithm, key, signed.as_bytes(), &signature)
                    .unwrap_or(false)
            });
            assert!(good, "{kind}");
            let said = claims(assertion);
            assert_eq!((&said["iss"], &said["sub"]), (&json!("robot"), &json!("robot")));
            assert_eq!(said["aud"], listening.server.url());
            let lasts = said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap();
            assert!((1..=300).contains(&lasts), "{said}");
            seen.push(said["jti"].as_str().unwrap().to_owned());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 12, "each serves once");
    }
    fs::write(world.path("key.pem"), "none").unwrap();
    let plugin = world.plugin().args([
        "get-token",
        "--oidc-client-id=robot",
        "--grant-type=client-credentials",
        "--client-assertion-key-file=key.pem",
    ]);
    let outcome = plugin.arg(format!("--oidc-issuer-url={}", listening.server.url())).run();
    outcome.fails_with("--client-assertion-key-file wants a private key in PEM form");
}

/// A projected ServiceAccount token in a secret's place: it is read again each time, since the kubelet renews it.
#[test]
fn a_projected_token_proves_the_client() {
    let world = World::new();
    let listening = Listening::start();
    for token in ["header.first.s", "header.second.s"] {
        fs::write(world.path("projected"), format!("{token}\n")).unwrap();
        let plugin = world
            .plugin()
            .env("KUBECTL_OIDC_GRANT_TYPE", "client-credentials")
            .env("KUBECTL_OIDC_CLIENT_ASSERTION_FILE", world.path("projected"));
        let form = listening.form(plugin);
        assert_eq!(form["client_assertion"], token);
        assert_eq!(form["grant_type"], "client_credentials");
        let plugin = world
            .plugin()
            .env("KUBECTL_OIDC_GRANT_TYPE", "client-credentials")
            .env("KUBECTL_OIDC_CLIENT_ASSERTION_ENV", "CI_TOKEN")
            .env("CI_TOKEN", token);
        assert_eq!(listening.form(plugin)["client_assertion"], token);
    }
}

#[test]
fn an_exchange_asks_for_what_the_flags_say() {
    let world = World::new();
    let listening = Listening::start();
    fs::write(world.path("subject"), "the.subject.t\n").unwrap();
    let plugin = world
        .plugin()
        .env("KUBECTL_OIDC_GRANT_TYPE", "token-exchange")
        .env("KUBECTL_OIDC_SUBJECT_TOKEN_FILE", world.path("subject"))
        .env("KUBECTL_OIDC_ACTOR_TOKEN_ENV", "ACTOR")
        .env("ACTOR", "the.actor.t")
        .env("KUBECTL_OIDC_ACTOR_TOKEN_TYPE", "access-token")
        .env("KUBECTL_OIDC_EXCHANGE_AUDIENCE", "kubernetes")
        .env("KUBECTL_OIDC_EXCHANGE_RESOURCE", "https://gateway.example")
        .env("KUBECTL_OIDC_REQUESTED_TOKEN_TYPE", "id-token");
    let form = listening.form(plugin);
    let kind = |name: &str| format!("urn:ietf:params:oauth:token-type:{name}");
    for (name, want) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
        ("subject_token", "the.subject.t".to_owned()),
        ("subject_token_type", kind("jwt")),
        ("actor_token", "the.actor.t".to_owned()),
        ("actor_token_type", kind("access_token")),
        ("audience", "kubernetes".to_owned()),
        ("resource", "https://gateway.example".to_owned()),
        ("requested_token_type", kind("id_token")),
        ("client_id", "robot".to_owned()),
        ("scope", "openid".to_owned()),
    ] {
        assert_eq!(form.get(name), Some(&want), "{name}");
    }
}

/// A world with two clients more: a service whose tokens the cluster takes, and a machine.
fn of_machines() -> World {
    World::with(|issuer| {
        issuer.clients.push(ClientConfig::public("cluster"));
        issuer.clients.push(ClientConfig::confidential("robot", "r0b0t"));
    })
}

#[test]
fn a_token_is_exchanged_for_the_clusters() {
    let world = of_machines();
    let first =
        world.get_token().args(["--username=alice", "--password=secret", "--token-store=none"]);
    let subject = first.run().credential().token;
    fs::write(world.path("subject"), &subject).unwrap();
    let exchange = || {
        world.get_token().args([
            "--grant-type=token-exchange",
            "--subject-token-file=subject",
            "--exchange-audience=cluster",
        ])
    };
    let credential = exchange().run().credential();
    assert_eq!(credential.claims()["aud"], "cluster");
    assert_eq!(credential.claims()["sub"], claims(&subject)["sub"]);
    // Kept, exchanged again when it runs out, and nobody is asked.
    assert_eq!(exchange().run().credential(), credential);
    let again = exchange().arg("--force-refresh").run().credential();
    assert_ne!(again.token, credential.token);
    let whoami = world.plugin().arg("whoami").args(world.flags()).args([
        "--grant-type=token-exchange",
        "--subject-token-file=subject",
        "--exchange-audience=cluster",
    ]);
    assert_eq!(whoami.run().code, Some(0));
    // A confidential client, by its secret.
    let robot = exchange().args([
        "--oidc-client-id=robot",
        "--oidc-client-secret=r0b0t",
        "--token-store=none",
    ]);
    assert_eq!(robot.run().credential().claims()["aud"], "cluster");
    let other =
        world.get_token().args(["--grant-type=token-exchange", "--subject-token-file=subject"]);
    let refused = other.args(["--exchange-audience=nobody", "--token-store=none"]).run();
    refused.fails_with("invalid_target");
    fs::write(world.path("subject"), "of.nobody.x").unwrap();
    exchange().arg("--force-refresh").run().fails_with("the subject_token is unknown or expired");
    fs::remove_file(world.path("subject")).unwrap();
    exchange().arg("--force-refresh").run().fails_with("there is no such file");
}

/// The person logs in as ever, and kubectl gets a token for the cluster.
#[test]
fn the_login_itself_is_exchanged() {
    for kind in ["id-token", "access-token"] {
        let world = of_machines();
        let kind = format!("--subject-token-type={kind}");
        let exchange = || {
            world.get_token().args([
                "--grant-type=token-exchange",
                "--exchange-audience=cluster",
                &kind,
            ])
        };
        let mut running = exchange().env("DISPLAY", ":0").spawn();
        assert_eq!(world.sign_in(&running.login_url()).status, 200);
        let credential = running.finish().credential();
        assert_eq!(credential.claims()["aud"], "cluster");
        let requests = world.issuer.requests(Endpoint::Token);
        let again = exchange().arg("--force-refresh").run();
        assert_ne!(again.credential().token, credential.token);
        assert_eq!(world.issuer.requests(Endpoint::Token), requests + 1, "the login is still good");
    }
}
