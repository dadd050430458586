//! Answers of issuers, read as they are and not as they should be: what is used is taken in every form in which it can be
//! understood, what is not used is not looked at. Go's libraries, by which issuers are tried out, do the same.
//!
//! What comes out is the standard's form (RFC 6749, sections 5.1 and 5.2; RFC 8628, section 3.2), for the crate `oauth2` to read.

use oauth2::HttpResponse;
use serde_json::{Map, Value, json};
use ureq::http::{Response, StatusCode, header};
use url::{Url, form_urlencoded};

use crate::http::HttpError;

/// RFC 8628, section 3.2: how often to ask if the issuer does not say.
const INTERVAL: u64 = 5;
/// How long a device code lasts if the issuer does not say, in seconds.
const LIFETIME: u64 = 600;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Tokens.
    Token,
    /// A device code.
    Device,
}

/// The answer in the standard's form.
///
/// # Errors
/// If a server's or proxy's fault is the answer: nobody should be asked to log in because of it.
pub fn standard(
    url: &str,
    wanted: Wanted,
    response: &HttpResponse,
) -> Result<HttpResponse, HttpError> {
    let status = response.status();
    let fault = || HttpError::Status { url: url.to_owned(), status: status.as_u16() };
    if status.is_server_error() {
        return Err(fault());
    }
    let Some(found) = object(response) else {
        return match status.as_u16() {
            // Too Many Requests (RFC 6585): some say it in words, some do not.
            429 => Ok(refusal("slow_down", None)),
            // Without the standard's words it is the issuer who says no all the same.
            400 | 401 => Ok(refusal(&format!("HTTP {}", status.as_u16()), None)),
            200..=299 => Err(HttpError::Body {
                url: url.to_owned(),
                reason: crate::http::not_json(response.body()).to_owned(),
            }),
            _ => Err(fault()),
        };
    };
    let answer = match wanted {
        Wanted::Token => token(&found),
        Wanted::Device => device(&found),
    };
    if let Some(Value::String(uri)) =
        answer.as_ref().and_then(|found| found.get("verification_uri"))
        && Url::parse(uri).is_err()
    {
        let reason = format!("its verification_uri cannot be used: {uri:?} is not an https URL");
        return Err(HttpError::Body { url: url.to_owned(), reason });
    }
    let code = code(&found);
    match (answer, code) {
        (Some(answer), _) if status.is_success() => Ok(built(StatusCode::OK, &answer)),
        (None, None) if status.is_success() => {
            let reason = match wanted {
                Wanted::Token => "it holds no token",
                Wanted::Device => "it holds no device code, user code or address",
            };
            Err(HttpError::Body { url: url.to_owned(), reason: reason.to_owned() })
        }
        (_, Some(code)) => Ok(refusal(&code, description(&found).as_deref())),
        (_, None) if status.as_u16() == 429 => Ok(refusal("slow_down", None)),
        (_, None) => {
            let code = format!("HTTP {}", status.as_u16());
            Ok(refusal(&code, description(&found).as_deref()))
        }
    }
}

/// A JSON object, or a form: OAuth's first drafts had forms, and some servers have them still.
fn object(response: &HttpResponse) -> Option<Map<String, Value>> {
    let body = response.body();
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => return Some(object),
        Ok(_) => return None,
        Err(_) => {}
    }
    let kind = response.headers().get(header::CONTENT_TYPE)?.to_str().ok()?.to_lowercase();
    if !["application/x-www-form-urlencoded", "text/plain"].iter().any(|it| kind.starts_with(it)) {
        return None;
    }
    let pairs: Map<String, Value> = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    ["access_token", "error"].iter().any(|name| pairs.contains_key(*name)).then_some(pairs)
}

fn token(found: &Map<String, Value>) -> Option<Value> {
    let text = |name: &str| text(found.get(name));
    let (id_token, access_token) = (text("id_token"), text("access_token"));
    if id_token.is_none() && access_token.is_none() {
        return None;
    }
    let mut answer = json!({
        "access_token": access_token.unwrap_or_default(),
        // There is no other that could be presented.
        "token_type": "bearer",
    });
    if let Some(token) = id_token {
        answer["id_token"] = token.into();
    }
    if let Some(token) = text("refresh_token") {
        answer["refresh_token"] = token.into();
    }
    Some(answer)
}

fn device(found: &Map<String, Value>) -> Option<Value> {
    let any = |names: &[&str]| names.iter().find_map(|name| text(found.get(*name)));
    let positive = |name: &str| number(found.get(name)).filter(|number| *number > 0);
    let mut answer = json!({
        "device_code": any(&["device_code"])?,
        "user_code": any(&["user_code"])?,
        // Google's name for it, from before the standard.
        "verification_uri": any(&["verification_uri", "verification_url"])?,
        "expires_in": positive("expires_in").unwrap_or(LIFETIME),
        "interval": positive("interval").unwrap_or(INTERVAL),
    });
    if let Some(uri) = any(&["verification_uri_complete", "verification_url_complete"]) {
        answer["verification_uri_complete"] = uri.into();
    }
    Some(answer)
}

