//! Whose headers count.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;

use crate::portal::Portal;

/// An authority and what it signed: PEM files.
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca"), authority.pem()).unwrap();
        for (name, usage) in [
            ("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth),
            ("proxy.example", ExtendedKeyUsagePurpose::ClientAuth),
            ("other.example", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &authority).unwrap();
            fs::write(folder.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn a_header_counts_only_from_a_peer_that_mutual_tls_or_a_network_vouches_for() {
    let (own, foreign) = (Authority::new(), Authority::new());
    let ask = |portal: &Portal, certificate: Option<(&Authority, &str)>| {
        let url = format!("https://{}/generate", portal.address);
        let ca = own.file("ca");
        let body = r#"{"lifetime": "1h"}"#;
        let mut arguments = vec![
            "--cacert".to_owned(),
            ca,
            "-H".into(),
            "Content-Type: application/json".into(),
            "-H".into(),
            "X-Forwarded-User: cooluser".into(),
            "-d".into(),
            body.into(),
            url,
        ];
        if let Some((authority, name)) = certificate {
            let [chain, key] = ["crt", "key"].map(|end| authority.file(&format!("{name}.{end}")));
            arguments.extend(["--cert".to_owned(), chain, "--key".to_owned(), key]);
        }
        let words: Vec<_> = arguments.iter().map(String::as_str).collect();
        portal.curl(&words).0
    };
    let (chain, key, ca) = (own.file("127.0.0.1.crt"), own.file("127.0.0.1.key"), own.file("ca"));
    let tls = ["--tls-cert", &chain, "--tls-key", &key];

    let portal = Portal::start(
        &[&tls[..], &["--client-ca", &ca, "--client-ca-subject", "proxy.example"]].concat(),
    );
    assert_eq!(ask(&portal, Some((&own, "proxy.example"))), 200, "{}", portal.log());
    for certificate in [None, Some((&own, "other.example")), Some((&foreign, "proxy.example"))] {
        assert_eq!(ask(&portal, certificate), 0, "the handshake fails");
    }
    drop(portal);

    let portal = Portal::start(&[&tls[..], &["--trust-network", "127.0.0.0/8"]].concat());
    assert_eq!(ask(&portal, None), 200);
    drop(portal);
    let portal = Portal::start(&[&tls[..], &["--trust-network", "192.0.2.0/24"]].concat());
    assert_eq!(ask(&portal, None), 403);
    // A client's word for its address does not count.
    let forged = [
        "-H",
        "X-Forwarded-For: 192.0.2.1",
        "-H",
        "X-Forwarded-User: a",
        "-H",
        "Content-Type: application/json",
        "-k",
        "-d",
        r#"{"lifetime": "1h"}"#,
    ];
    let url = format!("https://{}/generate", portal.address);
    assert_eq!(portal.curl(&[&forged[..], &[&url]].concat()).0, 403);
}
