//! The pages a person sees: plain forms, no script, no outside resource.

use std::fmt::Write as _;

use http::{StatusCode, header};

use crate::reply::{self, Reply};

/// The login page. `action` is where its form goes.
pub(crate) fn login(
    status: StatusCode,
    issuer: &str,
    client: &str,
    action: &str,
    message: Option<&str>,
) -> Reply {
    let form = format!(
        "<p>to go on to <b>{}</b></p>{}<form method=\"post\" action=\"{}\">{CREDENTIALS}\
         <button name=\"login\" value=\"1\">Log in</button>\
         <button name=\"cancel\" value=\"1\" formnovalidate>Cancel</button></form>",
        escape(client),
        alert(message),
        escape(action),
    );
    page(status, &format!("Log in to {issuer}"), &form)
}

/// The page where a device is let in.
pub(crate) fn device(
    status: StatusCode,
    action: &str,
    user_code: &str,
    message: Option<&str>,
) -> Reply {
    let form = format!(
        "<p>Enter the code that the device shows.</p>{}<form method=\"post\" action=\"{}\">\
         <label>Code <input name=\"user_code\" value=\"{}\" required autocomplete=\"off\"></label>\
         {CREDENTIALS}<button name=\"allow\" value=\"1\">Allow</button>\
         <button name=\"deny\" value=\"1\">Deny</button></form>",
        alert(message),
        escape(action),
        escape(user_code),
    );
    page(status, "Connect a device", &form)
}

/// A page that says what has been done.
pub(crate) fn done(title: &str, text: &str) -> Reply {
    page(StatusCode::OK, title, &format!("<p>{}</p>", escape(text)))
}

/// A page that says what went wrong.
pub(crate) fn error(status: StatusCode, text: &str) -> Reply {
    page(status, "This does not work", &alert(Some(text)))
}

const CREDENTIALS: &str = "<label>User name <input name=\"username\" required autofocus \
    autocomplete=\"username\"></label><label>Password <input name=\"password\" type=\"password\" \
    required autocomplete=\"current-password\"></label>";

const STYLE: &str = ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
    body{max-width:24rem;margin:12vh auto;padding:0 1rem}label{display:block;margin:.75rem 0}\
    input{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.5rem}\
    button{font:inherit;padding:.5rem 1rem;margin:.75rem .5rem 0 0}[role=alert]{font-weight:bold}";

fn page(status: StatusCode, title: &str, body: &str) -> Reply {
    let title = escape(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style><main><h1>{title}</h1>{body}</main></html>"
    );
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    reply::with(reply::page(status, html), header::CONTENT_SECURITY_POLICY, policy)
}

fn alert(message: Option<&str>) -> String {
    message.map(|text| format!("<p role=\"alert\">{}</p>", escape(text))).unwrap_or_default()
}

/// Text as it has to stand in an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing into a string cannot fail.
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_cannot_become_markup() {
        let reply = login(StatusCode::OK, "<i>", "<script>", "x\" onclick=\"y", Some("'&'"));
        let html = String::from_utf8(reply.into_body().to_vec()).unwrap();
        for bad in ["<i>", "<script>", "x\" onclick", "'&'"] {
            assert!(!html.contains(bad), "{bad}");
        }
        assert!(html.contains("&#60;script&#62;"));
    }
}
