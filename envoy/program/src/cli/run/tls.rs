//! Names of TLS as Go has them, in Envoy's words.
//!
//! Sources: Go, `crypto/tls` (names of cipher suites, numbers of curves); k8s.io/component-base, `cli/flag` (which of them
//! Kubernetes' programs take); BoringSSL, `ssl/ssl_cipher.cc`.

use gateway_config::TlsVersion;

/// Cipher suites for TLS 1.2 and older.
const SUITES: [(&str, &str); 18] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", ""),
];

/// Those of TLS 1.3, which neither Go nor Envoy lets one choose.
const FIXED: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

const CURVES: [(&str, &str, &str); 5] = [
    ("CurveP256", "23", "P-256"),
    ("CurveP384", "24", "P-384"),
    ("CurveP521", "25", "P-521"),
    ("X25519", "29", "X25519"),
    ("X25519MLKEM768", "4588", "X25519MLKEM768"),
];

/// A cipher suite in Envoy's words; `None` for one of TLS 1.3, which is on anyway.
pub fn suite(name: &str) -> Result<Option<String>, String> {
    if FIXED.contains(&name) {
        return Ok(None);
    }
    match SUITES.iter().find(|(go, _)| *go == name) {
        Some((_, envoy)) if !envoy.is_empty() => Ok(Some((*envoy).to_owned())),
        _ => Err(format!("--tls-cipher-suites: {name:?} is not one that Envoy has")),
    }
}

/// A curve in Envoy's words, from its name or number in Go.
pub fn curve(name: &str) -> Result<String, String> {
    let found = CURVES.iter().find(|(go, number, envoy)| [*go, *number, *envoy].contains(&name));
    found
        .map(|(_, _, envoy)| (*envoy).to_owned())
        .ok_or_else(|| format!("--tls-curve-preferences: {name:?} is not one that Envoy has"))
}

/// `VersionTLS12` and the like.
pub fn version(name: &str) -> Result<TlsVersion, String> {
    match name {
        "VersionTLS10" => Ok(TlsVersion::V1_0),
        "VersionTLS11" => Ok(TlsVersion::V1_1),
        "VersionTLS12" => Ok(TlsVersion::V1_2),
        "VersionTLS13" => Ok(TlsVersion::V1_3),
        _ => Err("it must be VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_names() {
        assert_eq!(suite("TLS_AES_128_GCM_SHA256"), Ok(None));
        let suite = suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305").unwrap();
        assert_eq!(suite.as_deref(), Some("ECDHE-RSA-CHACHA20-POLY1305"));
        assert!(super::suite("TLS_RSA_WITH_RC4_128_SHA").is_err());
        assert_eq!(curve("29"), Ok("X25519".to_owned()));
        assert_eq!(curve("CurveP256"), Ok("P-256".to_owned()));
        assert!(curve("30").is_err());
        assert_eq!(version("VersionTLS13"), Ok(TlsVersion::V1_3));
        assert!(version("1.3").is_err());
    }
}
