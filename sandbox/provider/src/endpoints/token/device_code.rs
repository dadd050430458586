//! Device code (RFC 8628, sections 3.4 and 3.5): the device asks again and again until its user has decided.

use std::time::{Duration, Instant};

use super::issue::{Granted, gets_refresh_token};
use crate::{
    call::Call,
    config::GrantType,
    endpoints::client,
    logins::{Decision, Device},
    reply::{ErrorCode, OAuthError},
    state::IssuerShared,
};

/// What `slow_down` adds to the interval (RFC 8628, section 3.5).
const SLOWER_BY: u32 = 5;

pub(super) fn grant(issuer: &IssuerShared, call: &Call) -> Result<Granted, OAuthError> {
    let now = issuer.now();
    let mut state = issuer.lock();
    let client = client::authorize(&state, call, GrantType::DeviceCode)?.clone();
    let secret = call
        .form
        .get("device_code")
        .ok_or_else(|| ErrorCode::InvalidRequest.because("no device_code"))?;
    let device = state
        .logins
        .devices
        .get(secret, now)
        .filter(|device| device.client == client.id)
        .ok_or_else(|| ErrorCode::InvalidGrant.because("unknown device_code"))?;
    poll(device, now, Instant::now())?;
    let decided = state.logins.devices.take(secret, now).and_then(|device| device.decision);
    match decided {
        Some(Decision::Approved(login)) => {
            Ok(Granted { refresh: gets_refresh_token(&client, &login), login })
        }
        _ => Err(ErrorCode::AccessDenied.because("the login was denied")),
    }
}

/// Whether there is a decision, or why the device has to wait.
fn poll(device: &mut Device, now: i64, at: Instant) -> Result<(), OAuthError> {
    if device.expires <= now {
        return Err(ErrorCode::ExpiredToken.because("the device_code has expired"));
    }
    let interval = Duration::from_secs(device.interval.into());
    let last = device.last_poll.replace(at);
    if last.is_some_and(|last| at.duration_since(last) < interval) {
        device.interval += SLOWER_BY;
        return Err(ErrorCode::SlowDown.because("polled too often"));
    }
    match device.decision {
        Some(_) => Ok(()),
        None => Err(ErrorCode::AuthorizationPending.because("nobody has decided yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logins::Scope;

    #[test]
    fn polling() {
        let mut device = Device {
            client: "c".to_owned(),
            scope: Scope::default(),
            acr: None,
            user_code: "BCDF-GHJK".to_owned(),
            interval: 5,
            expires: 100,
            last_poll: None,
            decision: None,
        };
        let start = Instant::now();
        for (seconds, now, want) in [
            (0, 0, ErrorCode::AuthorizationPending),
            (5, 5, ErrorCode::AuthorizationPending),
            (9, 9, ErrorCode::SlowDown),
            (18, 18, ErrorCode::SlowDown), // ten seconds by now
            (33, 33, ErrorCode::AuthorizationPending),
            (60, 100, ErrorCode::ExpiredToken),
        ] {
            let at = start + Duration::from_secs(seconds);
            assert_eq!(poll(&mut device, now, at).unwrap_err().code, want, "{seconds} s");
        }
        device.decision = Some(Decision::Denied);
        assert!(poll(&mut device, 60, start + Duration::from_secs(90)).is_ok());
    }
}
