//! `login`: the login of a context, now and by hand.

use chrono::Utc;

use super::{
    describe::when,
    error::CommandError,
    standard::{has_terminal, print},
    target::Target,
};
use crate::{
    cli::Login,
    session::{Effort, Session},
};

/// Logs in, or says who is logged in.
pub fn run(flags: &Login) -> Result<(), CommandError> {
    let console = flags.connect.messages.console();
    let target =
        Target::with(&flags.connect, &flags.kubeconfig, flags.user.as_deref(), &flags.given)?;
    let interactive = has_terminal();
    let effort =
        if flags.force { Effort::Anew { interactive } } else { Effort::Login { interactive } };
    let session = Session::new(&target.settings, console);
    let record = session.token(effort)?;
    let name = record.person().unwrap_or_default();
    let until = record.expiry().map(|expiry| when(expiry, Utc::now())).unwrap_or_default();
    let renewed = if record.refresh_token.is_some() { ", renewed silently" } else { "" };
    print(&crate::console::printable(&format!(
        "Logged in as {name} until {until}{renewed}. The token is in {}.",
        session.place()
    )))
}
