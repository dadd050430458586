//! A request as the endpoints see it: parameters from query and form, credentials from headers.

use http::{HeaderMap, Method, header};

use crate::encoding::decode_base64;

/// A request, read to its end.
pub(crate) struct Call {
    /// The whole path, as it came.
    pub(crate) path: String,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Parameters,
    /// The body, if it is a form.
    pub(crate) form: Parameters,
}

/// Decoded parameters in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Call {
    pub(crate) fn new(
        method: Method,
        path: &str,
        headers: HeaderMap,
        query: Option<&str>,
        body: &[u8],
    ) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        let is_form = content_type.starts_with(b"application/x-www-form-urlencoded");
        let form = if is_form { Parameters::parse(body) } else { Parameters::default() };
        let query = Parameters::parse(query.unwrap_or_default().as_bytes());
        Self { path: path.to_owned(), method, headers, query, form }
    }

    /// The parameters where the method has them: GET in the query, POST in the body.
    pub(crate) fn parameters(&self) -> &Parameters {
        if self.method == Method::POST { &self.form } else { &self.query }
    }

    /// User name and password of `Authorization: Basic` (RFC 7617), as they stand there.
    pub(crate) fn basic_credentials(&self) -> Option<(String, String)> {
        let encoded = self.authorization("basic")?;
        let decoded = String::from_utf8(decode_base64(encoded)?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    }

    /// The token of `Authorization: Bearer` (RFC 6750).
    pub(crate) fn bearer_token(&self) -> Option<&str> {
        self.authorization("bearer")
    }

    /// Whether there is an `Authorization` header, usable or not.
    pub(crate) fn has_authorization(&self) -> bool {
        self.headers.contains_key(header::AUTHORIZATION)
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    fn authorization(&self, scheme: &str) -> Option<&str> {
        let value = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (found, rest) = value.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    }
}

impl Parameters {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The parameters as a query, without the question mark.
    pub(crate) fn encode(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// The value of a parameter. An empty one counts as absent (RFC 6749, section 3.1).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The name of a parameter that stands there twice, which RFC 6749 (section 3.1) forbids. `resource` and
    /// `audience` may (RFC 8707, section 2).
    pub(crate) fn repeated(&self) -> Option<&str> {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        names.enumerate().find_map(|(i, name)| {
            let before = &self.0[..i];
            let repeated = before.iter().any(|(known, _)| known == name);
            (repeated && !matches!(name, "resource" | "audience")).then_some(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: header::HeaderName, value: &str) -> Call {
        let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
        Call::new(Method::GET, "/", headers, None, b"")
    }

    #[test]
    fn credentials() {
        for (value, basic, bearer) in [
            ("Basic dTpwOng=", Some(("u", "p:x")), None),
            ("basic dTpw", Some(("u", "p")), None),
            ("Basic %%", None, None),
            ("Bearer abc", None, Some("abc")),
            ("Bearer", None, None),
        ] {
            let call = call(header::AUTHORIZATION, value);
            let want = basic.map(|(name, password)| (name.to_owned(), password.to_owned()));
            assert_eq!(call.basic_credentials(), want, "{value}");
            assert_eq!(call.bearer_token(), bearer, "{value}");
        }
    }

    #[test]
    fn cookies() {
        let call = call(header::COOKIE, "a=1; session=x=y; b=2");
        assert_eq!(call.cookie("session"), Some("x=y"));
        assert_eq!(call.cookie("c"), None);
    }

    #[test]
    fn parameters() {
        let parsed = Parameters::parse(b"a=1&b=&c=x+y%26&resource=1&resource=2");
        assert_eq!(parsed.get("a"), Some("1"));
        assert_eq!(parsed.get("b"), None);
        assert_eq!(parsed.get("c"), Some("x y&"));
        assert_eq!(parsed.repeated(), None);
        assert_eq!(Parameters::parse(b"a=1&b=2&a=1").repeated(), Some("a"));
    }
}
