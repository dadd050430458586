//! Where a portal's token comes from: the names of the login with which it was made.
//!
//! A session that has ended at its provider is named by that provider's `sub`, `sid` or `jti`, and a token of a portal has names of its
//! own. So it carries those of its login, too, and entries are compared with both. An entry only takes away, and so does an origin: nobody gains
//! by one. Only tokens that a portal's own key has signed are asked for theirs.
//!
//! It is one text, in the form of a [`record`](crate::record): `iss=https://i&sub=1234&sid=ab&jti=c&iat=1700000000`. Whatever passes it on
//! passes a text on, and it is read in one place.

use super::{Login, revocations::MOST_NAME};
use crate::record::{decoded, write};

/// The claim.
pub const ORIGIN: &str = "gateway.kube-oidc.dev/origin";
/// Tokens that may stand between one and its login. Nobody needs more, and each adds its name.
pub const MOST_BETWEEN: usize = 8;

/// The names of the login with which a token was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
    /// `jti`
    pub id: String,
    /// `sid`
    pub session: String,
    /// `iat`, in seconds since 1970.
    pub issued_at: Option<u64>,
    /// The `jti` of each token of the portal's own that stands between the login and the token: `via`.
    pub between: Vec<String>,
}

impl Origin {
    /// That of a token which is made with this login. What is made with a token that was made keeps its origin: else it would outlive
    /// the login by being made again.
    #[must_use]
    pub fn of(login: &Login) -> Self {
        // No entry has a longer name.
        let kept =
            |name: &String| if name.len() > MOST_NAME { String::new() } else { name.clone() };
        let Some(origin) = login.origin.as_deref() else {
            return Self {
                issuer: login.issuer.clone(),
                subject: kept(&login.subject),
                id: kept(&login.id),
                session: kept(&login.session),
                issued_at: login.issued_at,
                between: Vec::new(),
            };
        };
        let mut origin = Self { issued_at: login.issued_at, ..origin.clone() };
        origin.between.extend(Some(kept(&login.id)).filter(|id| !id.is_empty()));
        origin
    }

    /// Reads the text; what cannot be read names nothing.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut origin = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let Some(value) = decoded(value) else { continue };
            match name {
                "iss" => origin.issuer = value,
                "sub" => origin.subject = value,
                "sid" => origin.session = value,
                "jti" => origin.id = value,
                "iat" => origin.issued_at = value.parse().ok(),
                "via" => origin.between.push(value),
                _ => {}
            }
        }
        (origin != Self::default()).then_some(origin)
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let Self { issuer, subject, session, id, .. } = self;
        for (name, value) in [("iss", issuer), ("sub", subject), ("sid", session), ("jti", id)] {
            if !value.is_empty() {
                write(&mut text, name, "", value);
            }
        }
        if let Some(issued_at) = self.issued_at {
            write(&mut text, "iat", "", &issued_at.to_string());
        }
        for id in &self.between {
            write(&mut text, "via", "", id);
        }
        // A record's pairs stand behind its version.
        text.split_off(1.min(text.len()))
    }

    /// Bytes of memory that it holds, roughly.
    pub(super) fn size(&self) -> usize {
        let texts = [&self.issuer, &self.subject, &self.id, &self.session];
        let texts = texts.into_iter().chain(&self.between);
        texts.fold(size_of::<Self>(), |sum, text| sum.saturating_add(text.len()))
    }
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn login() -> Login {
        Login {
            subject: "a&sid=b".to_owned(),
            id: "é%\"\\ ".to_owned(),
            session: "s".to_owned(),
            issued_at: Some(500),
            ..Login::of("https://i?a=b")
        }
    }

    /// A name cannot write another one: whoever chooses a `sub` names no other session.
    #[test]
    fn an_origin_comes_back_whatever_its_names_are() {
        let origin = Origin::of(&login());
        let text = origin.text();
        assert_eq!(text, "iss=https://i?a=b&sub=a%26sid=b&sid=s&jti=%C3%A9%25%22%5C%20&iat=500");
        assert_eq!(Origin::read(&text), Some(origin));
        for nothing in ["", "&", "iss", "x=y", "iss=%ff", "{}", "iat=x"] {
            assert_eq!(Origin::read(nothing), None, "{nothing}");
        }
        assert_eq!(Origin::default().text(), "");
    }

    #[test]
    fn what_is_made_with_a_token_that_was_made_keeps_the_first_origin() {
        let first = Origin::of(&login());
        let made = |id: &str, origin: &Origin| {
            let login = Login { id: id.to_owned(), issued_at: Some(900), ..Login::of("portal") };
            Origin::of(&login.made_with(Some(origin.clone())))
        };
        let second = made("p1", &first);
        assert_eq!(second, Origin { between: vec!["p1".to_owned()], ..first.clone() });
        let third = made("p2", &second);
        assert_eq!(third.between, ["p1", "p2"]);
        assert_eq!((third.issuer, third.issued_at), (first.issuer, Some(500)));
    }

    /// No entry has such a name, and the token stays as small as it can.
    #[test]
    fn a_name_that_no_entry_can_have_is_left_out() {
        let login =
            Login { subject: "a".repeat(MOST_NAME), id: "a".repeat(MOST_NAME + 1), ..login() };
        let origin = Origin::of(&login);
        assert_eq!((origin.subject.len(), origin.id.as_str()), (MOST_NAME, ""));
    }
}
