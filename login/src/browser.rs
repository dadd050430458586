//! Opening an address in the person's browser.

use std::process::{Command, Stdio};

use crate::{
    address::Link,
    console::{Console, plain},
    settings::Browser,
};

/// Opens `url` as the settings say. `false` if no browser was started: the person must go there by hand.
#[must_use]
pub fn open(browser: &Browser, link: &Link, console: Console) -> bool {
    match browser {
        Browser::Print => false,
        Browser::Default => match open_default(link) {
            Ok(()) => true,
            Err(error) => {
                console.trace(|| format!("no browser: {error}"));
                false
            }
        },
        Browser::Command(words) => {
            let Some((program, arguments)) = words.split_first() else { return false };
            // Standard output belongs to the credential.
            let spawned = Command::new(program)
                .args(arguments)
                // It begins with `http` and cannot be taken for a flag.
                .arg(link.as_str())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(if console.is_quiet() { Stdio::null() } else { Stdio::inherit() })
                .spawn();
            if let Err(error) = &spawned {
                console.say(format_args!("The browser command {program:?} cannot be run: {}; another can be given with --browser-command",
                    plain(error)));
            }
            spawned.is_ok()
        }
    }
}

/// A browser for terminals writes where this program does. Standard output belongs to the credential, so it gets standard error.
#[cfg(unix)]
fn open_default(link: &Link) -> std::io::Result<()> {
    use rustix::stdio::{dup2_stdout, stderr, stdout};
    let own = rustix::io::dup(stdout())?;
    dup2_stdout(stderr())?;
    let opened = webbrowser::open(link.as_str());
    dup2_stdout(&own)?;
    opened
}

#[cfg(not(unix))]
fn open_default(link: &Link) -> std::io::Result<()> {
    webbrowser::open(link.as_str())
}

/// Whether a browser on this machine could show itself to the person.
///
/// `env` looks a variable up. macOS and Windows always have a desktop, except over SSH.
#[must_use]
pub fn is_likely(env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| env(name).is_some_and(|value| !value.is_empty());
    if cfg!(any(target_os = "macos", windows)) {
        return !set("SSH_CONNECTION");
    }
    // BROWSER is how remote development environments (VS Code, Codespaces) forward an address to the person's machine.
    set("DISPLAY") || set("WAYLAND_DISPLAY") || set("WSL_DISTRO_NAME") || set("BROWSER")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_browser_needs_a_display() {
        for (variable, want) in [
            ("DISPLAY", true),
            ("WAYLAND_DISPLAY", true),
            ("WSL_DISTRO_NAME", true),
            ("BROWSER", true),
            ("SSH_CONNECTION", false),
        ] {
            let env = |name: &str| (name == variable).then(|| "x".to_owned());
            assert_eq!(is_likely(env), want, "{variable}");
        }
        assert!(!is_likely(|_| Some(String::new())));
    }
}
