//! An Envoy that runs.

use std::{sync::mpsc::Sender, time::Instant};

use gateway_control::Admin;

use super::{
    child::{Child, Event, Reader, Start},
    error::SupervisorError,
};

pub(super) struct Running {
    /// Tells it from others of this program.
    pub number: u64,
    pub start: Start,
    pub child: Child,
    pub admin: Admin,
    pub since: Instant,
}

impl Running {
    pub fn start(
        start: &Start,
        number: u64,
        reader: Option<Reader>,
        events: &Sender<Event>,
    ) -> Result<Self, SupervisorError> {
        let child = Child::start(start, number, reader, events.clone())
            .map_err(|source| SupervisorError::NoEnvoy { envoy: start.program.clone(), source })?;
        let admin = Admin::new(&start.admin);
        Ok(Self { number, start: start.clone(), child, admin, since: Instant::now() })
    }
}
