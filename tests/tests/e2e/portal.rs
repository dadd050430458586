//! The portal with everybody whom it talks to: an issuer, the gateway, API servers, a browser's cookies.

mod clusters;
mod login;

use std::process::Command;

use gateway_tests::portal::{Portal, Site};
use oidc_provider::{ClientConfig, Config, Preset, Provider, User};
use sandbox::{Authority, realm};
use serde_json::{Value, json};

use crate::harness::cluster;

/// The portal's client at the issuer.
const CLIENT: &str = "portal";
const CLIENT_SECRET: &str = "the-secret-of-the-portals-client";
const COOKIE_SECRET: &str = "thirty-two-bytes-and-some-more-for-cookies";
/// kubehook's default.
const AUDIENCE: &str = "github.com/planetlabs/kubehook";

/// The realm with a client for the portal, and a user whom the guard refuses.
fn provider(site: &Site) -> Provider {
    let mut client = ClientConfig::confidential(CLIENT, CLIENT_SECRET);
    client.redirect_uris = vec![format!("{}/oauth2/callback", site.url())];
    client.require_pkce = true;
    client.default_scopes = ["profile", "email", "groups"].map(str::to_owned).to_vec();
    let node = User::new("node", "node-password").groups(["system:nodes"]);
    let issuer = Preset::KubernetesSandbox.issuer().client(client).user(node);
    Provider::start(Config::of(issuer)).unwrap()
}

/// The realm's configuration for the portal's client beside the realm's own.
fn authentication(provider: &Provider) -> Value {
    let mut authentication = realm::authentication_of(provider);
    let issuer = &mut authentication["jwt"][0]["issuer"];
    issuer["audiences"] = json!([CLIENT, realm::CLIENT]);
    issuer["audienceMatchPolicy"] = "MatchAny".into();
    authentication
}

/// An ordinary authenticator for a portal's ES256 tokens.
fn portal_as_issuer(site: &Site) -> Value {
    json!({
        "issuer": {"url": site.url(), "audiences": [AUDIENCE], "certificateAuthority": site.ca()},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": ""},
            "groups": {"claim": "groups", "prefix": ""},
        },
    })
}

/// A private key on P-256, PEM.
fn private_key() -> String {
    Authority::new("key").unwrap().server(&[]).unwrap().key
}

fn start(site: Site, flags: &[String]) -> Portal {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    site.start(&cluster().assets().envoy, &flags)
}

/// curl in a portal's folder, where its cookies lie too; what it writes.
fn curl(portal: &Portal, words: &[&str]) -> String {
    let site = portal.site();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]);
    command.arg(site.file("ca.crt", site.ca())).args(words);
    let output = command.output().expect("curl is there");
    if !output.status.success() {
        eprintln!("curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A token for a user in two groups, whom a believed proxy names.
fn generate(portal: &Portal, user: &str, lifetime: &str) -> String {
    let headers = [("x-forwarded-user", user), ("x-forwarded-groups", "dev;system:viewers")];
    gateway_tests::portal::generate(portal, &headers, lifetime)
}
