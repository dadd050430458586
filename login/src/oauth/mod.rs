//! The requests to an issuer (OAuth 2.0 with OpenID Connect on top), built and read by the crate `oauth2`.

mod error;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, CsrfToken, DeviceAuthorizationUrl,
    DeviceCodeErrorResponseType, EndpointMaybeSet, EndpointNotSet, EndpointSet, ErrorResponse,
    ErrorResponseType, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, ResourceOwnerPassword,
    ResourceOwnerUsername, RevocationUrl, Scope, StandardDeviceAuthorizationResponse,
    StandardErrorResponse, StandardRevocableToken, StandardTokenResponse, TokenResponse as _,
    TokenUrl,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::discovery::Metadata;
use crate::http::{Http, HttpError};
use crate::settings;

pub use error::{OAuthError, is_refused_code};

/// What the issuer gave.
#[derive(Clone)]
pub struct Issued {
    /// The ID token, if there is one.
    pub id_token: Option<String>,
    /// The access token.
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

/// A device code, and what to show to the person.
pub type DeviceAuthorization = StandardDeviceAuthorizationResponse;

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
    EndpointMaybeSet,
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
        let metadata = Metadata::fetch(&http, &settings.issuer)?;
        // Metadata's addresses are checked when they are read, so these cannot fail.
        let malformed = |error: url::ParseError| OAuthError::Malformed(error.to_string());
        let optional = |url: &Option<String>| url.clone();
        let auth = optional(&metadata.authorization_endpoint).map(AuthUrl::new).transpose();
        let device = optional(&metadata.device_authorization_endpoint)
            .map(DeviceAuthorizationUrl::new)
            .transpose();
        let revocation =
            optional(&metadata.revocation_endpoint).map(RevocationUrl::new).transpose();
        let token = TokenUrl::new(metadata.token_endpoint()?.to_owned()).map_err(malformed)?;
        let mut client = oauth2::Client::new(ClientId::new(settings.id.clone()))
            .set_auth_uri_option(auth.map_err(malformed)?)
            .set_device_authorization_url_option(device.map_err(malformed)?)
            .set_revocation_url_option(revocation.map_err(malformed)?)
            .set_token_uri(token)
            .set_auth_type(if metadata.secret_in_body() {
                AuthType::RequestBody
            } else {
                AuthType::BasicAuth
            });
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
        let given = |name: &str| self.settings.extra_params.iter().any(|(known, _)| known == name);
        if let Some(hint) = hint.filter(|_| !given("login_hint")) {
            request = request.add_extra_param("login_hint", hint.to_owned());
        }
        // Google gives a refresh token only for this, and others ignore it; kubelogin sends it always.
        if !given("access_type") {
            request = request.add_extra_param("access_type", "offline");
        }
        for (name, value) in &self.settings.extra_params {
            request = request.add_extra_param(name, value);
        }
        let (url, state) = request.url();
        Ok(Authorization { url, state, nonce, verifier, redirect })
    }

    /// Exchanges a code that came back for `authorization`. It may be tried again with another code.
    pub fn exchange(
        &self,
        authorization: &Authorization,
        code: &str,
    ) -> Result<Issued, OAuthError> {
        let mut request = self
            .client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_redirect_uri(Cow::Borrowed(&authorization.redirect));
        if let Some(verifier) = &authorization.verifier {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.secret().clone()));
        }
        self.issued(request.request(&self.transport()))
    }

    /// Exchanges a refresh token. The answer may carry the next one, which replaces it.
    pub fn refresh(&self, refresh_token: &str) -> Result<Issued, OAuthError> {
        let token = RefreshToken::new(refresh_token.to_owned());
        self.issued(self.client.exchange_refresh_token(&token).request(&self.transport()))
    }

    /// Resource owner password credentials (RFC 6749, section 4.3).
    pub fn password(
        &self,
        username: &str,
        password: &ResourceOwnerPassword,
    ) -> Result<Issued, OAuthError> {
        let username = ResourceOwnerUsername::new(username.to_owned());
        let request = self.client.exchange_password(&username, password).add_scopes(self.scopes());
        self.issued(request.request(&self.transport()))
    }

    /// Client credentials (RFC 6749, section 4.4).
    pub fn client_credentials(&self) -> Result<Issued, OAuthError> {
        let mut request = self.client.exchange_client_credentials().add_scopes(self.scopes());
        for (name, value) in &self.settings.extra_params {
            request = request.add_extra_param(name, value);
        }
        self.issued(request.request(&self.transport()))
    }

    /// Asks for a device code (RFC 8628).
    pub fn device_authorization(&self) -> Result<DeviceAuthorization, OAuthError> {
        self.metadata.device_endpoint()?;
        let mut request = self
            .client
            .exchange_device_code()
            .map_err(|error| OAuthError::Malformed(error.to_string()))?
            .add_scopes(self.scopes());
        for (name, value) in &self.settings.extra_params {
            request = request.add_extra_param(name, value);
        }
        request.request(&self.transport()).map_err(|error| self.explain(error))
    }

    /// Polls until the person has logged in elsewhere, at the issuer's pace, for at most `timeout`.
    pub fn device_token(
        &self,
        device: &DeviceAuthorization,
        timeout: Duration,
    ) -> Result<Issued, OAuthError> {
        let answer = self.client.exchange_device_access_token(device).request(
            &self.transport(),
            std::thread::sleep,
            Some(timeout),
        );
        match answer {
            Err(RequestTokenError::ServerResponse(error))
                if *error.error() == DeviceCodeErrorResponseType::ExpiredToken =>
            {
                Err(OAuthError::DeviceTimeout)
            }
            answer => self.issued(answer),
        }
    }

    /// Revokes a refresh token (RFC 7009), if the issuer offers that. `false` if it does not.
    pub fn revoke(&self, refresh_token: &str) -> Result<bool, OAuthError> {
        if self.metadata.revocation_endpoint.is_none() {
            return Ok(false);
        }
        let token = RefreshToken::new(refresh_token.to_owned());
        let request = self
            .client
            .revoke_token(StandardRevocableToken::RefreshToken(token))
            .map_err(|error| OAuthError::Malformed(error.to_string()))?;
        request.request(&self.transport()).map_err(|error| self.explain(error))?;
        Ok(true)
    }

    fn scopes(&self) -> impl Iterator<Item = Scope> + use<> {
        self.settings.scopes.clone().into_iter().map(Scope::new)
    }

    /// Faults of a server or of something before it (a captive portal) come out as such, not as bad OAuth: nobody
    /// should be asked to log in because of them.
    fn transport(&self) -> impl Fn(HttpRequest) -> Result<HttpResponse, HttpError> {
        |request| {
            let url = request.uri().to_string();
            let response = self.http.call(request)?;
            let status = response.status();
            if status.is_server_error() {
                return Err(HttpError::Status { url, status: status.as_u16() });
            }
            // Revocation answers with an empty body.
            let body = response.body();
            let is_json = || serde_json::from_slice::<IgnoredAny>(body).is_ok();
            if status.is_success() && !body.is_empty() && !is_json() {
                return Err(HttpError::Body { url, reason: "it is not JSON".to_owned() });
            }
            Ok(response)
        }
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
