//! Whether the Envoy that lies there may be started.

use gateway_lint::envoy_version::{self, CVE, ENVOY, NoEnvoy};
use tracing::warn;

use super::settings::Settings;
use crate::supervisor::SupervisorError;

/// Makes sure that Envoy is of a version that may serve. One that does not say of which it is, is started with a warning.
pub(super) fn check(settings: &Settings) -> Result<(), SupervisorError> {
    let envoy = settings.envoy.clone();
    let version = match envoy_version::ask(&envoy) {
        Ok(Some(version)) => version,
        Ok(None) => {
            warn!(
                "{} does not say of which release it is; it must not have {CVE}: take {}",
                envoy.display(),
                ENVOY.safe()
            );
            return Ok(());
        }
        Err(NoEnvoy { envoy, source }) => return Err(SupervisorError::NoEnvoy { envoy, source }),
    };
    match ENVOY.check(version) {
        Err(vulnerable) if settings.allow_vulnerable_envoy => {
            warn!("--allow-vulnerable-envoy: {vulnerable}");
            Ok(())
        }
        Err(vulnerable) => Err(SupervisorError::Vulnerable { envoy, vulnerable }),
        Ok(()) => Ok(()),
    }
}
