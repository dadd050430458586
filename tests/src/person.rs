//! A person at a machine: a home folder, a path with kubectl and kubectl-oidc on it, and a browser that notes where it is
//! sent. No keyring, so that logins lie in a file of that home.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use sandbox::Kubectl;
use tempfile::TempDir;

/// How often a file that tells nobody of its change is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Somebody who uses kubectl. Without a login at first; nothing of the real user's environment counts.
pub struct Person {
    home: TempDir,
}

impl Person {
    /// A person with this kubectl, and the plugin from the target folder.
    ///
    /// # Panics
    /// If the plugin was not built, or files cannot be written.
    #[must_use]
    pub fn new(kubectl: &Path) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let person = Self { home };
        let programs = person.path("bin");
        fs::create_dir(&programs).expect("a folder");
        symlink(kubectl, programs.join("kubectl")).expect("a link");
        symlink(plugin(), programs.join("kubectl-oidc")).expect("a link");
        let browser = programs.join("browser");
        let note = format!("#!/bin/sh\nprintf '%s\\n' \"$1\" >>{}\n", person.visited().display());
        fs::write(&browser, note).expect("a program");
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).expect("a program");
        person
    }

    /// kubectl in this person's hands.
    ///
    /// # Panics
    /// If a folder's name is not text.
    #[must_use]
    pub fn takes(&self, kubectl: Kubectl) -> Kubectl {
        let programs = self.path("bin");
        let others = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs.clone()].into_iter().chain(env::split_paths(&others)));
        let path = path.expect("a path").into_string().expect("text");
        let text = |path: PathBuf| path.display().to_string();
        kubectl
            .environment("PATH", &path)
            .environment("HOME", &text(self.path("")))
            .environment("XDG_DATA_HOME", &text(self.path("data")))
            .environment("BROWSER", &text(programs.join("browser")))
            .environment("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            // One for all kubectl of this person: kubectl-oidc tells logins apart by it, as kubelogin does.
            .environment("KUBECACHEDIR", &text(self.path("cache")))
            // The usual ones may be somebody else's here.
            .environment("KUBECTL_OIDC_LISTEN_ADDRESS", "127.0.0.1:0")
    }

    /// A path in the home folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file of the home folder; its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// Every address the browser was sent to so far.
    #[must_use]
    pub fn visits(&self) -> Vec<String> {
        let text = fs::read_to_string(self.visited()).unwrap_or_default();
        // A line that is not ended is still being written.
        text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Waits until the browser is sent somewhere for the `number`th time (from 1); where.
    ///
    /// # Panics
    /// If it is not within `limit`.
    #[must_use]
    pub fn visit(&self, number: usize, limit: Duration) -> String {
        let start = Instant::now();
        loop {
            if let Some(visit) = self.visits().into_iter().nth(number - 1) {
                return visit;
            }
            assert!(start.elapsed() < limit, "no visit {number}; so far: {:?}", self.visits());
            thread::sleep(POLL);
        }
    }

    fn visited(&self) -> PathBuf {
        self.path("visits")
    }
}

/// The plugin, which `make` builds before the tests.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn plugin() -> PathBuf {
    let program = env::current_exe().expect("a program");
    let built = program.ancestors().skip(1).map(|folder| folder.join("kubectl-oidc"));
    built
        .into_iter()
        .find(|file| file.is_file())
        .expect("kubectl-oidc is built: cargo build -p kubectl-oidc")
}
