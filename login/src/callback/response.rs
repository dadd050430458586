//! Answers to the browser. None may be kept, framed, or tell the next site where it came from: the address of a callback
//! holds a code.

use std::fmt::Write as _;

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
    let mut head = head(page.status, "text/html; charset=utf-8", page.html.len());
    if page.built_in {
        head.push_str(
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'\r\n",
        );
    }
    whole(head, &page.html)
}

/// A redirect as bytes on the wire.
pub fn redirect(url: &str) -> Vec<u8> {
    // URLs come from the crate `url`, which encodes control bytes; a header must not be split all the same.
    let url: String = url.chars().filter(|c| !c.is_control()).collect();
    let mut head = head(302, "text/plain; charset=utf-8", 0);
    let _ = write!(head, "Location: {url}\r\n");
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
    fn every_answer_hides_its_address_and_is_not_kept() {
        let shown = Page { status: 200, html: "x".to_owned(), built_in: true, instead: None };
        let sent_on = Page { instead: Some("https://after.example/".to_owned()), ..shown.clone() };
        for answer in [page(&shown), page(&sent_on), redirect("https://i"), refusal(405, "no")] {
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains("\r\nReferrer-Policy: no-referrer\r\n"), "{answer}");
            assert!(answer.contains("\r\nCache-Control: no-store\r\n"), "{answer}");
            assert!(answer.contains("\r\nX-Frame-Options: DENY\r\n"), "{answer}");
            assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{answer}");
        }
    }

    #[test]
    fn a_redirect_cannot_split_the_head() {
        let answer = String::from_utf8(redirect("https://i/\r\nSet-Cookie: a=b")).unwrap();
        assert!(!answer.contains("\r\nSet-Cookie"), "{answer}");
    }
}
