//! Requests that the crate `oauth2` does not make, or not to every issuer: revocation and token exchange, as forms of our own.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use oauth2::{
    HttpResponse, RequestTokenError,
    basic::{BasicErrorResponse, BasicErrorResponseType},
};
use ureq::http::{Request, header};
use url::form_urlencoded;

use super::{Issued, OAuth, TokenResponse, answer, answer::Wanted, error::OAuthError, is_unknown};
use crate::{address::Link, discovery::DiscoveryError, settings};

impl OAuth {
    /// Revokes a refresh token (RFC 7009), if the issuer offers that. `false` if it does not.
    pub fn revoke(&self, refresh_token: &str) -> Result<bool, OAuthError> {
        let endpoint = match self.metadata.revocation_endpoint() {
            Ok(endpoint) => endpoint,
            Err(DiscoveryError::NotOffered(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let in_body = self.metadata.secret_in_body();
        let first = self.revoke_at(&endpoint, refresh_token, in_body);
        let unknown = first.as_ref().is_err_and(is_unknown_client);
        if unknown && self.settings.secret.is_some() {
            return self.revoke_at(&endpoint, refresh_token, !in_body).or(first).map(|()| true);
        }
        first.map(|()| true)
    }

    /// Exchanges a token for another (RFC 8693, section 2).
    pub fn exchange_token(
        &self,
        exchange: &settings::Exchange,
        subject: &str,
        actor: Option<&str>,
    ) -> Result<Issued, OAuthError> {
        let mut fields = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("subject_token", subject.to_owned()),
            ("subject_token_type", exchange.subject_type.clone()),
            ("scope", self.settings.scopes.join(" ")),
        ];
        if let (Some(token), Some((_, kind))) = (actor, &exchange.actor) {
            fields.push(("actor_token", token.to_owned()));
            fields.push(("actor_token_type", kind.clone()));
        }
        fields.extend(exchange.audiences.iter().map(|audience| ("audience", audience.clone())));
        fields.extend(exchange.resources.iter().map(|resource| ("resource", resource.clone())));
        fields.extend(
            exchange.requested_type.iter().map(|kind| ("requested_token_type", kind.clone())),
        );
        let more = self.settings.extra_params.iter().map(|(name, value)| (&**name, value.clone()));
        fields.extend(more);
        let endpoint = self.metadata.token_endpoint()?;
        let send = |in_body| {
            let response = self.post(&endpoint, &fields, in_body)?;
            self.issued_by(&answer::standard(endpoint.as_str(), Wanted::Token, &response)?)
        };
        let in_body = self.metadata.secret_in_body();
        let first = send(in_body);
        let issued = match first {
            Err(ref error) if is_unknown_client(error) && self.settings.secret.is_some() => {
                send(!in_body).or(first)?
            }
            first => first?,
        };
        // The token stands there whatever its type (section 2.2.1), and it is exchanged again, not refreshed.
        Ok(Issued { id_token: None, refresh_token: None, ..issued })
    }

    /// Built here: the library's request refuses an issuer on this machine that does without TLS.
    fn revoke_at(
        &self,
        endpoint: &Link,
        refresh_token: &str,
        secret_in_body: bool,
    ) -> Result<(), OAuthError> {
        let fields =
            [("token", refresh_token.to_owned()), ("token_type_hint", "refresh_token".to_owned())];
        let response = self.post(endpoint, &fields, secret_in_body)?;
        // An answer without a body, or with one that says nothing (RFC 7009, section 2.2).
        if response.status().is_success() {
            return Ok(());
        }
        let refused = answer::standard(endpoint.as_str(), Wanted::Token, &response)?;
        self.issued_by(&refused).map(|_| ())
    }

    /// Posts a form in the client's name.
    fn post(
        &self,
        endpoint: &Link,
        fields: &[(&str, String)],
        secret_in_body: bool,
    ) -> Result<HttpResponse, OAuthError> {
        let id = &self.settings.id;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields).append_pair("client_id", id);
        let mut request = Request::post(endpoint.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        match &self.settings.secret {
            Some(secret) if secret_in_body => {
                form.append_pair("client_secret", secret.secret());
            }
            Some(secret) => {
                // RFC 6749, section 2.3.1: both are encoded as in a form.
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret.secret())));
                request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
            }
            None => {}
        }
        let request = request
            .body(form.finish().into_bytes())
            .map_err(|_| OAuthError::Malformed("its address is not valid".to_owned()))?;
        Ok(self.http.call(self.proving(request)?)?)
    }

    /// What an answer in the standard's form holds.
    fn issued_by(&self, answer: &HttpResponse) -> Result<Issued, OAuthError> {
        let malformed = |_| OAuthError::Malformed("it is not a token's".to_owned());
        if answer.status().is_success() {
            let tokens: TokenResponse = serde_json::from_slice(answer.body()).map_err(malformed)?;
            return self.issued::<BasicErrorResponseType>(Ok(tokens));
        }
        let refused: BasicErrorResponse =
            serde_json::from_slice(answer.body()).map_err(malformed)?;
        Err(self.explain(RequestTokenError::ServerResponse(refused)))
    }
}

fn is_unknown_client(error: &OAuthError) -> bool {
    error.code().is_some_and(is_unknown)
}
