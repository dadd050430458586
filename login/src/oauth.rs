//! The requests to an issuer (OAuth 2.0 with OpenID Connect on top), built and read by the crate `oauth2`.

mod answer;
mod assertion;
mod device;
mod error;
mod form;

use std::{borrow::Cow, fmt};

use chrono::Utc;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, CsrfToken, DeviceAuthorizationUrl,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, ErrorResponse, ErrorResponseType,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RequestTokenError, ResourceOwnerPassword, ResourceOwnerUsername, Scope,
    StandardErrorResponse, StandardRevocableToken, StandardTokenResponse, TokenResponse as _,
    TokenUrl,
    basic::{
        BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
        BasicTokenIntrospectionResponse, BasicTokenType,
    },
};
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use self::answer::Wanted;
use crate::{
    address::Link,
    discovery::{DiscoveryError, Metadata},
    http::{Http, HttpError},
    required::RequiredLogin,
    settings,
};

pub use self::{
    device::DeviceAuthorization,
    error::{OAuthError, is_refused_code},
};

/// What the issuer gave.
#[derive(Clone)]
pub struct Issued {
    /// The ID token, if there is one.
    pub id_token: Option<String>,
    /// The access token; empty if there is none.
    pub access_token: String,
    /// The refresh token, if there is one.
    pub refresh_token: Option<String>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("id_token", &self.id_token.as_ref().map(|_| "***"))
            .field("access_token", &"***")
            .field("refresh_token", &self.refresh_token.as_ref().map(|_| "***"))
            .finish()
    }
}

/// One authorization request, and what its callback must match.
#[derive(Debug)]
pub struct Authorization {
    /// Where to send the browser.
    pub url: Url,
    /// What the callback must bring back.
    pub state: CsrfToken,
    /// What the ID token must carry.
    pub nonce: String,
    /// What proves to the token endpoint that we began this.
    verifier: Option<PkceCodeVerifier>,
    redirect: RedirectUrl,
}

impl Authorization {
    /// The redirect URI as it was sent.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        self.redirect.as_str()
    }
}

type Answered<A, T> = Result<A, RequestTokenError<HttpError, StandardErrorResponse<T>>>;
type TokenResponse = StandardTokenResponse<IdTokenField, BasicTokenType>;
type Client = oauth2::Client<
    BasicErrorResponse,
    TokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointMaybeSet,
    EndpointMaybeSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The ID token beside OAuth's own fields.
#[derive(Clone, Serialize, Deserialize)]
struct IdTokenField {
    #[serde(default)]
    id_token: Option<String>,
}

impl fmt::Debug for IdTokenField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenField")
    }
}

impl ExtraTokenFields for IdTokenField {}

/// Requests to one issuer in the name of one client.
pub struct OAuth {
    settings: settings::Client,
    metadata: Metadata,
    http: Http,
    client: Client,
}

impl OAuth {
    /// Asks the issuer for its metadata and prepares requests.
    pub fn connect(settings: &settings::Client, http: Http) -> Result<Self, OAuthError> {
        let metadata = Metadata::fetch(&http, &settings.issuer, settings.discovery.as_ref())?;
        // Metadata's addresses are checked when they are read, so these cannot fail.
        let malformed = |error: url::ParseError| OAuthError::Malformed(error.to_string());
        // One that cannot be used is told when it is asked for.
        let optional = |link: Result<Link, DiscoveryError>| link.ok().map(|link| link.to_string());
        let auth = optional(metadata.authorization_endpoint()).map(AuthUrl::new).transpose();
        let device =
            optional(metadata.device_endpoint()).map(DeviceAuthorizationUrl::new).transpose();
        let token = TokenUrl::new(metadata.token_endpoint()?.to_string()).map_err(malformed)?;
        let mut client = oauth2::Client::new(ClientId::new(settings.id.clone()))
            .set_auth_uri_option(auth.map_err(malformed)?)
            .set_device_authorization_url_option(device.map_err(malformed)?)
            .set_token_uri(token);
        if let Some(secret) = &settings.secret {
            client = client.set_client_secret(secret.clone());
        }
        Ok(Self { settings: settings.clone(), metadata, http, client })
    }

