//! Whether the Envoy that lies there may be started.

use gateway_config::FilterForm;
use gateway_lint::envoy_version::{self, CVE, ENVOY, NoEnvoy, check_native};
use tracing::warn;

use super::settings::Settings;
use crate::supervisor::SupervisorError;

/// Makes sure that Envoy is of a version that may serve. One that does not say of which it is, is started with a warning,
/// but not with the native filter.
pub(super) fn check(settings: &Settings) -> Result<(), SupervisorError> {
    let envoy = settings.envoy.clone();
    let asked = envoy_version::ask(&envoy)
        .map_err(|NoEnvoy { envoy, source }| SupervisorError::NoEnvoy { envoy, source })?;
    if settings.options.form == FilterForm::Native {
        check_native(asked)
            .map_err(|untested| SupervisorError::Untested { envoy: envoy.clone(), untested })?;
    }
    let Some(version) = asked else {
        warn!(
            "{} does not say of which release it is; it must not have {CVE}: take {}",
            envoy.display(),
            ENVOY.safe()
        );
        return Ok(());
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
