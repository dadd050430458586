//! Authorization code with PKCE, by a browser on this machine (RFC 8252, RFC 7636).

use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use super::LoginError;
use crate::address::Link;
use crate::browser;
use crate::callback::{Answer, Begin, Callback, Event, Listener, ListenerTls};
use crate::console::Console;
use crate::issuer::{Issuer, IssuerError, Past};
use crate::oauth::{Authorization, is_refused_code};
use crate::pages::Pages;
use crate::settings::{Browser, Login};
use crate::store::Record;
use crate::verify::VerifyError;

/// When to tell a person who sees nothing but a waiting terminal what may be wrong.
const HINT: Duration = Duration::from_secs(20);
/// Codes that the issuer may refuse before we give up.
const TRIES: u32 = 5;

/// What to do about a callback whose code was no good.
enum Failed {
    /// Another one may come: this one was somebody else's doing.
    Foreign(LoginError),
    /// No other would do better.
    Final(LoginError),
}

/// Logs in with a browser, opened as `how` says.
pub fn login(
    issuer: &Issuer,
    settings: &Login,
    how: &Browser,
    client_id: &str,
    console: Console,
) -> Result<Record, LoginError> {
    let kubekeys = env::var("KUBEKEY_TEMPLATEDIR").ok().filter(|folder| !folder.is_empty());
    let pages = Pages::load(settings.template_dir.as_deref(), kubekeys.as_deref().map(Path::new))?;
    let tls = settings
        .listener_tls
        .as_ref()
        .map(|(certificate, key)| ListenerTls::load(certificate, key))
        .transpose()
        .map_err(LoginError::ListenerTls)?;
    let listener = Listener::bind(settings, tls)?;
    let redirect = listener.redirect_uri().to_owned();
    let authorization = issuer.authorization(&redirect)?;
    console.trace(|| format!("redirect URI {redirect}"));
    let metadata = issuer.oauth.metadata();
    let serving = listener.serve(Begin {
        authorization_url: authorization.url.to_string(),
        state: &authorization.state,
        issuer: metadata.issuer.clone(),
        issuer_required: metadata.authorization_response_iss_parameter_supported,
        at_root: settings.start_at_root,
        timeout: settings.timeout,
    });
    let start = serving.start_url();
    let link = Link::own(start).map_err(|error| LoginError::Input(error.to_string()))?;
    if browser::open(how, &link, console) {
        console.say(format_args!("Log in with the browser. If none opens, go to {start}"));
    } else {
        console.say(format_args!("Log in at {start}"));
    }

    let deadline = Instant::now() + settings.timeout;
    let timeout = || LoginError::Timeout {
        seconds: settings.timeout.as_secs(),
        redirect: redirect.clone(),
        client: client_id.to_owned(),
    };
    let mut hint = Some(Instant::now() + HINT).filter(|hint| *hint < deadline);
    let mut tries = TRIES;
    loop {
        let callback = match serving.next(hint.unwrap_or(deadline)) {
            Some(Event::Callback(callback)) => callback,
            Some(Event::Contested) => return Err(LoginError::Contested),
            None if hint.take().is_none() => return Err(timeout()),
            None => {
                console.say(format_args!(
                    "Still waiting. If the issuer's page complains about the redirect URI, register {redirect} for client {client_id:?} there."
                ));
                continue;
            }
        };
        match accept(issuer, &authorization, &callback, &redirect) {
            // The answer may be the quicker one's of two: whose it is, nobody can say.
            Ok(_) if serving.is_contested() => {
                callback.finish(pages.fail(&LoginError::Contested.to_string(), None));
                return Err(LoginError::Contested);
            }
            Ok(record) => {
                finish(callback, &pages, settings, &record);
                return Ok(record);
            }
            Err(Failed::Foreign(error)) if tries > 1 => {
                tries -= 1;
                console.say(format_args!("A code was refused, the login goes on: {error}"));
                callback.refuse(pages.fail(&error.to_string(), Some(start)));
            }
            Err(Failed::Foreign(error) | Failed::Final(error)) => {
                callback.finish(pages.fail(&error.to_string(), None));
                return Err(error);
            }
        }
    }
}

fn accept(
    issuer: &Issuer,
    authorization: &Authorization,
    callback: &Callback,
    redirect: &str,
) -> Result<Record, Failed> {
    let code = match &callback.answer {
        Answer::Code(code) => code,
        Answer::Error { code, description } => {
            return Err(Failed::Final(LoginError::Callback {
                code: code.clone(),
                description: description.clone(),
                redirect: redirect.to_owned(),
            }));
        }
    };
    let answer = issuer.oauth.exchange(authorization, code).map_err(|error| {
        if is_refused_code(&error) {
            Failed::Foreign(error.into())
        } else {
            Failed::Final(error.into())
        }
    })?;
    let past = Past { nonce: Some(&authorization.nonce), before: None };
    issuer.accept(answer, past).map_err(|error| match error {
        // A code of another login that somebody put under our state.
        IssuerError::Verify(VerifyError::Nonce) => Failed::Foreign(error.into()),
        error => Failed::Final(error.into()),
    })
}

fn finish(callback: Callback, pages: &Pages, settings: &Login, record: &Record) {
    // The ID token has the person's name; an access token may not.
    let shown = record.id_token.as_deref().and_then(|token| crate::claims::Claims::of(token).ok());
    let Some(claims) = shown.or_else(|| record.claims()) else { return };
    let mut page = pages.ok(&claims);
    page.instead = settings.afterwards.as_ref().map(ToString::to_string);
    callback.finish(page);
}