    /// The metadata the requests go by.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The client that sends them.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// A fresh authorization request: its own state, nonce and PKCE verifier. `hint` is who is expected to log in.
    pub fn authorization(
        &self,
        redirect: &str,
        hint: Option<&str>,
    ) -> Result<Authorization, OAuthError> {
        self.metadata.authorization_endpoint()?;
        let redirect = RedirectUrl::new(redirect.to_owned())
            .map_err(|error| OAuthError::Malformed(error.to_string()))?;
        let nonce = CsrfToken::new_random().into_secret();
        let mut request = self
            .client
            .authorize_url(CsrfToken::new_random)
            .map_err(|error| OAuthError::Malformed(error.to_string()))?
            .set_redirect_uri(Cow::Borrowed(&redirect))
            .add_scopes(self.scopes())
            .add_extra_param("nonce", nonce.clone());
        let mut verifier = None;
        if self.settings.pkce {
            let (challenge, secret) = PkceCodeChallenge::new_random_sha256();
            request = request.set_pkce_challenge(challenge);
            verifier = Some(secret);
        }
        let given = |name: &str| self.is_given(name);
        if let Some(hint) = hint.filter(|_| !given("login_hint")) {
            request = request.add_extra_param("login_hint", hint.to_owned());
        }
        // Google gives a refresh token only for this, and others ignore it; kubelogin sends it always.
        if !given("access_type") {
            request = request.add_extra_param("access_type", "offline");
        }
        for (name, value) in self.required_login() {
            request = request.add_extra_param(name, value);
        }
        for (name, value) in &self.settings.extra_params {
            request = request.add_extra_param(name, value);
        }
        let (url, state) = request.url();
        Ok(Authorization { url, state, nonce, verifier, redirect })
    }

    /// Whether the settings give a parameter its value.
    fn is_given(&self, name: &str) -> bool {
        self.settings.extra_params.iter().any(|(known, _)| known == name)
    }

    /// What says to the issuer how the person is to log in (OpenID Connect Core 1.0, section 3.1.2.1).
    fn required_login(&self) -> impl Iterator<Item = (&'static str, String)> {
        let RequiredLogin { acr, max_age } = &self.settings.required;
        let acr = (!acr.is_empty()).then(|| ("acr_values", acr.join(" ")));
        let max_age = max_age.map(|seconds| ("max_age", seconds.to_string()));
        acr.into_iter().chain(max_age).filter(|(name, _)| !self.is_given(name))
    }

    /// Exchanges a code that came back for `authorization`. It may be tried again with another code.
    pub fn exchange(
        &self,
        authorization: &Authorization,
        code: &str,
    ) -> Result<Issued, OAuthError> {
        self.issued(self.either(|client| {
            let mut request = client
                .exchange_code(AuthorizationCode::new(code.to_owned()))
                .set_redirect_uri(Cow::Borrowed(&authorization.redirect));
            if let Some(verifier) = &authorization.verifier {
                let verifier = PkceCodeVerifier::new(verifier.secret().clone());
                request = request.set_pkce_verifier(verifier);
            }
            request.request(&self.transport(Wanted::Token))
        }))
    }

    /// Exchanges a refresh token. The answer may carry the next one, which replaces it.
    pub fn refresh(&self, refresh_token: &str) -> Result<Issued, OAuthError> {
        let token = RefreshToken::new(refresh_token.to_owned());
        self.issued(self.either(|client| {
            client.exchange_refresh_token(&token).request(&self.transport(Wanted::Token))
        }))
    }

    /// Resource owner password credentials (RFC 6749, section 4.3).
    pub fn password(
        &self,
        username: &str,
        password: &ResourceOwnerPassword,
    ) -> Result<Issued, OAuthError> {
        let username = ResourceOwnerUsername::new(username.to_owned());
        self.issued(self.either(|client| {
            let request = client.exchange_password(&username, password).add_scopes(self.scopes());
            request.request(&self.transport(Wanted::Token))
        }))
    }

    /// Client credentials (RFC 6749, section 4.4).
    pub fn client_credentials(&self) -> Result<Issued, OAuthError> {
        self.issued(self.either(|client| {
            let mut request = client.exchange_client_credentials().add_scopes(self.scopes());
            for (name, value) in &self.settings.extra_params {
                request = request.add_extra_param(name, value);
            }
            request.request(&self.transport(Wanted::Token))
        }))
    }

