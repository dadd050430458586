//! `issuer.certificateAuthority`: client-go's `cert.NewPoolFromBytes`.

use go_compat::pem;

use crate::x509::Certificate;

/// Checks that `text` holds a certificate and none that is malformed. Blocks with headers and other blocks do not count.
///
/// # Errors
/// With client-go's text.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut found = false;
    for block in pem::blocks(text.as_bytes()) {
        if block.label == b"CERTIFICATE" && !block.has_headers {
            Certificate::from_der(&block.bytes).map_err(|error| error.to_string())?;
            found = true;
        }
    }
    if found {
        Ok(())
    } else {
        Err("data does not contain any valid RSA or ECDSA certificates".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBhDCCASmgAwIBAgIUTpa7z3emOZwQu+jXx7NCEq6pKgswCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLc2lnbmluZyBrZXkwIBcNMjYxMTIyMTUyNTA4WhgPMjEyNjEw
MjkxNTI1MDhaMBYxFDASBgNVBAMMC3NpZ25pbmcga2V5MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEpmxzw9vCl5J9nRnsYb+GB7uG4pnv+p0UoGo/25B5+ApmxOK0
A8EpMu3bzW+ERawx/deDrl6O07IUUIXFeGXUCqNTMFEwHQYDVR0OBBYEFH2O0Yv2
T9b2V7lIyzK7T1ZBe7SIMB8GA1UdIwQYMBaAFH2O0Yv2T9b2V7lIyzK7T1ZBe7SI
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAP9PedjI3VwzZJ3k
U09Q/wQJ4LYZJaVm5+jEv7KB+IldAiEAnlH9pguL/IURmhjyMbxkamw+XQXA1UA2
GRDXwePn3/Q=
-----END CERTIFICATE-----
";

    #[test]
    fn bundles() {
        let none = Err("data does not contain any valid RSA or ECDSA certificates".to_owned());
        let malformed = Err("x509: malformed certificate".to_owned());
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let with_headers = CERTIFICATE.replacen("-----\n", "-----\nA: b\n\n", 1);
        for (text, want) in [
            (CERTIFICATE.to_owned(), Ok(())),
            (format!("{CERTIFICATE}\n# a comment\n{CERTIFICATE}"), Ok(())),
            (format!("{}{CERTIFICATE}", CERTIFICATE.replace("CERTIFICATE", "X")), Ok(())),
            (String::from("text"), none.clone()),
            (CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY"), none.clone()),
            (with_headers, none.clone()),
            (CERTIFICATE.replace("END", "ENDE"), none),
            (bad.to_owned(), malformed.clone()),
            (format!("{CERTIFICATE}{bad}"), malformed), // one bad one spoils them all
        ] {
            assert_eq!(check(&text), want, "{text}");
        }
    }
}
