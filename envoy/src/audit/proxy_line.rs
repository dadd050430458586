//! kube-oidc-proxy's request log: `AuSuccess` and `AuFail` lines, as its users parse them.

use std::io::Write;

use super::{
    identity::User,
    record::{Kind, Record},
};
use crate::run::rawlog::{RawLine, Sink};

/// The line of a request that has ended, without its end.
#[must_use]
pub fn proxy_line(record: &Record) -> String {
    let time = record.received.strftime("%Y-%m-%dT%H:%M:%S+0000");
    // The peer first; what it forwarded for behind the stroke.
    let forwarded = if record.client == record.peer { "" } else { record.client.as_str() };
    let source = format!("src:[{} / {forwarded}] URI:{}", record.peer, record.uri);
    let user = &record.identities.user;
    if record.refused.is_some() || user.username.is_empty() {
        return format!("[{time}] AuFail {source}");
    }
    let inbound = user.clone().with_authenticated();
    let line = format!(
        "[{time}] AuSuccess {source} inbound:[{} / {} / {}]",
        inbound.username,
        inbound.groups.join("|"),
        extras(&inbound)
    );
    let Some(outbound) = &record.identities.impersonated else { return line };
    let outbound = outbound.clone().with_authenticated();
    format!(
        "{line} outbound:[{} / {} / {} / {}]",
        outbound.username,
        outbound.groups.join("|"),
        outbound.uid,
        extras(&outbound)
    )
}

/// `key=v1|v2 ` for each, with the blank.
fn extras(user: &User) -> String {
    let extras = user.extra.iter();
    extras
        .flat_map(|(key, values)| [key.clone(), "=".to_owned(), values.join("|"), " ".to_owned()])
        .collect()
}

/// Writes a line for every request that ends.
#[derive(Debug)]
pub struct ProxyLines<W>(W);

impl<W: Write + Send> ProxyLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> Sink for ProxyLines<W> {
    fn take(&mut self, line: RawLine<'_>) {
        let Ok(record) = Record::parse(line.bytes()) else { return };
        if record.kind == Kind::Ended {
            // A log that cannot be written must not end the gateway.
            let _ = writeln!(self.0, "{}", one_line(&proxy_line(&record)));
        }
    }

    fn flush(&mut self) {
        let _ = self.0.flush();
    }
}

/// A user's name may hold what would end the line and begin a forged one; header values cannot, names of extras neither.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(more: &str) -> String {
        let text = format!(
            r#"{{"time":"2021-11-25T01:05:17.000Z","auditID":"a","method":"GET","uri":"/api/v1/pods?limit=500","code":200,{more}}}"#
        );
        proxy_line(&Record::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn lines_are_those_of_kube_oidc_proxy() {
        for (more, want) in [
            (
                r#""peer":"10.42.0.5:99","client":"10.42.1.3","identity":"{\"user\":{\"username\":\"mlbadmin1\",\"groups\":[\"system:masters\"],\"extra\":{\"k\":[\"v1\",\"v2\"]}}}""#,
                "[2021-11-25T01:05:17+0000] AuSuccess src:[10.42.0.5 / 10.42.1.3] URI:/api/v1/pods?limit=500 inbound:[mlbadmin1 / system:masters|system:authenticated / k=v1|v2 ]",
            ),
            (
                r#""peer":"[fd00::5]:99","client":"fd00::5","identity":"{\"user\":{\"username\":\"admin1\",\"groups\":[\"dev\"]},\"impersonated\":{\"username\":\"admin2\",\"uid\":\"UID\",\"groups\":[\"group2\"],\"extra\":{\"k\":[\"v\"]}}}""#,
                "[2021-11-25T01:05:17+0000] AuSuccess src:[fd00::5 / ] URI:/api/v1/pods?limit=500 inbound:[admin1 / dev|system:authenticated / ] outbound:[admin2 / group2|system:authenticated / UID / k=v ]",
            ),
            (
                r#""peer":"10.42.0.5:99","client":"10.42.1.3","deny":"verify""#,
                "[2021-11-25T01:05:17+0000] AuFail src:[10.42.0.5 / 10.42.1.3] URI:/api/v1/pods?limit=500",
            ),
        ] {
            assert_eq!(of(more), want);
        }
    }

    #[test]
    fn a_name_forges_no_line() {
        assert_eq!(one_line("jane\n[2021] AuSuccess"), "jane?[2021] AuSuccess");
    }
}
