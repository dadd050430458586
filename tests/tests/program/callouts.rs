//! Servers that Envoy shows a credential: who sees it, and who does not.

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use oidc_provider::{AccessTokenFormat, ClientConfig, Endpoint};
use sandbox::{Authority, realm};
use serde_json::json;

use crate::harness::{Rig, Setup, until};

const CLIENT: &str = "gateway";
const SECRET: &str = "the-client-secret-of-the-gateway";
const BEARER: &str = "a-bearer-token-that-something-beside-writes";

/// All files below a folder.
pub fn files_below(folder: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, into);
        } else if let Ok(bytes) = fs::read(&path) {
            into.insert(path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// What Linux says of a process to its own user.
fn of_process(process: u32) -> [(String, String); 2] {
    ["environ", "cmdline"].map(|name| {
        let path = format!("/proc/{process}/{name}");
        let bytes = fs::read(&path).unwrap();
        (path, String::from_utf8_lossy(&bytes).into_owned())
    })
}

/// All that Envoy, the program and Linux show of the two.
pub fn shown(rig: &Rig) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for path in [
        "/config_dump?include_eds",
        "/stats",
        "/stats/prometheus",
        "/clusters",
        "/listeners",
        "/certs",
        "/server_info",
        "/runtime",
        "/init_dump",
    ] {
        texts.insert(format!("Envoy's {path}"), rig.envoy_admin(path));
    }
    for path in ["/metrics", "/readyz?verbose"] {
        texts.insert(format!("the program's {path}"), rig.probe().get(path).unwrap().body);
    }
    texts.insert("the log".to_owned(), rig.log());
    texts.extend(of_process(rig.envoy()));
    texts.extend(of_process(rig.program.id()));
    for (what, text) in &texts {
        assert!(!text.is_empty(), "{what}");
    }
    texts
}

/// Group sources with each kind of credential, and an introspection endpoint: each secret is in its file, on its way to its server, and
/// nowhere else.
#[test]
fn no_secret_for_another_server_is_shown_to_anybody_else() {
    let authority = Authority::new("directory clients").unwrap();
    let pair = authority.server(&[]).unwrap();
    let user_client = ClientConfig {
        access_tokens: AccessTokenFormat::Opaque,
        default_scopes: ["openid", "profile", "groups"].map(str::to_owned).to_vec(),
        ..ClientConfig::public("apps")
    };
    let basic = STANDARD.encode(format!("{CLIENT}:{SECRET}"));
    let setup = Setup {
        chart: false,
        clients: vec![ClientConfig::confidential(CLIENT, SECRET), user_client],
        ..Setup::default()
    };
    let rig = Rig::ready(&setup, |files| {
        let folder = files.config.with_extension("secrets");
        fs::create_dir(&folder).unwrap();
        let file = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            folder.join(name)
        };
        let at = |endpoint: Endpoint| format!("{}{}", files.issuer, endpoint.path());
        let source = |name: &str, when: &str, credential| {
            json!({
                "name": name, "issuer": files.issuer, "provider": "okta", "when": when,
                "url": at(Endpoint::Directory), "credential": credential,
            })
        };
        let mut gateway = realm::configuration();
        gateway["groupSources"] = json!([
            source(
                "client",
                "ClaimAbsent",
                json!({"oauth2": {
                    "tokenEndpoint": at(Endpoint::Token), "clientID": CLIENT, "secretInBody": true,
                    "clientSecretFile": file("secret", SECRET),
                }})
            ),
            source("bearer", "Overflow", json!({"bearerTokenFile": file("bearer", BEARER)})),
            source("basic", "Overflow", json!({"basicFile": file("directory-basic", &basic)})),
            source(
                "certificate",
                "Overflow",
                json!({"clientCertificate": {
                    "certificateFile": file("tls.crt", &pair.certificate),
                    "keyFile": file("tls.key", &pair.key),
                }})
            ),
        ]);
        gateway["introspection"] = json!([{
            "name": "opaque", "issuer": files.issuer, "endpoint": at(Endpoint::Introspection),
            "credential": {"basicFile": file("basic", &basic)},
        }]);
        let path = files.config.with_extension("gateway.json");
        fs::write(&path, gateway.to_string()).unwrap();
        vec![
            format!("--authentication-config={}/authentication.yaml", files.config.display()),
            format!("--gateway-config={}", path.display()),
        ]
    });
    let issuer = rig.issuer();
    let jwt = rig.token().without("groups").expires_in(600).mint();
    let opaque = issuer.log_in("k8s-user1", "apps", "").unwrap().access_token;
    // Both are asked: the directory as the client, and the endpoint with the password.
    until("the directory is asked", || {
        let output = rig.kubectl(&*jwt).run(["get", "namespaces"]).unwrap();
        if output.success() { Ok(()) } else { Err(output.stderr) }
    });
    assert!(issuer.requests(Endpoint::Directory) > 0);
    // Its audience is another's, which the answer says: it is refused with what the issuer said of it known.
    let refused = rig.kubectl(&*opaque).run(["get", "namespaces"]).unwrap();
    assert!(!refused.success() && issuer.requests(Endpoint::Introspection) > 0, "{refused:?}");

    let texts = shown(&rig);
    assert!(texts["Envoy's /config_dump?include_eds"].contains("callout_groups_bearer"));
    let key = pair.key.lines().nth(1).unwrap();
    let asked = [SECRET, BEARER, &basic, key];
    let clients = [&*jwt, jwt.rsplit('.').next().unwrap(), &opaque];
    let own =
        fs::read_to_string(rig.run_directory().with_file_name("account").join("token")).unwrap();
    let account = [&*own, own.rsplit('.').next().unwrap()];
    for secret in asked.iter().chain(&clients).chain(&account) {
        assert!(secret.len() > 20, "{secret}");
        for (what, text) in &texts {
            assert!(!text.contains(secret), "{what} has {secret}");
        }
    }
    // Nor do the program's own files have any of them but the ServiceAccount's token.
    let mut files = BTreeMap::new();
    files_below(&rig.run_directory(), &mut files);
    assert!(files.keys().any(|name| name.ends_with("secret-callout_groups_bearer.yaml")));
    for secret in asked.iter().chain(&clients) {
        for (name, text) in &files {
            assert!(!text.contains(secret), "{name} has {secret}");
        }
    }
}
