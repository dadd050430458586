//! kube-oidc-proxy's request log: `AuSuccess` and `AuFail` lines, as its users parse them.

use std::{io::Write, sync::Arc};

use jiff::Timestamp;

use crate::rawlog::{LineCounts, RawLine, Sink};
use crate::{
    bounds,
    identity::User,
    record::{Field, Kind, Record},
};

/// The line of a request that has ended, without its end. What of it was cut stands behind it, which kube-oidc-proxy's never have.
#[must_use]
pub fn proxy_line(record: &Record) -> String {
    let line = line(record);
    let shown = [Field::Line, Field::RequestUri, Field::User];
    let cut: Vec<_> = shown.iter().filter(|field| record.truncated.contains(field)).collect();
    if cut.is_empty() {
        return line;
    }
    let cut: Vec<_> = cut.into_iter().map(|field| field.name()).collect();
    format!("{line} truncated:[{}]", cut.join("|"))
}

fn line(record: &Record) -> String {
    let time = record.received.strftime("%Y-%m-%dT%H:%M:%S+0000");
    // The peer first; what it forwarded for behind the stroke.
    let forwarded = if record.client == record.peer { "" } else { record.client.as_str() };
    let is_cut = |field| record.truncated.contains(&field);
    let uri = bounds::marked(&record.uri, is_cut(Field::RequestUri));
    let source = format!("src:[{} / {forwarded}] URI:{uri}", record.peer);
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
pub struct ProxyLines<W> {
    out: W,
    counts: Arc<LineCounts>,
}

impl<W: Write + Send> ProxyLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, counts: Arc::default() }
    }

    /// What becomes of lines.
    #[must_use]
    pub fn counts(&self) -> Arc<LineCounts> {
        Arc::clone(&self.counts)
    }
}

impl<W: Write + Send> Sink for ProxyLines<W> {
    fn take(&mut self, line: RawLine<'_>) {
        let record = if line.is_whole() {
            Record::parse(line.bytes())
        } else {
            Record::salvage(line.bytes(), Timestamp::now())
        };
        let Ok(record) = record else {
            self.counts.written(&Err(std::io::ErrorKind::InvalidData.into()));
            return;
        };
        if record.kind == Kind::Ended {
            let line = one_line(&proxy_line(&record));
            self.counts.truncated(!record.truncated.is_empty());
            // A log that cannot be written must not end the gateway.
            self.counts.written(&self.out.write_all(format!("{line}\n").as_bytes()));
        }
    }

    fn flush(&mut self) {
        let _ = self.out.flush();
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

    #[test]
    fn break_in_3_a_line_that_is_cut_is_written_and_says_so() {
        let mut out = Vec::new();
        let mut lines = ProxyLines::new(&mut out);
        let counts = lines.counts();
        let uri = format!("/{}", "x".repeat(bounds::URI));
        let text = serde_json::json!({"code": 200, "peer": "10.0.0.1:9", "time": "2021-11-25T01:05:17.000Z", "uri": uri, "user": "jane"});
        let text = text.to_string();
        lines.take(RawLine::new(text.as_bytes()));
        lines.take(RawLine::begun(&text.as_bytes()[..40]));
        lines.take(RawLine::new(b"no line"));
        assert_eq!((counts.truncations(), counts.dropped()), (2, 1));
        let out = String::from_utf8(out).unwrap();
        let out: Vec<_> = out.lines().collect();
        assert!(out[0].contains("xx...TRUNCATED inbound:[jane / "), "{}", &out[0][..200]);
        assert!(out[0].ends_with("] truncated:[requestURI]"));
        assert!(
            out[1].contains("AuFail src:[10.0.0.1 / ]") && out[1].ends_with(" truncated:[line]")
        );
    }
}
