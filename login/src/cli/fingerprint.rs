//! The fingerprint of a certificate, as programs print it.

/// SHA-256 of a certificate (DER).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, with colons between or without, and with what openssl prints before them.
    ///
    /// # Errors
    /// If it is something else, such as a fingerprint by SHA-1.
    pub fn read(text: &str) -> Result<Self, String> {
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits).trim();
        let prefix = digits.get(..7).filter(|prefix| prefix.eq_ignore_ascii_case("sha256:"));
        let digits = digits.get(prefix.map_or(0, str::len)..).unwrap_or_default().replace(':', "");
        let refused = "must be the SHA-256 of a certificate, 64 hexadecimal digits: openssl x509 -noout -fingerprint -sha256 -in ca.crt prints it";
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused.to_owned());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = str::from_utf8(pair).map_err(|_| refused)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refused)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_programs_print_them() {
        let plain = "00ff".repeat(16);
        let pairs: Vec<_> =
            plain.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect();
        let colons = pairs.join(":").to_uppercase();
        let mut want = [0; 32];
        want.iter_mut().skip(1).step_by(2).for_each(|byte| *byte = 0xff);
        for text in [
            plain.clone(),
            colons.clone(),
            format!("sha256:{plain}"),
            format!("SHA256:{colons}"),
            format!("sha256 Fingerprint={colons}"),
            format!(" {plain} "),
        ] {
            assert_eq!(Fingerprint::read(&text), Ok(Fingerprint(want)), "{text}");
        }
        let sha1 = "SHA1 Fingerprint=".to_owned() + &colons[..59];
        for text in [
            &*sha1,
            "",
            "sha256:",
            &plain[1..],
            &format!("{plain}0"),
            &plain.replace('f', "g"),
            &"é".repeat(32),
        ] {
            assert!(Fingerprint::read(text).unwrap_err().contains("openssl"), "{text}");
        }
    }
}
