//! Authorization code with PKCE (RFC 8252, RFC 7636), by a browser on this machine; and where there seems to be none, by all ways at
//! the same time: whichever comes first.

use std::{
    env,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Ask, LoginError, device, keyboard, ssh};
use crate::{
    address::Link,
    browser,
    callback::{Answer, Begin, Callback, Event, Listener, ListenerTls, Serving},
    issuer::{IssuerError, Past},
    oauth::{Authorization, is_refused_code},
    pages::Pages,
    settings::{Browser, Login},
    store::Record,
    terminal,
    verify::VerifyError,
};

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

/// What comes while a login waits.
enum Came {
    /// A browser at the listener.
    Browser(Event),
    /// The device's login ended.
    Device(Box<Result<Record, LoginError>>),
    /// Somebody typed something in.
    Typed(std::io::Result<String>),
}

/// Logs in with a browser, opened as `how` says.
pub fn login(ask: &Ask<'_>, how: &Browser) -> Result<Record, LoginError> {
    let begun = Begun::new(ask)?;
    let start = begun.serving.start_url();
    let link = Link::own(start).map_err(|error| LoginError::Input(error.to_string()))?;
    if browser::open(how, &link, ask.console) {
        ask.console.note(format_args!("Log in with the browser. If none opens, go to {start}"));
    } else {
        ask.console.say(format_args!("Log in at {start}"));
    }
    ask.announce(start);
    begun.finish(ask, |_| {})
}

/// Logs in where no browser can be opened: a device code if the issuer has it, a browser that reaches the listener, the address at
/// which any other one ended; all of them at once.
pub fn anywhere(ask: &Ask<'_>) -> Result<Record, LoginError> {
    let device = device::begin(ask);
    let begun = match (Begun::new(ask), &device) {
        (Ok(begun), _) => begun,
        // One way is enough.
        (Err(error), Ok(device)) => {
            ask.console.trace(|| error.to_string());
            device.say(ask);
            return device::finish(ask, device);
        }
        (Err(error), Err(_)) => return Err(error),
    };
    match &device {
        Ok(device) => device.say(ask),
        Err(error) => ask.console.trace(|| error.to_string()),
    }
    let start = begun.serving.start_url().to_owned();
    ask.console.say(format_args!("Log in at {start} in a browser on this machine"));
    if device.is_err() {
        ask.announce(&start);
    }
    if let Some(command) = ssh::forward(&start, |name| env::var(name).ok()) {
        ask.console.say(format_args!("or there in a browser on yours, after: {command}"));
    }
    if ask.interactive {
        let url = &begun.authorization.url;
        ask.console.say(format_args!(
            "or at {url} in any browser; then paste here the address at which it ends, even if it shows an error, or the code:"
        ));
    }
    begun.finish(ask, |came| {
        if let Ok(device) = device {
            let (issuer, login, came) =
                (Arc::clone(ask.issuer), ask.settings.clone(), came.clone());
            thread::spawn(move || {
                let record = device::wait(&issuer, &login, &device);
                let _ = came.send(Came::Device(Box::new(record)));
            });
        }
        if ask.interactive {
            let came = came.clone();
            thread::spawn(move || while came.send(Came::Typed(terminal::line(""))).is_ok() {});
        }
    })
}

/// A login with a listener that waits.
struct Begun {
    pages: Pages,
    authorization: Authorization,
    serving: Serving,
    redirect: String,
}

impl Begun {
    fn new(ask: &Ask<'_>) -> Result<Self, LoginError> {
        let settings = ask.settings;
        let kubekeys = env::var("KUBEKEY_TEMPLATEDIR").ok().filter(|folder| !folder.is_empty());
        let pages =
            Pages::load(settings.template_dir.as_deref(), kubekeys.as_deref().map(Path::new))?;
        let tls = settings
            .listener_tls
            .as_ref()
            .map(|(certificate, key)| ListenerTls::load(certificate, key))
            .transpose()
            .map_err(LoginError::ListenerTls)?;
        let listener = Listener::bind(settings, tls)?;
        let redirect = listener.redirect_uri().to_owned();
        let authorization = ask.issuer.authorization(&redirect)?;
        ask.console.trace(|| format!("redirect URI {redirect}"));
        let metadata = ask.issuer.oauth.metadata();
        let serving = listener.serve(Begin {
            authorization_url: authorization.url.to_string(),
            state: &authorization.state,
            issuer: metadata.issuer.clone(),
            issuer_required: metadata.authorization_response_iss_parameter_supported,
            at_root: settings.start_at_root,
            timeout: settings.timeout,
        });
        Ok(Self { pages, authorization, serving, redirect })
    }

