//! `get-token`: the exec credential plugin.

use std::env;

use super::{
    error::CommandError,
    standard::{hand_over, has_terminal},
};
use crate::{
    cli::GetToken,
    exec_credential::ExecInfo,
    session::{Effort, Session},
    settings::Settings,
};

/// Prints a credential.
pub fn run(flags: &GetToken) -> Result<(), CommandError> {
    let console = flags.connect.messages.console();
    let info = env::var("KUBERNETES_EXEC_INFO").ok();
    let exec = ExecInfo::read(info.as_deref(), has_terminal())?;
    let settings = Settings::new(&flags.connect)?;
    let interactive = exec.interactive;
    let effort = if flags.force_refresh {
        Effort::Renew { interactive }
    } else {
        Effort::Login { interactive }
    };
    #[cfg(unix)]
    let asker = info.map(|_| std::os::unix::process::parent_id());
    #[cfg(not(unix))]
    let asker = None;
    let record = Session::new(&settings, console).asked_by(asker).token(effort)?;
    // kubectl compares it with this machine's clock.
    let expiry = record.expiry().ok_or_else(|| {
        CommandError::Other(
            "the token's expiry cannot be read; log in again with: kubectl oidc login --force"
                .to_owned(),
        )
    })?;
    hand_over(&exec.answer(&record.token, expiry))
}
