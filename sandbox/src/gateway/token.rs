//! The gateway's ServiceAccount token: made by `TokenRequest`, short-lived, renewed into its file by rename, as a kubelet
//! does for a pod.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{cluster::TokenSource, error::Result, files, process::lock};

/// What a token is asked to live: the least that kube-apiserver allows.
pub(super) const LIFETIME_SECONDS: u32 = 600;

/// A kubelet renews at 80 % of the lifetime.
pub(super) const RENEWAL: Duration = Duration::from_secs(480);

/// After a failed renewal.
const RETRY: Duration = Duration::from_secs(5);

/// A token in a file, with a thread that renews it until this is dropped.
pub(super) struct TokenFile {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    source: TokenSource,
    path: PathBuf,
    renewed: bool,
}

impl State {
    fn renew(&mut self) -> Result<()> {
        let token = self.source.token(LIFETIME_SECONDS)?;
        files::write_private(&self.path, token.as_bytes())
    }
}

impl TokenFile {
    pub fn new(source: TokenSource, path: PathBuf, renewal: Duration) -> Result<Self> {
        let mut state = State { source, path: path.clone(), renewed: true };
        state.renew()?;
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = mpsc::channel();
        let renewed = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let mut next = renewal;
            while stopped.recv_timeout(next) == Err(RecvTimeoutError::Timeout) {
                let mut state = lock(&renewed);
                // The old token serves until it runs out, and by then the API server may be back.
                let failed = state.renewed && state.renew().is_err();
                next = if failed { RETRY.min(renewal) } else { renewal };
            }
        });
        Ok(Self { state, path, stop: Some(stop), thread: Some(thread) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn renew(&self) -> Result<()> {
        let mut state = lock(&self.state);
        state.renewed = true;
        state.renew()
    }

    pub fn replace(&self, text: &str) -> Result<()> {
        let mut state = lock(&self.state);
        state.renewed = false;
        files::write_private(&state.path, text.as_bytes())
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}
