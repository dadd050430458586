//! An authorization request, checked (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2.1).

use crate::{
    call::Parameters,
    config::{ClientConfig, GrantType},
    endpoints::token::issue::requested_scope,
    logins::{Challenge, Scope},
    reply::{ErrorCode, OAuthError},
    state::State,
};

/// A request that can be granted once somebody has logged in.
pub(super) struct Request {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) scope: Scope,
    pub(super) nonce: Option<String>,
    pub(super) challenge: Option<Challenge>,
    pub(super) prompt: Prompt,
    /// Seconds since the password was given.
    pub(super) max_age: Option<i64>,
    /// How to log in.
    pub(super) acr: Option<String>,
    /// `access_type=offline`, Google's way to ask for a refresh token.
    pub(super) offline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    IfNeeded,
    Login,
    None,
}

/// Why a request is refused, and who is told.
pub(super) enum Refused {
    /// The person, because nobody vouches for the address to send the browser back to (RFC 6749, section 4.1.2.1).
    NoWayBack(String),
    /// The client.
    ToClient { redirect_uri: String, state: Option<String>, error: OAuthError },
}

impl Request {
    pub(super) fn parse(state: &State, parameters: &Parameters) -> Result<Self, Refused> {
        let no_way_back = |why: &str| Refused::NoWayBack(why.to_owned());
        if let Some(name) = parameters.repeated() {
            return Err(Refused::NoWayBack(format!("The parameter {name} stands there twice.")));
        }
        let id = parameters.get("client_id").ok_or_else(|| no_way_back("No client_id."))?;
        let client = state
            .client(id)
            .ok_or_else(|| Refused::NoWayBack(format!("There is no client {id:?}.")))?;
        let redirect_uri =
            parameters.get("redirect_uri").ok_or_else(|| no_way_back("No redirect_uri."))?;
        if !client.may_return_to(redirect_uri) {
            return Err(Refused::NoWayBack(format!(
                "The redirect URI {redirect_uri:?} is not registered for the client {id:?}."
            )));
        }
        Self::with_way_back(state, client, redirect_uri, parameters).map_err(|error| {
            Refused::ToClient {
                redirect_uri: redirect_uri.to_owned(),
                state: parameters.get("state").map(str::to_owned),
                error,
            }
        })
    }

    fn with_way_back(
        state: &State,
        client: &ClientConfig,
        redirect_uri: &str,
        parameters: &Parameters,
    ) -> Result<Self, OAuthError> {
        if !client.grant_types.contains(&GrantType::AuthorizationCode) {
            return Err(ErrorCode::UnauthorizedClient.because("the client may not use codes"));
        }
        match parameters.get("response_type") {
            Some("code") => {}
            Some(_) => return Err(ErrorCode::UnsupportedResponseType.because("only code")),
            None => return Err(ErrorCode::InvalidRequest.because("no response_type")),
        }
        if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(ErrorCode::InvalidRequest.because("only the response mode query"));
        }
        let max_age = parameters.get("max_age").map(str::parse).transpose();
        Ok(Self {
            client: client.id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            state: parameters.get("state").map(str::to_owned),
            scope: requested_scope(state, client, parameters.get("scope"))?,
            nonce: parameters.get("nonce").map(str::to_owned),
            challenge: challenge(client, parameters)?,
            prompt: prompt(parameters)?,
            max_age: max_age
                .map_err(|_| ErrorCode::InvalidRequest.because("max_age is not a number"))?,
            acr: state.acr(parameters.get("acr_values")),
            offline: parameters.get("access_type") == Some("offline"),
        })
    }
}

/// The PKCE challenge. Where it is mandatory, only S256 counts.
fn challenge(
    client: &ClientConfig,
    parameters: &Parameters,
) -> Result<Option<Challenge>, OAuthError> {
    let invalid = |why| ErrorCode::InvalidRequest.because(why);
    let Some(challenge) = parameters.get("code_challenge") else {
        return if client.require_pkce {
            Err(invalid("code_challenge is required (PKCE)"))
        } else {
            Ok(None)
        };
    };
    if !(43..=128).contains(&challenge.len()) {
        return Err(invalid("code_challenge has not 43 to 128 characters"));
    }
    match parameters.get("code_challenge_method").unwrap_or("plain") {
        "S256" => Ok(Some(Challenge::S256(challenge.to_owned()))),
        "plain" if client.require_pkce => Err(invalid("code_challenge_method has to be S256")),
        "plain" => Ok(Some(Challenge::Plain(challenge.to_owned()))),
        _ => Err(invalid("unknown code_challenge_method")),
    }
}

/// `prompt` is a list. There is no consent and one account only, so `consent` and `select_account` ask for nothing more.
fn prompt(parameters: &Parameters) -> Result<Prompt, OAuthError> {
    let words: Vec<_> =
        parameters.get("prompt").unwrap_or_default().split_ascii_whitespace().collect();
    match words.as_slice() {
        ["none"] => Ok(Prompt::None),
        words if words.contains(&"none") => {
            Err(ErrorCode::InvalidRequest.because("prompt none stands alone"))
        }
        words if words.contains(&"login") => Ok(Prompt::Login),
        _ => Ok(Prompt::IfNeeded),
    }
}
