//! kubectl with tokens of the portal: through the gateway, at an API server that knows the portal as an issuer, and at one
//! that asks the portal by its webhook.

use gateway_tests::portal::Site;
use sandbox::{Cluster, Credential, Kubectl, realm};
use serde_json::{Value, json};

use super::{authentication, generate, portal_as_issuer, private_key, provider, start};
use crate::harness::{self, until};

/// Who the cluster says this is.
fn whoami(kubectl: &Kubectl) -> Result<Value, String> {
    let output = kubectl.run(["auth", "whoami", "-o", "json"]).unwrap();
    let document: Value = serde_json::from_str(&output.stdout).map_err(|_| output.stderr)?;
    Ok(document["status"]["userInfo"].clone())
}

fn is_unauthorized(kubectl: &Kubectl) -> bool {
    whoami(kubectl).is_err_and(|error| error.contains("You must be logged in"))
}

fn without(user: &Value, group: &str) -> Vec<Value> {
    let groups = user["groups"].as_array().cloned().unwrap_or_default();
    groups.into_iter().filter(|known| known != group).collect()
}

/// An ordinary entry of the `AuthenticationConfiguration`, with discovery and key set at the portal; and what kubehook's
/// shared secret makes is nothing to such an entry.
#[test]
fn an_es256_token_through_the_gateway() {
    let site = Site::reserve();
    let document = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [portal_as_issuer(&site)],
    });
    let flags = [
        format!("--signing-key-file={}", site.file("key", &private_key())),
        format!("--issuer={}", site.url()),
        "--trust-network=127.0.0.1".to_owned(),
        format!("--authentication-config={}", site.file("authn", &document.to_string())),
        format!("--gateway-config={}", site.file("gateway", &realm::configuration().to_string())),
    ];
    let portal = start(site, &flags);
    let gateway = harness::gateway(document).configuration(realm::configuration()).start().unwrap();
    let kubectl = |token: &str| gateway.kubectl(Credential::Token(token.to_owned())).unwrap();

    let good = kubectl(&generate(&portal, "cooluser", "1h"));
    let user = until("the gateway has the portal's keys", || whoami(&good).ok());
    assert_eq!(user["username"], "cooluser");
    assert_eq!(without(&user, "system:authenticated"), ["dev", "system:viewers"]);
    assert!(good.run(["get", "namespaces"]).unwrap().stdout.contains("kube-system"));

    let short = kubectl(&generate(&portal, "cooluser", "2s"));
    until("the token ends", || is_unauthorized(&short).then_some(()));
}

/// One API server that knows the portal by both ways. Its webhook answers for kubehook's tokens, of whichever portal with
/// the secret, and for those of the portal's issuers.
#[test]
fn an_api_server_that_knows_the_portal_as_issuer_and_as_webhook() {
    let (site, other) = (Site::reserve(), Site::reserve());
    let provider = provider(&site);
    let issuers = authentication(&provider).to_string();
    let gateway = realm::configuration().to_string();
    let webhook = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "portal", "cluster": {
            "server": format!("{}/authenticate", site.url()),
            "certificate-authority": site.file("webhook-ca", site.ca()),
        }}],
        "users": [{"name": "apiserver", "user": {}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "portal", "user": "apiserver"}}],
        "current-context": "webhook",
    });
    let webhook = site.file("webhook", &webhook.to_string());
    let known = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [portal_as_issuer(&site)],
    });
    let flags = |site: &Site, more: &[String]| {
        let mut flags = vec![
            format!(
                "--secret-file={}",
                site.file("secret", "kubehooks-secret-which-has-thirty-two-bytes-and-more")
            ),
            format!("--authentication-config={}", site.file("authn", &issuers)),
            format!("--gateway-config={}", site.file("gateway", &gateway)),
            "--trust-network=127.0.0.1".to_owned(),
        ];
        flags.extend_from_slice(more);
        flags
    };
    let key = format!("--signing-key-file={}", site.file("key", &private_key()));
    let first = flags(&site, &[key, format!("--issuer={}", site.url())]);
    let portal = start(site, &first);
    let second = flags(&other, &[]);
    let kubehook = start(other, &second);
    let cluster = Cluster::builder()
        .authentication_config(known.to_string())
        .apiserver_arguments([
            format!("--authentication-token-webhook-config-file={webhook}"),
            "--authentication-token-webhook-version=v1".to_owned(),
            "--authentication-token-webhook-cache-ttl=1s".to_owned(),
        ])
        .start()
        .unwrap();
    let kubectl = |token: &str| cluster.kubectl(Credential::Token(token.to_owned())).unwrap();

    // As issuer: without the webhook, by the published keys.
    let es256 = generate(&portal, "cooluser", "1h");
    let user = until("the API server has the portal's keys", || whoami(&kubectl(&es256)).ok());
    assert_eq!((&user["username"], &user["uid"]), (&json!("cooluser"), &Value::Null));

    // By the webhook: kubehook's token, with kubehook's uid.
    let hs256 = generate(&kubehook, "cooluser", "1h");
    let user = whoami(&kubectl(&hs256)).unwrap();
    let uid = "github.com/planetlabs/kubehook/cooluser";
    assert_eq!((&user["username"], &user["uid"]), (&json!("cooluser"), &json!(uid)));
    assert_eq!(without(&user, "system:authenticated"), ["dev", "system:viewers"]);

    // By the webhook: an ID token, with the mapping's names.
    let id_token = provider.issuer().token("k8s-user1", realm::CLIENT).mint();
    let user = whoami(&kubectl(&id_token)).unwrap();
    assert_eq!(user["username"], format!("{}#k8s-user1", provider.issuer().url()));
    assert_eq!(without(&user, "system:authenticated"), ["system:viewers"]);

    let short = kubectl(&generate(&kubehook, "cooluser", "2s"));
    until("the token ends", || is_unauthorized(&short).then_some(()));
    assert!(is_unauthorized(&kubectl("nobody")));
    let reserved = provider.issuer().token("node", realm::CLIENT).mint();
    assert!(is_unauthorized(&kubectl(&reserved)), "the guard's names");
}
