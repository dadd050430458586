//! A code for a device (RFC 8628).

use std::time::Duration;

use oauth2::{
    AuthType, DeviceCodeErrorResponseType, PkceCodeChallenge, PkceCodeVerifier, RequestTokenError,
    StandardDeviceAuthorizationResponse,
};

use super::{Client, Issued, OAuth, answer::Wanted, error::OAuthError};

/// A device code, and what to show to the person.
#[derive(Debug)]
pub struct DeviceAuthorization {
    /// What the issuer said.
    pub answer: StandardDeviceAuthorizationResponse,
    /// What proves to the token endpoint that we began this, if the issuer took its challenge.
    verifier: Option<PkceCodeVerifier>,
}

impl OAuth {
    /// Asks for a device code (RFC 8628).
    ///
    /// With a PKCE challenge, which some issuers demand of every client; one that does not know what to do with it is asked
    /// again without.
    pub fn device_authorization(&self) -> Result<DeviceAuthorization, OAuthError> {
        self.metadata.device_endpoint()?;
        if self.settings.pkce {
            let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
            match self.device_code(Some(&challenge)) {
                Ok(answer) => return Ok(DeviceAuthorization { answer, verifier: Some(verifier) }),
                Err(error @ OAuthError::Http(_)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(DeviceAuthorization { answer: self.device_code(None)?, verifier: None })
    }

    fn device_code(
        &self,
        challenge: Option<&PkceCodeChallenge>,
    ) -> Result<StandardDeviceAuthorizationResponse, OAuthError> {
        // The standard has the client's name in the body; Dex looks for its secret there, too, and not elsewhere.
        let in_body = self.metadata.device_secret_in_body();
        let answer = self.either_from(in_body, |client| {
            let mut request = client
                .exchange_device_code()
                .map_err(|error| RequestTokenError::Other(error.to_string()))?
                .add_scopes(self.scopes());
            if let Some(id) = self.id_beside_header(client) {
                request = request.add_extra_param("client_id", id);
            }
            if let Some(challenge) = challenge {
                request = request
                    .add_extra_param("code_challenge", challenge.as_str().to_owned())
                    .add_extra_param("code_challenge_method", challenge.method().to_string());
            }
            for (name, value) in self.required_login() {
                request = request.add_extra_param(name, value);
            }
            for (name, value) in &self.settings.extra_params {
                request = request.add_extra_param(name, value);
            }
            request.request(&self.transport(Wanted::Device))
        });
        answer.map_err(|error| self.explain(error))
    }

    /// Polls until the person has logged in elsewhere, at the issuer's pace, for at most `timeout`.
    pub fn device_token(
        &self,
        device: &DeviceAuthorization,
        timeout: Duration,
    ) -> Result<Issued, OAuthError> {
        let answer = self.either(|client| {
            let mut request = client.exchange_device_access_token(&device.answer);
            if let Some(id) = self.id_beside_header(client) {
                request = request.add_extra_param("client_id", id);
            }
            if let Some(verifier) = &device.verifier {
                request = request.add_extra_param("code_verifier", verifier.secret().clone());
            }
            request.request(&self.transport(Wanted::Token), std::thread::sleep, Some(timeout))
        });
        match answer {
            Err(RequestTokenError::ServerResponse(error))
                if *error.error() == DeviceCodeErrorResponseType::ExpiredToken =>
            {
                Err(OAuthError::DeviceTimeout)
            }
            answer => self.issued(answer),
        }
    }

    /// The client ID where the header alone would have it. RFC 8628, section 3.1, wants it in the body of a device's request, and
    /// some servers look nowhere else.
    fn id_beside_header(&self, client: &Client) -> Option<String> {
        let in_header =
            self.settings.secret.is_some() && matches!(client.auth_type(), AuthType::BasicAuth);
        in_header.then(|| self.settings.id.clone())
    }
}
