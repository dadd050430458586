//! The ways to ask an issuer for a token.

mod authcode;
mod device;
mod keyboard;
mod password;
pub mod ready;
mod ssh;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use crate::{
    browser,
    callback::ListenError,
    console::{Console, plain},
    discovery::DiscoveryError,
    issuer::{Issuer, IssuerError, Past},
    oauth::OAuthError,
    pages::PagesError,
    required::OtherLogin,
    settings::{Grant, Login},
    store::Record,
    verify::VerifyError,
};

/// Why a login did not come about.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// What the issuer said or gave.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The listener's certificate.
    #[error(
        "the listener's certificate cannot be used: {0}; see --local-server-cert and --local-server-key"
    )]
    ListenerTls(String),
    /// A login by a password, which is what it is.
    #[error(
        "{0}; a login by a password cannot ask the issuer for that: log in with a browser (--grant-type=authcode) or on another device (--grant-type=device-code)"
    )]
    PasswordIsNot(OtherLogin),
    /// A token from elsewhere that is needed for it.
    #[error(transparent)]
    Ready(#[from] ready::ReadyError),
    /// The pages.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The issuer sent the browser back with an error.
    #[error("{}", callback_error(.code, .description.as_deref(), .redirect))]
    Callback {
        /// Code of RFC 6749, section 4.1.2.1.
        code: String,
        /// What the issuer says in addition.
        description: Option<String>,
        /// The redirect URI.
        redirect: String,
    },
    /// Nobody came.
    #[error(
        "nobody logged in within {seconds} s; if the issuer's page complained about the redirect URI, register {redirect} for client {client:?} there"
    )]
    Timeout {
        /// How long we waited.
        seconds: u64,
        /// The redirect URI.
        redirect: String,
        /// The client ID.
        client: String,
    },
    /// Nobody came to a device's login.
    #[error(
        "nobody logged in within {seconds} s (--authentication-timeout-sec); the code was good for longer"
    )]
    Impatient {
        /// How long we waited.
        seconds: u64,
    },
    /// Two browsers.
    #[error(
        "two browsers opened the address of the login, and one of them may have been another user's: nothing was accepted; run the command again (--skip-open-browser only prints the address)"
    )]
    Contested,
    /// A question, and nobody to ask.
    #[error(
        "{0} must be asked for, but kubectl lends no terminal (interactiveMode in the kubeconfig); {1}"
    )]
    NotInteractive(&'static str, &'static str),
    /// A login, and nobody to log in.
    #[error(
        "a login is needed, but there is neither a browser nor a terminal here; see --grant-type, --token-file and --token-env"
    )]
    Nobody,
    /// What was typed in cannot be used.
    #[error("{0}")]
    Input(String),
    /// The terminal failed.
    #[error("the terminal cannot be read: {}; --grant-type=device-code needs none", plain(.0))]
    Terminal(std::io::Error),
    /// Nothing was typed in, and nothing will be.
    #[error("nothing was entered: the input has ended; --grant-type=device-code needs none")]
    NothingEntered,
    /// The person wants no more of it.
    #[error("the login was cancelled; run the command again to log in")]
    Interrupted,
}

impl LoginError {
    /// The error code, if the issuer refused.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Issuer(IssuerError::OAuth(error)) => error.code(),
            _ => None,
        }
    }

    /// What it means that the token of a login by a password is not taken.
    fn of_password(error: IssuerError) -> Self {
        match error {
            IssuerError::Verify(VerifyError::Login(other)) => Self::PasswordIsNot(other),
            error => error.into(),
        }
    }

    /// What it means that nothing could be read.
    fn unread<T>(error: io::Error) -> Result<T, Self> {
        Err(match error.kind() {
            io::ErrorKind::Interrupted => Self::Interrupted,
            io::ErrorKind::UnexpectedEof => Self::NothingEntered,
            _ => Self::Terminal(error),
        })
    }
}

