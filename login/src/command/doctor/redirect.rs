//! What an issuer's answer says about a login that has not begun: `prompt=none` shows no page and asks nobody (OpenID Connect
//! Core, section 3.1.2.1), so that the answer is about the request alone.

use url::Url;

/// What was told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The issuer sends its answers to the redirect URI, and somebody may log in there.
    Registered,
    /// It sends them there, and refuses the login for another reason.
    Refused(String),
    /// It does not take the request, and sends nobody anywhere. This is its answer to a redirect URI that it does not know, since
    /// whoever wrote that must get nothing (RFC 6749, section 4.1.2.1).
    NotTaken(u16),
    /// It shows a page of its own, or has a fault: only a browser would tell.
    Unknown,
}

/// Reads the answer to an authorization request with `prompt=none`.
pub fn told(redirect_uri: &str, status: u16, location: Option<&str>) -> Told {
    match (status, location.and_then(|location| Url::parse(location).ok())) {
        (300..400, Some(to)) if is_at(&to, redirect_uri) => answer(&to),
        (400..500, _) => Told::NotTaken(status),
        _ => Told::Unknown,
    }
}

fn is_at(to: &Url, redirect_uri: &str) -> bool {
    let bare = |url: &Url| {
        let mut url = url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url
    };
    Url::parse(redirect_uri).is_ok_and(|uri| bare(&uri) == bare(to))
}

/// A code or an error (OpenID Connect Core, section 3.1.2.6). Those that say that a person is needed are what a good request gets.
fn answer(to: &Url) -> Told {
    let value = |name: &str| to.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned());
    let Some(error) = value("error") else { return Told::Registered };
    match error.as_str() {
        "login_required"
        | "interaction_required"
        | "consent_required"
        | "account_selection_required" => Told::Registered,
        _ => Told::Refused(match value("error_description") {
            Some(description) => format!("{error}: {description}"),
            None => error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_at_the_redirect_uri_proves_that_it_is_registered() {
        let refused = |text: &str| Told::Refused(text.to_owned());
        for (status, location, want) in [
            (302, Some("http://localhost:8000/?error=login_required&state=x"), Told::Registered),
            (303, Some("http://localhost:8000?error=interaction_required"), Told::Registered),
            (302, Some("http://localhost:8000/?code=c&state=x"), Told::Registered),
            (
                302,
                Some("http://localhost:8000/?error=invalid_scope&error_description=no+groups"),
                refused("invalid_scope: no groups"),
            ),
            (
                302,
                Some("http://localhost:8000/?error=unauthorized_client"),
                refused("unauthorized_client"),
            ),
            // A page of errors of the issuer's own, or its login: neither says anything.
            (302, Some("https://i.example/signin/oauth/error?authError=x"), Told::Unknown),
            (302, Some("/login"), Told::Unknown),
            (302, Some("http://localhost:8001/?error=login_required"), Told::Unknown),
            (302, Some("http://localhost:8000.i.example/?code=c"), Told::Unknown),
            (302, None, Told::Unknown),
            (200, None, Told::Unknown),
            (503, None, Told::Unknown),
            (400, None, Told::NotTaken(400)),
            (403, Some("http://localhost:8000/?code=c"), Told::NotTaken(403)),
        ] {
            assert_eq!(told("http://localhost:8000", status, location), want, "{location:?}");
        }
    }
}
