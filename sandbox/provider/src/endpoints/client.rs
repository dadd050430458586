//! Which client speaks, and whether it is the one it says it is (RFC 6749, sections 2.3 and 3.2.1).

use crate::{
    call::Call,
    client_key,
    config::{ClientAuthentication, ClientConfig, GrantType},
    reply::{ErrorCode, OAuthError},
    state::State,
};

/// The client that made the request, proven as far as its kind demands.
pub(crate) fn authenticate<'a>(
    state: &'a State,
    call: &Call,
) -> Result<&'a ClientConfig, OAuthError> {
    if let Some(name) = call.form.repeated() {
        return Err(ErrorCode::InvalidRequest.because(format_args!("{name} stands there twice")));
    }
    if let Some(assertion) = call.form.get("client_assertion") {
        return by_assertion(state, call, assertion);
    }
    let (id, secret, method) = presented(call)?;
    let unknown = || ErrorCode::InvalidClient.because("unknown client or wrong credentials");
    let client = state.client(&id).ok_or_else(unknown)?;
    match (&client.secret, secret) {
        (None, _) if client.is_confidential() => {
            Err(ErrorCode::InvalidClient.because("the client has to prove itself"))
        }
        // A secret too many is ignored, as Keycloak does: many programs send a left-over one for a public client.
        (None, _) => Ok(client),
        (Some(_), None) => Err(ErrorCode::InvalidClient.because("the client has to prove itself")),
        (Some(known), Some(given)) => {
            if !client.authentication.contains(&method) {
                return Err(
                    ErrorCode::InvalidClient.because("the client may not prove itself in this way")
                );
            }
            if *known == given { Ok(client) } else { Err(unknown()) }
        }
    }
}

/// By what its key has signed (RFC 7523, section 2.2).
fn by_assertion<'a>(
    state: &'a State,
    call: &Call,
    assertion: &str,
) -> Result<&'a ClientConfig, OAuthError> {
    const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let refused = |why: String| ErrorCode::InvalidClient.because(why);
    if call.form.get("client_assertion_type") != Some(KIND) {
        return Err(ErrorCode::InvalidRequest.because("client_assertion_type is another"));
    }
    let id = client_key::issuer_of(assertion).unwrap_or_default();
    let client = state.client(&id).ok_or_else(|| refused("unknown client".to_owned()))?;
    if !client.authentication.contains(&ClientAuthentication::PrivateKeyJwt)
        || call.form.get("client_id").is_some_and(|other| other != id)
    {
        return Err(refused("the client may not prove itself in this way".to_owned()));
    }
    let claims = client_key::verify(state, client, assertion).map_err(refused)?;
    if claims.get("sub").and_then(serde_json::Value::as_str) != Some(client.id.as_str()) {
        return Err(refused("sub is not the client".to_owned()));
    }
    Ok(client)
}

/// The same, if it may also use this grant.
pub(crate) fn authorize<'a>(
    state: &'a State,
    call: &Call,
    grant: GrantType,
) -> Result<&'a ClientConfig, OAuthError> {
    let client = authenticate(state, call)?;
    if client.grant_types.contains(&grant) {
        Ok(client)
    } else {
        let name = grant.name();
        Err(ErrorCode::UnauthorizedClient
            .because(format_args!("the client may not use the grant {name}")))
    }
}

/// Client id, secret, and where they stood. Two ways at once are an error (RFC 6749, section 2.3).
fn presented(call: &Call) -> Result<(String, Option<String>, ClientAuthentication), OAuthError> {
    let in_form = call.form.get("client_id");
    let secret = call.form.get("client_secret").map(str::to_owned);
    if !call.has_authorization() {
        let id = in_form.ok_or_else(|| ErrorCode::InvalidRequest.because("no client_id"))?;
        return Ok((id.to_owned(), secret, ClientAuthentication::ClientSecretPost));
    }
    let (id, password) = call
        .basic_credentials()
        .ok_or_else(|| ErrorCode::InvalidClient.because("cannot read the Authorization header"))?;
    // Both are form-encoded inside (RFC 6749, section 2.3.1).
    let (id, password) = (form_decode(&id), form_decode(&password));
    if secret.is_some() {
        return Err(ErrorCode::InvalidRequest.because("the client proves itself in two ways"));
    }
    if in_form.is_some_and(|other| other != id) {
        return Err(ErrorCode::InvalidRequest.because("two different client ids"));
    }
    let password = Some(password).filter(|password| !password.is_empty());
    Ok((id, password, ClientAuthentication::ClientSecretBasic))
}

fn form_decode(text: &str) -> String {
    let pair = format!("v={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