impl From<OAuthError> for LoginError {
    fn from(error: OAuthError) -> Self {
        Self::Issuer(error.into())
    }
}

impl From<DiscoveryError> for LoginError {
    fn from(error: DiscoveryError) -> Self {
        OAuthError::from(error).into()
    }
}

fn callback_error(code: &str, description: Option<&str>, redirect: &str) -> String {
    let said = description.map_or_else(|| code.to_owned(), |text| format!("{code}: {text}"));
    match code {
        "access_denied" => format!(
            "the login was cancelled or is not permitted ({said}); run the command again to log in"
        ),
        "invalid_scope" => {
            format!("the issuer does not allow one of the scopes, see --oidc-extra-scope ({said})")
        }
        "unauthorized_client" | "invalid_client" => {
            format!(
                "the issuer does not let this client log in with a browser ({said}); allow it there, or choose another --grant-type"
            )
        }
        _ => format!(
            "the issuer refused the login ({said}); the redirect URI, which must be registered there, was {redirect} (--oidc-redirect-url, --listen-address)"
        ),
    }
}

/// A login that somebody asks for.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The issuer.
    pub issuer: &'a Arc<Issuer>,
    /// How to log in.
    pub settings: &'a Login,
    /// The client ID, for messages.
    pub client_id: &'a str,
    /// Standard input is the person's.
    pub interactive: bool,
    /// The way to the person.
    pub console: Console,
    /// The login's own token, where that is to be exchanged.
    pub subject: Option<&'a str>,
    /// Told where the person is to log in, for others that wait for it.
    pub announce: &'a dyn Fn(&str),
}

impl Ask<'_> {
    fn announce(&self, place: &str) {
        (self.announce)(place);
    }
}

/// Asks for a token by the grant of the settings.
pub fn login(ask: &Ask<'_>) -> Result<Record, LoginError> {
    let Ask { issuer, settings, interactive, .. } = *ask;
    match &settings.grant {
        Grant::AuthorizationCode => authcode::login(ask, &settings.browser),
        Grant::BrowserOrDevice if browser::is_likely(|name| std::env::var(name).ok()) => {
            authcode::login(ask, &settings.browser)
        }
        Grant::BrowserOrDevice if !interactive && !std::io::stderr().is_terminal() => {
            Err(LoginError::Nobody)
        }
        Grant::BrowserOrDevice => authcode::anywhere(ask),
        Grant::DeviceCode => device::login(ask),
        Grant::Keyboard => keyboard::login(ask),
        Grant::Password { username, password } => {
            let (username, password) =
                password::ask(username.as_deref(), password.as_ref(), interactive)?;
            let answer = issuer.oauth.password(&username, &password)?;
            issuer.accept(answer, Past::default()).map_err(LoginError::of_password)
        }
        Grant::ClientCredentials => {
            Ok(issuer.accept(issuer.oauth.client_credentials()?, Past::default())?)
        }
        Grant::TokenExchange(exchange) => {
            let subject = match &exchange.subject {
                Some(source) => source.text()?,
                None => ask.subject.unwrap_or_default().to_owned(),
            };
            let actor = exchange.actor.as_ref().map(|(source, _)| source.text()).transpose()?;
            let answer = issuer.oauth.exchange_token(exchange, &subject, actor.as_deref())?;
            Ok(issuer.accept(answer, Past::default())?)
        }
        Grant::Ready(_) => Err(LoginError::Nobody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callback_errors_say_what_to_change() {
        for (code, want) in [
            ("access_denied", "cancelled"),
            ("invalid_scope", "--oidc-extra-scope"),
            ("unauthorized_client", "this client"),
            ("invalid_request", "http://localhost:8000"),
        ] {
            let text = callback_error(code, Some("because"), "http://localhost:8000");
            assert!(text.contains(want) && text.contains("because"), "{text}");
        }
    }
}
