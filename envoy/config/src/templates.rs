//! The template engine: values go into YAML as scalars that nothing can break out of.
//!
//! Every value is written by [`scalar`], whatever its place in a template; there is no unescaped form for text. A value
//! that a template names and the context does not have is an error.

use std::fmt::Write as _;

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, UndefinedBehavior, Value,
    syntax::SyntaxConfig, value::ValueKind,
};

/// The template that makes one file for each cluster that sends the token.
pub(crate) const TOKEN: &str = "secret-token.yaml";

/// The template that makes one file for each certificate that clients see.
pub(crate) const SERVING: &str = "secret-serving.yaml";

/// The template that makes one file for each credential of a server that the filter asks.
pub(crate) const CALLOUT: &str = "secret-callout.yaml";

/// The templates. All but [`TOKEN`], [`SERVING`] and [`CALLOUT`] make a file of the same name.
pub(crate) const SOURCES: [(&str, &str); 17] = [
    ("clusters.yaml", include_str!("../templates/clusters.yaml")),
    ("envoy.yaml", include_str!("../templates/envoy.yaml")),
    ("filter-connections.yaml", include_str!("../templates/filter-connections.yaml")),
    ("filter-gate.yaml", include_str!("../templates/filter-gate.yaml")),
    ("filter-gateway.yaml", include_str!("../templates/filter-gateway.yaml")),
    ("filter-strip.yaml", include_str!("../templates/filter-strip.yaml")),
    ("routes.yaml", include_str!("../templates/routes.yaml")),
    ("routes-probe.yaml", include_str!("../templates/routes-probe.yaml")),
    ("secret-apiserver-ca.yaml", include_str!("../templates/secret-apiserver-ca.yaml")),
    (
        "secret-apiserver-certificate.yaml",
        include_str!("../templates/secret-apiserver-certificate.yaml"),
    ),
    ("secret-collector-ca.yaml", include_str!("../templates/secret-collector-ca.yaml")),
    ("secret-collector-token.yaml", include_str!("../templates/secret-collector-token.yaml")),
    ("secret-issuer-certificate.yaml", include_str!("../templates/secret-issuer-certificate.yaml")),
    (SERVING, include_str!("../templates/secret-serving.yaml")),
    ("secret-system-ca.yaml", include_str!("../templates/secret-system-ca.yaml")),
    (CALLOUT, include_str!("../templates/secret-callout.yaml")),
    (TOKEN, include_str!("../templates/secret-token.yaml")),
];

/// What other templates include: clusters of servers that the filter asks, the parameters of TLS towards servers, a listener, where access lines go, and the collector of traces.
const PARTIALS: [(&str, &str); 6] = [
    ("access-log.yaml", include_str!("../templates/access-log.yaml")),
    ("callouts.yaml", include_str!("../templates/callouts.yaml")),
    ("callout-server.yaml", include_str!("../templates/callout-server.yaml")),
    ("tls-upstream.yaml", include_str!("../templates/tls-upstream.yaml")),
    ("probe.yaml", include_str!("../templates/probe.yaml")),
    ("collector.yaml", include_str!("../templates/collector.yaml")),
];

/// An engine that holds [`SOURCES`].
pub(crate) fn engine() -> Result<Environment<'static>, Error> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build()?);
    // Any mode but `None` marks what a macro returns as written already.
    engine.set_auto_escape_callback(|_| AutoEscape::Custom("yaml".into()));
    engine.set_formatter(|out, _, value| scalar(out, value));
    for (name, source) in SOURCES.into_iter().chain(PARTIALS) {
        engine.add_template(name, source)?;
    }
    Ok(engine)
}

fn scalar(out: &mut Output<'_>, value: &Value) -> Result<(), Error> {
    if value.is_safe() {
        return Ok(out.write_str(value.as_str().unwrap_or_default())?);
    }
    match value.kind() {
        ValueKind::String => Ok(quoted(out, value.as_str().unwrap_or_default())?),
        ValueKind::Number | ValueKind::Bool => Ok(write!(out, "{value}")?),
        ValueKind::Seq => {
            out.write_char('[')?;
            for (index, item) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.write_str(", ")?;
                }
                scalar(out, &item)?;
            }
            Ok(out.write_char(']')?)
        }
        kind => Err(Error::new(ErrorKind::InvalidOperation, format!("a {kind} is no scalar"))),
    }
}

/// Writes text as a double-quoted YAML scalar in ASCII (YAML 1.2.2, section 5.7).
///
/// JSON's own escapes are not used beyond ASCII: parsers differ on surrogate pairs and on U+0085 and U+2028, which are line
/// breaks to some.
fn quoted(out: &mut Output<'_>, text: &str) -> std::fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            ' '..='~' => out.write_char(c)?,
            '\0'..='\u{ff}' => write!(out, "\\x{:02x}", u32::from(c))?,
            '\u{100}'..='\u{ffff}' => write!(out, "\\u{:04x}", u32::from(c))?,
            _ => write!(out, "\\U{:08x}", u32::from(c))?,
        }
    }
    out.write_char('"')
}
