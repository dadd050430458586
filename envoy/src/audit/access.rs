//! The access log for people: raw lines without what only the audit trail needs, and with the identity as JSON.

use std::io::Write;

use serde_json::{Map, Value};

use crate::run::rawlog::{RawLine, Sink};

/// Of raw lines alone: a query can hold what somebody typed, exec's command among it.
const RAW_ONLY: [&str; 3] = ["uri", "type", "responseMilliseconds"];

/// Writes a line for every request that ends.
#[derive(Debug)]
pub struct AccessLog<W>(W);

impl<W: Write + Send> AccessLog<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> Sink for AccessLog<W> {
    fn take(&mut self, line: RawLine<'_>) {
        // A log that cannot be written must not end the gateway; nobody is left to tell.
        let _ = match serde_json::from_slice::<Map<String, Value>>(line.bytes()) {
            // What Envoy says otherwise is for people as it is.
            Err(_) => self.0.write_all(line.bytes()).and_then(|()| self.0.write_all(b"\n")),
            Ok(fields) => match shown(fields) {
                Some(fields) => writeln!(self.0, "{}", Value::Object(fields)),
                None => Ok(()),
            },
        };
    }

    fn flush(&mut self) {
        let _ = self.0.flush();
    }
}

fn shown(mut fields: Map<String, Value>) -> Option<Map<String, Value>> {
    let kind = fields.get("type").and_then(Value::as_str);
    if kind.is_some_and(|kind| kind != "DownstreamEnd") {
        return None;
    }
    for name in RAW_ONLY {
        fields.remove(name);
    }
    let identity = fields.get("identity").and_then(Value::as_str);
    if let Some(identity) = identity.and_then(|text| serde_json::from_str(text).ok()) {
        fields.insert("identity".to_owned(), identity);
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_no_query_and_the_identity_as_json() {
        let mut out = Vec::new();
        let mut log = AccessLog::new(&mut out);
        for line in [
            r#"{"code":200,"identity":"{\"user\":{\"groups\":[\"a\"]}}","path":"/x","type":"DownstreamEnd","uri":"/x?command=secret"}"#,
            r#"{"code":200,"path":"/x","type":"DownstreamPeriodic","uri":"/x?command=secret"}"#,
            "[warning] something else",
        ] {
            log.take(RawLine::new(line.as_bytes()));
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"code\":200,\"identity\":{\"user\":{\"groups\":[\"a\"]}},\"path\":\"/x\"}\n[warning] something else\n"
        );
    }
}
