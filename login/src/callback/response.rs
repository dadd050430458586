//! Answers to the browser. None may be kept, framed, or tell the next site where it came from: the address of a callback
//! holds a code.

use std::fmt::Write as _;

/// What none of our pages needs.
const NOWHERE: &str = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Our own pages carry their style and load nothing.
const BUILT_IN: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// An organization's may bring pictures, fonts and style sheets, from the web over TLS. Scripts run nowhere: a page stands
/// under an address that holds a code, on a host that other programs of this machine share.
const FROM_A_FOLDER: &str = "default-src 'none'; style-src 'unsafe-inline' https:; img-src https: data:; font-src https: data:";

/// An HTML page for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status to send.
    pub status: u16,
    /// The document.
    pub html: String,
    /// It is one of ours, which needs nothing from elsewhere; a page from a folder may.
    pub built_in: bool,
    /// Send the browser there instead of showing the page.
    pub instead: Option<String>,
}

/// A page as bytes on the wire.
pub fn page(page: &Page) -> Vec<u8> {
    if let Some(url) = &page.instead {
        return redirect(url);
    }
    let mut head = head_without_policy(page.status, "text/html; charset=utf-8", page.html.len());
    let policy = if page.built_in { BUILT_IN } else { FROM_A_FOLDER };
    let _ = write!(head, "Content-Security-Policy: {policy}; {NOWHERE}\r\n");
    whole(head, &page.html)
}

/// A redirect as bytes on the wire.
pub fn redirect(url: &str) -> Vec<u8> {
    redirect_with(url, None)
}

/// A redirect that sets a cookie.
pub fn redirect_with(url: &str, cookie: Option<&str>) -> Vec<u8> {
    // URLs come from the crate `url`, which encodes control bytes; a header must not be split all the same.
    let url: String = url.chars().filter(|c| !c.is_control()).collect();
    let mut head = head(302, "text/plain; charset=utf-8", 0);
    let _ = write!(head, "Location: {url}\r\n");
    if let Some(cookie) = cookie {
        let _ = write!(head, "Set-Cookie: {cookie}\r\n");
    }
    whole(head, "")
}

/// A refusal as bytes on the wire.
pub fn refusal(status: u16, reason: &str) -> Vec<u8> {
    let body = format!("{reason}\n");
    let mut head = head(status, "text/plain; charset=utf-8", body.len());
    if status == 405 {
        head.push_str("Allow: GET\r\n");
    }
    whole(head, &body)
}

fn head(status: u16, content_type: &str, length: usize) -> String {
    let mut head = head_without_policy(status, content_type, length);
    let _ = write!(head, "Content-Security-Policy: default-src 'none'; {NOWHERE}\r\n");
    head
}

fn head_without_policy(status: u16, content_type: &str, length: usize) -> String {
    let reason = match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        421 => "Misdirected Request",
        _ => "Service Unavailable",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
    )
}

fn whole(mut head: String, body: &str) -> Vec<u8> {
    head.push_str("\r\n");
    head.push_str(body);
    head.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn break_in_12_every_answer_hides_its_address_is_not_kept_and_has_a_policy() {
        let shown = Page { status: 200, html: "x".to_owned(), built_in: true, instead: None };
        let theirs = Page { built_in: false, ..shown.clone() };
        let sent_on = Page { instead: Some("https://after.example/".to_owned()), ..shown.clone() };
        for answer in
            [page(&shown), page(&theirs), page(&sent_on), redirect("https://i"), refusal(405, "no")]
        {
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains("\r\nReferrer-Policy: no-referrer\r\n"), "{answer}");
            assert!(answer.contains("\r\nCache-Control: no-store\r\n"), "{answer}");
            assert!(answer.contains("\r\nX-Frame-Options: DENY\r\n"), "{answer}");
            assert_eq!(
                answer.matches("\r\nContent-Security-Policy: default-src 'none'; ").count(),
                1
            );
            assert!(answer.contains("frame-ancestors 'none'\r\n"), "{answer}");
            assert!(!answer.contains("script-src"), "{answer}");
            assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{answer}");
        }
    }

    #[test]
    fn a_redirect_cannot_split_the_head() {
        let answer = String::from_utf8(redirect("https://i/\r\nSet-Cookie: a=b")).unwrap();
        assert!(!answer.contains("\r\nSet-Cookie"), "{answer}");
    }
}