/// The error code: a text, or in an object of its own, or under another name.
fn code(found: &Map<String, Value>) -> Option<String> {
    match found.get("error") {
        Some(Value::Object(error)) => ["code", "type", "status", "message"]
            .iter()
            .find_map(|name| text(error.get(*name)))
            .or_else(|| Some("error".to_owned())),
        Some(Value::Bool(true)) => Some("error".to_owned()),
        other => text(other),
    }
    .or_else(|| ["errorCode", "error_code"].iter().find_map(|name| text(found.get(*name))))
}

fn description(found: &Map<String, Value>) -> Option<String> {
    let inner = found.get("error").and_then(|error| error.get("message"));
    ["error_description", "errorSummary", "error_message", "message"]
        .iter()
        .find_map(|name| text(found.get(*name)))
        .or_else(|| text(inner))
}

/// A text that is not empty; numbers are written out.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number, also one written as a text or with a fraction.
fn number(value: Option<&Value>) -> Option<u64> {
    let text = text(value)?;
    let whole = text.trim().split('.').next()?;
    whole.parse().ok()
}

fn refusal(code: &str, description: Option<&str>) -> HttpResponse {
    let mut answer = json!({ "error": code });
    if let Some(description) = description {
        answer["error_description"] = description.into();
    }
    built(StatusCode::BAD_REQUEST, &answer)
}

fn built(status: StatusCode, answer: &Value) -> HttpResponse {
    let mut response = Response::new(answer.to_string().into_bytes());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wanted: Wanted, status: u16, kind: &str, body: &str) -> Result<(u16, Value), String> {
        let response = Response::builder().status(status).header("content-type", kind);
        let response = response.body(body.as_bytes().to_vec()).unwrap();
        standard("https://i/token", wanted, &response)
            .map(|found| {
                let body = serde_json::from_slice(found.body()).unwrap();
                (found.status().as_u16(), body)
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn refusals_in_all_forms() {
        let json_type = "application/json";
        for (status, body, code, description) in [
            (400, r#"{"error":"invalid_grant","error_description":"x"}"#, "invalid_grant", "x"),
            (400, r#"{"error":"invalid_grant","error_description":null}"#, "invalid_grant", ""),
            (400, r#"{"error":"invalid_grant","error_description":["x"]}"#, "invalid_grant", ""),
            (401, r#"{"error":{"code":"invalid_client","message":"x"}}"#, "invalid_client", "x"),
            (400, r#"{"error":{"code":400,"message":"x"}}"#, "400", "x"),
            (401, r#"{"errorCode":"E0000011","errorSummary":"x"}"#, "E0000011", "x"),
            (
                200,
                r#"{"error":"bad_verification_code","error_description":"x"}"#,
                "bad_verification_code",
                "x",
            ),
            (200, r#"{"ok":false,"error":"invalid_code"}"#, "invalid_code", ""),
            (403, r#"{"message":"x"}"#, "HTTP 403", "x"),
            (428, r#"{"error":"authorization_pending"}"#, "authorization_pending", ""),
            (429, "", "slow_down", ""),
            (429, "{}", "slow_down", ""),
            (401, "", "HTTP 401", ""),
            (401, "<html>", "HTTP 401", ""),
            (400, r#"{"error":"invalid_grant","access_token":""}"#, "invalid_grant", ""),
        ] {
            let (found, answer) = read(Wanted::Token, status, json_type, body).unwrap();
            assert_eq!((found, answer["error"].as_str()), (400, Some(code)), "{body}");
            let said = answer["error_description"].as_str().unwrap_or_default();
            assert_eq!(said, description, "{body}");
        }
    }

    /// Nobody should be asked to log in because of a proxy or a captive portal.
    #[test]
    fn faults_are_no_refusals() {
        for (status, body, want) in [
            (503, r#"{"error":"invalid_grant"}"#, "answered 503"),
            (403, "<html>blocked by the proxy", "answered 403"),
            (302, "", "answered 302"),
            (407, "", "answered 407"),
            (200, "<html>captive portal", "does the network want you to sign in first"),
            (200, "", "it is empty"),
            (200, "[]", "it is not the JSON"),
            (200, "{}", "it holds no token"),
            (200, r#"{"access_token":null,"id_token":""}"#, "it holds no token"),
        ] {
            let error = read(Wanted::Token, status, "text/html", body).unwrap_err();
            assert!(error.contains(want), "{status} {body}: {error}");
        }
    }

    #[test]
    fn a_form_is_an_answer_too() {
        let body = "access_token=a&token_type=bearer&refresh_token=r+1";
        for kind in ["application/x-www-form-urlencoded", "text/plain; charset=utf-8"] {
            let (_, answer) = read(Wanted::Token, 200, kind, body).unwrap();
            assert_eq!(
                (&answer["access_token"], &answer["refresh_token"]),
                (&json!("a"), &json!("r 1"))
            );
        }
        assert!(read(Wanted::Token, 200, "application/json", body).is_err());
        assert!(read(Wanted::Token, 200, "text/plain", "busy").is_err());
    }
}
