//! URLs. Source: k8s.io/apiserver, `pkg/cel/library/urls.go`.

use std::sync::Arc;

use go_compat::url::Url;

use crate::{
    cost,
    error::EvalError,
    function::{
        Cost::{ByName, One},
        Row, first, overload, row, text,
    },
    meter::Meter,
    value::{EvalResult, Value, map::Map},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("getEscapedPath", "url_get_escaped_path", "kubernetes.URL.() -> string", One, overload(|_, args| part(args, |url| url.escaped_path().to_owned()))),
    row("getHost", "url_get_host", "kubernetes.URL.() -> string", One, overload(|_, args| part(args, |url| url.host().to_owned()))),
    row("getHostname", "url_get_hostname", "kubernetes.URL.() -> string", One, overload(|_, args| part(args, |url| url.host_and_port().0.to_owned()))),
    row("getPort", "url_get_port", "kubernetes.URL.() -> string", One, overload(|_, args| part(args, |url| url.host_and_port().1.to_owned()))),
    row("getQuery", "url_get_query", "kubernetes.URL.() -> map(string, list(string))", One, overload(query)),
    row("getScheme", "url_get_scheme", "kubernetes.URL.() -> string", One, overload(|_, args| part(args, |url| url.scheme().to_owned()))),
    row("isURL", "is_url_string", "(string) -> bool", One, overload(is_url)),
    row("url", "string_to_url", "(string) -> kubernetes.URL", ByName(cost::text), overload(url)),
];

fn url<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let text = text(arguments, 0)?;
    meter.work(text.len() / 2)?;
    Url::parse_request(text)
        .and_then(|_| Url::parse(text))
        .map(|url| Value::Url(Arc::new(url)))
        .map_err(|why| {
            EvalError::new(format!("URL parse error during conversion from string: {why}"))
        })
}

fn is_url<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let text = text(arguments, 0)?;
    meter.work(text.len() / 2)?;
    Ok(Value::Bool(Url::parse_request(text).is_ok()))
}

fn part<'a>(arguments: &[Value<'a>], of: fn(&Url) -> String) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Url(url) => Ok(Value::string(of(url))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn query<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
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