    /// Sends a request; if the issuer does not know the client by its secret, again with the secret in the other place: what
    /// issuers take and what they say that they take are two things.
    fn either<A, T>(&self, send: impl Fn(&Client) -> Answered<A, T>) -> Answered<A, T>
    where
        T: ErrorResponseType + fmt::Display + 'static,
        StandardErrorResponse<T>: ErrorResponse,
    {
        self.either_from(self.metadata.secret_in_body(), send)
    }

    /// The same, beginning with this place.
    fn either_from<A, T>(
        &self,
        in_body: bool,
        send: impl Fn(&Client) -> Answered<A, T>,
    ) -> Answered<A, T>
    where
        T: ErrorResponseType + fmt::Display + 'static,
        StandardErrorResponse<T>: ErrorResponse,
    {
        let place = |in_body| if in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        let first = send(&self.client.clone().set_auth_type(place(in_body)));
        let unknown = |error: &StandardErrorResponse<T>| is_unknown(&error.error().to_string());
        match first {
            Err(RequestTokenError::ServerResponse(error))
                if self.settings.secret.is_some() && unknown(&error) =>
            {
                let second = send(&self.client.clone().set_auth_type(place(!in_body)));
                if second.is_ok() { second } else { Err(RequestTokenError::ServerResponse(error)) }
            }
            first => first,
        }
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> + use<> {
        self.settings.scopes.clone().into_iter().map(Scope::new)
    }

    fn transport(&self, wanted: Wanted) -> impl Fn(HttpRequest) -> Result<HttpResponse, HttpError> {
        move |request| {
            let url = request.uri().to_string();
            answer::standard(&url, wanted, &self.http.call(self.proving(request)?)?)
        }
    }

    /// The request with what proves the client, if it has no secret but an assertion.
    fn proving(&self, mut request: HttpRequest) -> Result<HttpRequest, HttpError> {
        let Some(how) = &self.settings.assertion else { return Ok(request) };
        // By the issuer's clock, which it goes by.
        let now = Utc::now() + self.http.skew().unwrap_or_default();
        let made = assertion::assertion(how, &self.settings.id, &self.settings.issuer, now);
        let assertion = made.map_err(HttpError::Unproven)?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_assertion_type", assertion::TYPE);
        form.append_pair("client_assertion", &assertion);
        let body = request.body_mut();
        body.push(b'&');
        body.extend_from_slice(form.finish().as_bytes());
        Ok(request)
    }

    fn issued<T>(
        &self,
        answer: Result<TokenResponse, RequestTokenError<HttpError, StandardErrorResponse<T>>>,
    ) -> Result<Issued, OAuthError>
    where
        T: ErrorResponseType + fmt::Display + 'static,
        StandardErrorResponse<T>: ErrorResponse,
    {
        let answer = answer.map_err(|error| self.explain(error))?;
        Ok(Issued {
            id_token: answer.extra_fields().id_token.clone(),
            access_token: answer.access_token().secret().clone(),
            refresh_token: answer.refresh_token().map(|token| token.secret().clone()),
        })
    }

    fn explain<T>(
        &self,
        error: RequestTokenError<HttpError, StandardErrorResponse<T>>,
    ) -> OAuthError
    where
        T: ErrorResponseType + fmt::Display + 'static,
        StandardErrorResponse<T>: ErrorResponse,
    {
        match error {
            RequestTokenError::ServerResponse(answer) => OAuthError::Refused {
                code: answer.error().to_string(),
                description: answer.error_description().cloned(),
                client: self.settings.id.clone(),
            },
            RequestTokenError::Request(error) => OAuthError::Http(error),
            // The body is left out: it may hold tokens.
            RequestTokenError::Parse(error, _) => OAuthError::Malformed(error.to_string()),
            RequestTokenError::Other(text) => OAuthError::Malformed(text),
        }
    }
}

/// The issuer does not know the client, in its own words or in none.
fn is_unknown(code: &str) -> bool {
    code == BasicErrorResponseType::InvalidClient.as_ref() || code == "HTTP 401"
}
