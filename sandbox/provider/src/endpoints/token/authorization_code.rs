//! Authorization code (RFC 6749, section 4.1.3) with its PKCE verifier (RFC 7636, section 4.6).

use ring::digest::{SHA256, digest};

use super::issue::{Granted, gets_refresh_token};
use crate::{
    call::Call,
    config::GrantType,
    encoding::base64url,
    endpoints::client,
    logins::Challenge,
    reply::{ErrorCode, OAuthError},
    state::IssuerShared,
};

pub(super) fn grant(issuer: &IssuerShared, call: &Call) -> Result<Granted, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let client = client::authorize(&state, call, GrantType::AuthorizationCode)?.clone();
    let secret =
        call.form.get("code").ok_or_else(|| ErrorCode::InvalidRequest.because("no code"))?;
    let invalid = |why| ErrorCode::InvalidGrant.because(why);
    let code = state
        .logins
        .codes
        .get(secret, now)
        .filter(|code| code.login.client == client.id)
        .ok_or_else(|| invalid("the code is unknown or has expired"))?;
    if code.used {
        let login = code.login.id.clone();
        state.logins.end(&login);
        return Err(invalid("the code has been used; its tokens are revoked"));
    }
    // One try only, so that a stolen code cannot be used to guess the verifier.
    code.used = true;
    if call.form.get("redirect_uri") != Some(code.redirect_uri.as_str()) {
        return Err(invalid("redirect_uri is not that of the authorization request"));
    }
    verify(code.challenge.as_ref(), call.form.get("code_verifier")).map_err(invalid)?;
    let login = code.login.clone();
    Ok(Granted { refresh: gets_refresh_token(&client, &login), login })
}

/// A verifier without a challenge is refused too (RFC 9700, section 2.1.1: the PKCE downgrade).
fn verify(challenge: Option<&Challenge>, verifier: Option<&str>) -> Result<(), &'static str> {
    let fits = match (challenge, verifier) {
        (None, None) => true,
        (None, Some(_)) => return Err("code_verifier without a code_challenge"),
        (Some(_), None) => return Err("code_verifier is missing"),
        (Some(Challenge::Plain(challenge)), Some(verifier)) => challenge == verifier,
        (Some(Challenge::S256(challenge)), Some(verifier)) => {
            *challenge == base64url(digest(&SHA256, verifier.as_bytes()).as_ref())
        }
    };
    if fits { Ok(()) } else { Err("code_verifier does not fit the code_challenge") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636, appendix B.
    #[test]
    fn verifiers() {
        let s256 = Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned());
        let good = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let plain = Challenge::Plain(good.to_owned());
        for (challenge, verifier, want) in [
            (None, None, true),
            (None, Some(good), false),
            (Some(&s256), Some(good), true),
            (Some(&s256), Some("other"), false),
            (Some(&s256), None, false),
            (Some(&plain), Some(good), true),
            (Some(&plain), Some("other"), false),
        ] {
            assert_eq!(verify(challenge, verifier).is_ok(), want, "{challenge:?} {verifier:?}");
        }
    }
}
