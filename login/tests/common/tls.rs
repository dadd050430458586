//! A certificate for the plugin's own listener, and a browser that trusts it beside the provider.

use std::fs;
use std::path::Path;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

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
    let agent: Agent = Agent::config_builder().tls_config(tls).build().into();
    let page = agent.get(start).call().expect("the login page");
    let address = ureq::ResponseExt::get_uri(&page).to_string();
    let form = [("username", user), ("password", password)];
    let mut page = agent.post(&address).send_form(form).expect("the last page");
    page.body_mut().read_to_string().expect("text")
}
