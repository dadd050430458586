//! A certificate for the plugin's own listener, and a browser that trusts it beside the provider.

use std::{fs, path::Path};

use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

/// Writes a certificate for localhost, signed by itself, and its key.
pub fn certificate(certificate: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(certificate, made.cert.pem()).expect("written");
    fs::write(key, made.signing_key.serialize_pem()).expect("written");
}

/// Logs in at `start`, trusting several authorities; the text of the last page.
pub fn sign_in(authorities: &[&str], start: &str, user: &str, password: &str) -> String {
    let roots: Vec<_> = authorities
        .iter()
        .map(|pem| Certificate::from_pem(pem.as_bytes()).expect("a certificate"))
        .collect();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build();
    let agent: Agent = Agent::config_builder().tls_config(tls).max_redirects(0).build().into();
    let text = |page: &ureq::http::Response<ureq::Body>, name: &str| {
        page.headers()[name].to_str().expect("text").to_owned()
    };
    let begun = agent.get(start).call().expect("the login's start");
    let cookie = text(&begun, "set-cookie");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a cookie");
    let form = [("username", user), ("password", password)];
    let back = agent.post(&text(&begun, "location")).send_form(form).expect("the way back");
    let last = agent.get(&text(&back, "location")).header("cookie", cookie).call();
    last.expect("the last page").body_mut().read_to_string().expect("text")
}
