//! The certificates that a gateway shows and believes: their names, and when they end.

use std::{net::IpAddr, time::SystemTime};

use gateway_client::{Pair, PairSource, Source, certificates};
use jiff::{Timestamp, Unit};

use super::finding::Findings;
use crate::run::{certificate, serving, settings::Settings};

/// A certificate that ends sooner is told: the alert `GatewayCertificateEnds` is about the same time.
const SOON_DAYS: i64 = 3;

/// `host` is what clients call the gateway, if that is known.
pub(super) fn look(findings: &mut Findings, settings: &Settings, host: Option<&str>) {
    let named = settings.named.iter().map(|(pair, _)| pair);
    let mut names = Vec::new();
    for pair in [&settings.serving].into_iter().chain(named) {
        names.extend(shown(findings, pair));
    }
    if let Some(host) = host {
        if names.iter().any(|name| covers(name, host)) {
            findings.ok("names", format!("{host} is in the certificate"));
        } else if !names.is_empty() {
            findings.fail(
                "names",
                format!("no certificate is for {host}, by which clients come"),
                "tls.dnsNames or tls.ipAddresses of the chart, or another --tls-cert-file",
            );
        }
    }
    if let Some(pair) = &settings.issuer_certificate {
        ends(findings, "certificate for issuers", &pair.chain, "renew it where it is from");
    }
    if let Some(ca) = &settings.apiserver.ca {
        let cure = "a bundle with the new CA, too: in a pod the ServiceAccount's ca.crt has it";
        ends(findings, "API server's CA", ca, cure);
    }
}

/// The names of a certificate that clients see.
fn shown(findings: &mut Findings, pair: &PairSource) -> Vec<String> {
    let read = || Ok(Pair { chain: pair.chain.read()?, key: pair.key.read()? });
    let read: Result<Pair, String> = read();
    let pair = match read {
        Ok(pair) => pair,
        Err(reason) => {
            let cure = "--tls-cert-file and --tls-private-key-file name them; in a pod, is the Secret mounted?";
            findings.fail("certificate", reason, cure);
            return Vec::new();
        }
    };
    if let Err(error) = pair.check() {
        findings.fail(
            "certificate",
            error.to_string(),
            "give the chain and the key of one certificate, in PEM",
        );
        return Vec::new();
    }
    let names = match serving::subjects(&pair.chain) {
        Ok((dns, addresses)) => {
            dns.into_iter().chain(addresses.iter().map(ToString::to_string)).collect()
        }
        Err(_) => Vec::new(),
    };
    let whose = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    if names.is_empty() {
        findings.fail(
            "certificate",
            "it has no name and no address (subjectAltName): no client takes it",
            "have one issued for the names by which clients come",
        );
    }
    until(
        findings,
        "certificate",
        &format!("for {whose}"),
        &pair.chain,
        "renew it, or look why who renews it does not",
    );
    names
}

fn ends(findings: &mut Findings, check: &'static str, source: &Source, cure: &str) {
    match source.read() {
        Ok(pem) if certificates(&pem).is_ok() => until(findings, check, "", &pem, cure),
        Ok(_) => findings.fail(check, "it holds no certificate", "give a bundle in PEM"),
        Err(reason) => findings.fail(check, reason, "name the file that has it"),
    }
}

/// Says until when the first certificate of a bundle to end is good.
pub(super) fn until(
    findings: &mut Findings,
    check: &'static str,
    what: &str,
    pem: &[u8],
    cure: &str,
) {
    let end = certificate::expiry(pem).and_then(|end| Timestamp::from_second(end).ok());
    let Some(end) = end else { return };
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    let days = (end - now).total(Unit::Hour).unwrap_or_default() / 24.0;
    let date = end.strftime("%Y-%m-%d");
    let what = if what.is_empty() { String::new() } else { format!("{what}, ") };
    #[expect(clippy::cast_precision_loss, reason = "a few days")]
    let soon = SOON_DAYS as f64;
    if days < 0.0 {
        findings.fail(check, format!("{what}ended on {date}"), cure);
    } else if days < soon {
        findings.warn(check, format!("{what}ends on {date}, in {days:.1} days"), cure);
    } else {
        findings.ok(check, format!("{what}until {date}, for {days:.0} days"));
    }
}

/// Whether a certificate's name is a host's (RFC 9525, section 6.3: `*` is one label, the first).
fn covers(name: &str, host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return name.parse::<IpAddr>().ok() == host.parse().ok();
    }
    match name.strip_prefix("*.") {
        Some(parent) => {
            host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
        }
        None => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_hosts_as_clients_see_it() {
        for (name, host, want) in [
            ("a.example", "A.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("2001:db8::1", "2001:DB8:0::1", true),
            ("a.example", "192.0.2.1", false),
        ] {
            assert_eq!(covers(name, host), want, "{name} {host}");
        }
    }

    #[test]
    fn an_end_is_told_by_how_far_it_is() {
        let pair = |days| {
            let mut parameters = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
            let now = time::OffsetDateTime::now_utc();
            parameters.not_before = now - time::Duration::days(30);
            parameters.not_after = now + time::Duration::days(days);
            let key = rcgen::KeyPair::generate().unwrap();
            let chain = parameters.self_signed(&key).unwrap().pem().into_bytes();
            PairSource {
                chain: Source::Inline(chain),
                key: Source::Inline(key.serialize_pem().into_bytes()),
            }
        };
        for (days, want) in [
            (-1, "failed   for a.example, ended on"),
            (2, "warning  for a.example, ends on"),
            (40, "ok       for a.example, until"),
        ] {
            let mut findings = Findings::default();
            assert_eq!(shown(&mut findings, &pair(days)), ["a.example"]);
            assert!(findings.text().contains(want), "{}", findings.text());
        }
        let mut findings = Findings::default();
        let mixed = PairSource { key: pair(1).key, ..pair(1) };
        assert!(shown(&mut findings, &mixed).is_empty());
        assert!(findings.text().contains("do not belong together"), "{}", findings.text());
    }
}
