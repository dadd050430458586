//! The access log for people: raw lines without what only the audit trail needs, and with the identity as JSON.

use std::{io::Write, sync::Arc};

use serde_json::{Map, Value, json};

use crate::rawlog::{LineCounts, RawLine, Sink};
use crate::{
    bounds,
    identity::Identities,
    record::{audit_id, closed},
};

/// Of raw lines alone: a query can hold what somebody typed, exec's command among it.
const RAW_ONLY: [&str; 4] = ["uri", "type", "responseMilliseconds", "lineID"];
/// What a client can make long, and how much of it is kept.
const BOUNDS: [(&str, usize); 8] = [
    ("method", bounds::WORD),
    ("path", bounds::PATH),
    ("upgrade", bounds::WORD),
    ("userAgent", bounds::USER_AGENT),
    ("user", bounds::USER),
    ("identity", bounds::IDENTITY),
    ("deny", bounds::WORD),
    ("reason", bounds::REASON),
];

/// Writes a line for every request that ends.
#[derive(Debug)]
pub struct AccessLog<W> {
    out: W,
    counts: Arc<LineCounts>,
}

impl<W: Write + Send> AccessLog<W> {
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

impl<W: Write + Send> Sink for AccessLog<W> {
    fn take(&mut self, line: RawLine<'_>) {
        let bytes = if line.is_whole() { line.bytes().into() } else { closed(line.bytes()) };
        let text = match serde_json::from_slice::<Map<String, Value>>(&bytes) {
            Err(_) => {
                // What Envoy says otherwise is for people as it is.
                let text = String::from_utf8_lossy(&bytes);
                let (kept, is_cut) = bounds::keep(&text, bounds::LINE / 2);
                self.counts.truncated(is_cut || !line.is_whole());
                bounds::marked(&kept, is_cut)
            }
            Ok(fields) => match shown(fields, line.is_whole()) {
                Some(fields) => {
                    self.counts.truncated(fields.contains_key("truncated"));
                    Value::Object(fields).to_string()
                }
                None => return,
            },
        };
        // A log that cannot be written must not end the gateway.
        self.counts.written(&self.out.write_all(format!("{text}\n").as_bytes()));
    }

    fn flush(&mut self) {
        let _ = self.out.flush();
    }
}

fn shown(mut fields: Map<String, Value>, is_whole: bool) -> Option<Map<String, Value>> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if text("type").is_some_and(|kind| kind != "DownstreamEnd") {
        return None;
    }
    let decided = text("user").is_some() || text("deny").is_some();
    let details = text("details").unwrap_or_default();
    let id = audit_id(text("auditID"), text("lineID"), details, decided);
    let id = id.map(ToOwned::to_owned);
    let mut truncated = Vec::new();
    if !is_whole {
        truncated.push("line");
    }
    for (name, most) in BOUNDS {
        let Some(Value::String(text)) = fields.get_mut(name) else { continue };
        if bounds::cut(text, most) {
            text.push_str(bounds::CUT);
            truncated.push(name);
        }
    }
    for name in RAW_ONLY {
        fields.remove(name);
    }
    let identity = fields.get("identity").and_then(Value::as_str);
    let whole = identity.filter(|_| !truncated.contains(&"identity"));
    if let Some(identities) = whole.and_then(Identities::read) {
        if identities.is_truncated() {
            truncated.push("identity");
        }
        fields.insert("identity".to_owned(), json!(identities));
    }
    if fields.contains_key("auditID") {
        fields.insert("auditID".to_owned(), json!(id));
    }
    if !truncated.is_empty() {
        fields.insert("truncated".to_owned(), json!(truncated));
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lines: &[RawLine<'_>]) -> String {
        let mut out = Vec::new();
        let mut log = AccessLog::new(&mut out);
        for line in lines {
            log.take(*line);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_see_no_query_and_the_identity_as_json() {
        let lines = [
            r#"{"code":200,"identity":"v=2&user=a%20b&group=c&as=d","path":"/x","type":"DownstreamEnd","uri":"/x?command=secret"}"#,
            r#"{"code":200,"identity":"{\"user\":{\"groups\":[\"a\"]}}","path":"/x","type":"DownstreamEnd","uri":"/x?command=secret"}"#,
            r#"{"code":200,"path":"/x","type":"DownstreamPeriodic","uri":"/x?command=secret"}"#,
            "[warning] something else",
        ];
        assert_eq!(
            written(&lines.map(|line| RawLine::new(line.as_bytes()))),
            concat!(
                r#"{"code":200,"identity":{"impersonated":{"username":"d"},"user":{"groups":["c"],"username":"a b"}},"path":"/x"}"#,
                "\n",
                r#"{"code":200,"identity":{"user":{"groups":["a"]}},"path":"/x"}"#,
                "\n[warning] something else\n"
            )
        );
    }

    #[test]
    fn break_in_3_what_is_too_long_is_cut_and_marked() {
        let line = |agent: usize| {
            let line = json!({"auditID": "evil", "lineID": "own", "code": 200, "userAgent": "x".repeat(agent), "zz": 1});
            line.to_string()
        };
        let (short, long) = (line(1024), line(1025));
        let lines = [
            RawLine::new(short.as_bytes()),
            RawLine::new(long.as_bytes()),
            RawLine::begun(&short.as_bytes()[..40]),
        ];
        let written = written(&lines);
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let read: Vec<_> = written.lines().map(read).collect();
        assert_eq!(read[0]["truncated"], Value::Null);
        assert_eq!(read[0]["auditID"], "own");
        assert_eq!(read[1]["truncated"], json!(["userAgent"]));
        let agent = read[1]["userAgent"].as_str().unwrap();
        assert_eq!(agent, format!("{}...TRUNCATED", "x".repeat(1024)));
        assert_eq!(read[2], json!({"auditID": "evil", "code": 200, "truncated": ["line"]}));
    }

    /// A standard output that takes nothing, such as a file on a full disk.
    #[test]
    fn what_is_not_written_is_counted_at_once() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut log = AccessLog::new(Full);
        log.take(RawLine::new(b"{}"));
        assert_eq!(log.counts().dropped(), 1);
    }
}