    /// Waits for whatever comes. `more` starts what else may come.
    fn finish(self, ask: &Ask<'_>, more: impl FnOnce(&Sender<Came>)) -> Result<Record, LoginError> {
        let (sender, comes) = mpsc::channel();
        let deadline = Instant::now() + ask.settings.timeout;
        more(&sender);
        self.serving.hand_on(move |event| sender.send(Came::Browser(event)).is_ok());
        let mut hint = Some(Instant::now() + HINT).filter(|hint| *hint < deadline);
        let mut tries = TRIES;
        loop {
            let until = hint.unwrap_or(deadline);
            let came = match comes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(came) => came,
                Err(RecvTimeoutError::Timeout) if hint.take().is_some() => {
                    ask.console.note(self.hint(ask));
                    continue;
                }
                Err(_) => return Err(self.timeout(ask)),
            };
            match came {
                Came::Browser(Event::Contested) => return Err(LoginError::Contested),
                Came::Browser(Event::Callback(callback)) => {
                    if let Some(outcome) = self.callback(ask, callback, &mut tries) {
                        return outcome;
                    }
                }
                Came::Device(outcome) => match *outcome {
                    Ok(record) => return Ok(record),
                    // Another way may still lead somewhere; a person who says no means all of them.
                    Err(error) if error.code() == Some("access_denied") => return Err(error),
                    Err(error) => {
                        ask.console.note(format_args!("The code is of no use any more: {error}"));
                    }
                },
                Came::Typed(Ok(text)) => match self.typed(ask, &text) {
                    Ok(record) => return Ok(record),
                    Err(error) => ask.console.say(format_args!("That was not it: {error}")),
                },
                Came::Typed(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
                    return Err(LoginError::Interrupted);
                }
                // Nobody types there.
                Came::Typed(Err(error)) => ask.console.trace(|| error.to_string()),
            }
        }
    }

    fn hint(&self, ask: &Ask<'_>) -> String {
        format!(
            "Still waiting. If the issuer's page complains about the redirect URI, register {} for client {:?} there.",
            self.redirect, ask.client_id
        )
    }

    fn timeout(&self, ask: &Ask<'_>) -> LoginError {
        LoginError::Timeout {
            seconds: ask.settings.timeout.as_secs(),
            redirect: self.redirect.clone(),
            client: ask.client_id.to_owned(),
        }
    }

    /// What an answer of the issuer comes to; `None` if the login goes on.
    fn callback(
        &self,
        ask: &Ask<'_>,
        callback: Callback,
        tries: &mut u32,
    ) -> Option<Result<Record, LoginError>> {
        match self.accept(ask, &callback.answer) {
            // The answer may be the quicker one's of two: whose it is, nobody can say.
            Ok(_) if self.serving.is_contested() => {
                callback.finish(self.pages.fail(&LoginError::Contested.to_string(), None));
                Some(Err(LoginError::Contested))
            }
            Ok(record) => {
                finish(callback, &self.pages, ask.settings, &record);
                Some(Ok(record))
            }
            Err(Failed::Foreign(error)) if *tries > 1 => {
                *tries -= 1;
                ask.console.say(format_args!("A code was refused, the login goes on: {error}"));
                callback
                    .refuse(self.pages.fail(&error.to_string(), Some(self.serving.start_url())));
                None
            }
            Err(Failed::Foreign(error) | Failed::Final(error)) => {
                callback.finish(self.pages.fail(&error.to_string(), None));
                Some(Err(error))
            }
        }
    }

    fn typed(&self, ask: &Ask<'_>, text: &str) -> Result<Record, LoginError> {
        let code = keyboard::code(text.trim(), &self.authorization)?;
        match self.accept(ask, &Answer::Code(code)) {
            Ok(record) => Ok(record),
            Err(Failed::Foreign(error) | Failed::Final(error)) => Err(error),
        }
    }

    fn accept(&self, ask: &Ask<'_>, answer: &Answer) -> Result<Record, Failed> {
        let code = match answer {
            Answer::Code(code) => code,
            Answer::Error { code, description } => {
                return Err(Failed::Final(LoginError::Callback {
                    code: code.clone(),
                    description: description.clone(),
                    redirect: self.redirect.clone(),
                }));
            }
        };
        let answer = ask.issuer.oauth.exchange(&self.authorization, code).map_err(|error| {
            if is_refused_code(&error) {
                Failed::Foreign(error.into())
            } else {
                Failed::Final(error.into())
            }
        })?;
        let past = Past { nonce: Some(&self.authorization.nonce), before: None };
        ask.issuer.accept(answer, past).map_err(|error| match error {
            // A code of another login that somebody put under our state.
            IssuerError::Verify(VerifyError::Nonce) => Failed::Foreign(error.into()),
            error => Failed::Final(error.into()),
        })
    }
}

fn finish(callback: Callback, pages: &Pages, settings: &Login, record: &Record) {
    // The ID token has the person's name; an access token may not.
    let Some(claims) = record.person_claims() else { return };
    let mut page = pages.ok(&claims);
    page.instead = settings.afterwards.as_ref().map(ToString::to_string);
    callback.finish(page);
}
