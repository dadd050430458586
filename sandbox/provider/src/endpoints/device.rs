//! Where a device asks for a code, and where its user lets it in (RFC 8628, sections 3.1 to 3.3).

use http::StatusCode;
use serde_json::json;

use crate::{
    call::Call,
    config::GrantType,
    encoding::{random_bytes, random_secret},
    endpoint::Endpoint,
    endpoints::{client, token::issue::requested_scope},
    logins::{Decision, Device, Login},
    pages,
    reply::{self, OAuthError, Reply},
    state::{IssuerShared, State},
};

const LIFETIME: i64 = 600;
/// Expired codes are remembered for a while, so that the device hears `expired_token`.
const REMEMBERED: i64 = 3600;
/// No vowels, so that no words come out (RFC 8628, section 6.1). A power of two divides evenly among bytes.
const ALPHABET: &[u8; 16] = b"BCDFGHJKLMNPRSTV";

pub(super) fn authorize(issuer: &IssuerShared, call: &Call) -> Result<Reply, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let client = client::authorize(&state, call, GrantType::DeviceCode)?;
    let interval = state.config.device_interval_seconds;
    let device = Device {
        client: client.id.clone(),
        scope: requested_scope(&state, client, call.form.get("scope"))?,
        acr: state.acr(call.form.get("acr_values")),
        user_code: user_code(),
        interval,
        expires: now + LIFETIME,
        last_poll: None,
        decision: None,
    };
    let page = issuer.endpoint(Endpoint::DeviceVerification);
    let device_code = random_secret();
    let body = json!({
        "device_code": device_code,
        "user_code": device.user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", device.user_code),
        "expires_in": LIFETIME,
        "interval": interval,
    });
    state.logins.devices.insert(&device_code, device, now + LIFETIME + REMEMBERED, now);
    Ok(reply::json(StatusCode::OK, &body))
}

pub(super) fn verify(issuer: &IssuerShared, call: &Call) -> Reply {
    let action = issuer.endpoint(Endpoint::DeviceVerification);
    let code = call.parameters().get("user_code").unwrap_or_default().to_owned();
    if call.form.get("username").is_none() {
        return pages::device(StatusCode::OK, &action, &code, None);
    }
    let now = issuer.now();
    let mut state = issuer.lock();
    let name = call.form.get("username").unwrap_or_default();
    let password = call.form.get("password").unwrap_or_default();
    let Some(user) = state.log_in(name, password).map(|user| user.name.clone()) else {
        let message = Some("Wrong user name or password.");
        return pages::device(StatusCode::FORBIDDEN, &action, &code, message);
    };
    let user = call.form.get("deny").is_none().then_some(user.as_str());
    if !decide(&mut state, &code, user, now) {
        let message = Some("There is no such code, or it has expired.");
        return pages::device(StatusCode::BAD_REQUEST, &action, &code, message);
    }
    match user {
        Some(_) => pages::done("The device is connected", "You may close this page."),
        None => pages::done("The device was refused", "You may close this page."),
    }
}

/// Lets a waiting device in as `user`, or refuses it; whether there was such a device.
pub(crate) fn decide(state: &mut State, code: &str, user: Option<&str>, now: i64) -> bool {
    let code = plain(code);
    let waits = |device: &Device| {
        plain(&device.user_code) == code && device.decision.is_none() && device.expires > now
    };
    let Some(device) = state.logins.devices.find(now, waits) else {
        return false;
    };
    device.decision = Some(match user {
        Some(_) => {
            let login = Login::new(&device.client, user, device.scope.clone(), now);
            Decision::Approved(Login { acr: device.acr.clone(), ..login })
        }
        None => Decision::Denied,
    });
    true
}

/// A user code as people mean it, without the dash and in any case.
fn plain(code: &str) -> String {
    let letters = code.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

fn user_code() -> String {
    let letters =
        random_bytes::<8>().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    let (first, second) = letters.split_at(4);
    format!("{}-{}", first.iter().collect::<String>(), second.iter().collect::<String>())
}
