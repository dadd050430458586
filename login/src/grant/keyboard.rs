//! Authorization code typed in by the person, whose browser may be anywhere.

use url::Url;

use super::{Ask, LoginError};
use crate::{issuer::Past, oauth::Authorization, store::Record, terminal};

/// Logs in with a code from the keyboard.
pub fn login(ask: &Ask<'_>) -> Result<Record, LoginError> {
    let Ask { issuer, console, .. } = ask;
    if !ask.interactive {
        return Err(LoginError::NotInteractive("the code", "use --grant-type=device-code"));
    }
    let authorization = issuer.authorization(&ask.settings.keyboard_redirect)?;
    console.say(format_args!("Log in at {}", authorization.url));
    ask.announce(authorization.url.as_str());
    console.say("Then enter the code, or the whole address the browser ended at:");
    let line = terminal::line("").or_else(LoginError::unread)?;
    let code = code(line.trim(), &authorization)?;
    let answer = issuer.oauth.exchange(&authorization, &code)?;
    let past = Past { nonce: Some(&authorization.nonce), before: None };
    Ok(issuer.accept(answer, past)?)
}

/// The code in what was typed. An address carries the state too, which must be ours.
pub fn code(typed: &str, authorization: &Authorization) -> Result<String, LoginError> {
    if typed.is_empty() {
        return Err(LoginError::Input(
            "no code was entered; paste the code, or the address at which the browser ended"
                .to_owned(),
        ));
    }
    let url = match Url::parse(typed) {
        Ok(url) if url.query().is_some() => url,
        _ => return Ok(typed.to_owned()),
    };
    let parameter = |name: &str| {
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    if parameter("state").as_ref() != Some(authorization.state.secret()) {
        return Err(LoginError::Input(
            "this address belongs to another login; paste the one of this login".to_owned(),
        ));
    }
    if let Some(code) = parameter("error") {
        let description = parameter("error_description");
        let redirect = authorization.redirect_uri().to_owned();
        return Err(LoginError::Callback { code, description, redirect });
    }
    parameter("code").ok_or_else(|| {
        LoginError::Input(
            "this address holds no code; paste the one at which the browser ended".to_owned(),
        )
    })
}
