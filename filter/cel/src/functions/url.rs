//! URLs. Source: k8s.io/apiserver, `pkg/cel/library/urls.go`.

use std::sync::Arc;

use go_compat::url::Url;

use super::{Body, first, text};
use crate::error::EvalError;
use crate::map::Map;
use crate::value::Value;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("string_to_url", |meter, args| {
        let text = text(args, 0)?;
        meter.work(text.len() / 2)?;
        Url::parse_request(text)
            .and_then(|_| Url::parse(text))
            .map(|url| Value::Url(Arc::new(url)))
            .map_err(|why| {
                EvalError::new(format!("URL parse error during conversion from string: {why}"))
            })
    }),
    ("is_url_string", |meter, args| {
        let text = text(args, 0)?;
        meter.work(text.len() / 2)?;
        Ok(Value::Bool(Url::parse_request(text).is_ok()))
    }),
    ("url_get_scheme", |_, args| part(args, |url| url.scheme().to_owned())),
    ("url_get_host", |_, args| part(args, |url| url.host().to_owned())),
    ("url_get_hostname", |_, args| part(args, |url| url.host_and_port().0.to_owned())),
    ("url_get_port", |_, args| part(args, |url| url.host_and_port().1.to_owned())),
    ("url_get_escaped_path", |_, args| part(args, |url| url.escaped_path().to_owned())),
    ("url_get_query", query),
];

fn part<'a>(arguments: &[Value<'a>], of: fn(&Url) -> String) -> Result<Value<'a>, EvalError> {
    match first(arguments)? {
        Value::Url(url) => Ok(Value::string(of(url))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn query<'a>(
    meter: &mut crate::meter::Meter,
    arguments: &[Value<'a>],
) -> Result<Value<'a>, EvalError> {
    let Value::Url(url) = first(arguments)? else { return Err(EvalError::no_such_overload()) };
    meter.work(url.query().len())?;
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in url.parameters() {
        meter.work(found.len())?;
        match found.iter_mut().find(|(name, _)| *name == key) {
            Some((_, values)) => values.push(value),
            None => found.push((key, vec![value])),
        }
    }
    let entries =
        found.into_iter().map(|(key, values)| (Value::string(key), Value::strings(values)));
    Ok(Value::Map(Map::new(entries.collect())))
}
