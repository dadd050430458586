//! Which Envoy it is, and whether the module was tested with it.
//!
//! Envoy only warns of a module that was made for another version of its interface; what then happens to a function whose arguments have
//! changed is undefined. It tells a module nothing of itself either. Both versions stand in its program as texts of their own, each
//! between two zero bytes: that of the interface (`v0.2.0`) and Envoy's own (`1.40.0`).

use std::{
    ffi::CStr,
    fmt,
    fs::File,
    io::{self, Read},
};

use memchr::memchr;

use crate::{guard, host};

/// The versions that the module was tested with: Envoy's minor and its interface's.
pub const TESTED: [(&str, &CStr); 2] = [("1.39", c"v0.1.0"), ("1.40", c"v0.2.0")];

/// The longest text that is looked for.
const LONGEST: usize = 16;
/// How much is read at once.
const CHUNK: usize = 1 << 18;

/// An Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envoy {
    version: String,
    /// The version of its interface for dynamic modules, in the form in which it is told.
    pub interface: &'static CStr,
}

impl fmt::Display for Envoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envoy {}, dynamic modules {}", self.version, self.interface.to_string_lossy())
    }
}

/// Why an Envoy is refused.
#[derive(Debug)]
pub enum Unfit {
    /// Its program cannot be read.
    Unreadable(io::Error),
    /// It is none of the tested ones.
    Untested {
        /// The version of its interface, if it could be told.
        interface: Option<String>,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "the program of Envoy cannot be read: {error}"),
            Self::Untested { interface } => {
                let tested = TESTED
                    .map(|(envoy, interface)| format!("{envoy} ({})", interface.to_string_lossy()));
                let interface = interface.as_deref().unwrap_or("unknown");
                write!(
                    f,
                    "this Envoy, whose interface for dynamic modules is {interface}, is none of those that the module was tested with: {}; \
                     run one of these, or the Wasm filter",
                    tested.join(", ")
                )
            }
        }
    }
}

/// What is done once, when Envoy loads the library: tells the version of the interface, if this is an Envoy that it was tested with.
#[must_use]
pub fn load() -> Option<&'static CStr> {
    guard::report_panics();
    match of_this_process() {
        Ok(envoy) => {
            host::info(&format!("kube-oidc-gateway {}: {envoy}", env!("CARGO_PKG_VERSION")));
            Some(envoy.interface)
        }
        Err(why) => {
            host::error(&format!("kube-oidc-gateway: not loaded: {why}"));
            None
        }
    }
}

/// The Envoy of this process.
pub fn of_this_process() -> Result<Envoy, Unfit> {
    let program = File::open("/proc/self/exe").map_err(Unfit::Unreadable)?;
    of_program(program)
}

/// The Envoy whose program this is.
pub fn of_program(mut program: impl Read) -> Result<Envoy, Unfit> {
    let (mut versions, mut interfaces) = (Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    loop {
        let read = program.by_ref().take(CHUNK as u64).read_to_end(&mut bytes);
        if read.map_err(Unfit::Unreadable)? == 0 {
            return Err(Unfit::Untested { interface: interfaces.pop() });
        }
        for text in texts(&bytes) {
            if is_interface(text) {
                interfaces.push(text.to_owned());
            } else if minor(text).is_some() {
                versions.push(text.to_owned());
            }
        }
        for version in &versions {
            let tested = TESTED.into_iter().find(|(tested, _)| minor(version) == Some(tested));
            if let Some((_, interface)) = tested
                && interfaces.iter().any(|known| known.as_bytes() == interface.to_bytes())
            {
                return Ok(Envoy { version: version.clone(), interface });
            }
        }
        // A text may go on in the next chunk.
        let kept = bytes.len().min(LONGEST);
        bytes.drain(..bytes.len().saturating_sub(kept));
    }
}

/// The short texts between two zero bytes.
fn texts(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_at_checked(memchr(0, rest)?.checked_add(1)?)?;
            rest = after;
            let near = rest.get(..rest.len().min(LONGEST))?;
            if let Some(text) = memchr(0, near).and_then(|end| near.get(..end))
                && let Some(b'v' | b'1') = text.first()
                && let Ok(text) = std::str::from_utf8(text)
            {
                return Some(text);
            }
        }
    })
}

/// Whether the text could be the version of an interface: `v0.` and two numbers.
fn is_interface(text: &str) -> bool {
    text.strip_prefix("v0.")
        .and_then(|numbers| numbers.split_once('.'))
        .is_some_and(|(minor, patch)| is_number(minor) && is_number(patch))
}

/// The minor of the text if it is the version of an Envoy that was tested.
fn minor(text: &str) -> Option<&str> {
    let (minor, patch) = text.rsplit_once('.')?;
    (is_number(patch) && TESTED.iter().any(|(tested, _)| *tested == minor)).then_some(minor)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(program: &[u8]) -> Result<String, String> {
        of_program(program).map(|envoy| envoy.to_string()).map_err(|why| why.to_string())
    }

    #[test]
    fn an_envoy_is_known_by_both_versions() {
        let envoy = |text: &str| of(text.as_bytes());
        assert_eq!(
            envoy("\0v0.2.0\0and\x001.40.2\0"),
            Ok("Envoy 1.40.2, dynamic modules v0.2.0".to_owned())
        );
        assert_eq!(
            envoy("\x001.39.3\0\0v0.1.0\0"),
            Ok("Envoy 1.39.3, dynamic modules v0.1.0".to_owned())
        );
        for untested in [
            "",
            "\0v0.2.0\0",
            "\x001.40.0\0",
            "\x001.40.0\0v0.3.0\0",
            "\x001.40.0\0v0.1.0\0",
            "\x001.41.0\0v0.2.0\0",
            "1.40.0\0v0.2.0",
            "\x001.40.0-dev\0v0.2.0\0",
            "\x001.40.\0v0.2.0\0",
        ] {
            let why = envoy(untested).unwrap_err();
            assert!(why.contains("1.39 (v0.1.0), 1.40 (v0.2.0)"), "{untested:?}: {why}");
        }
        // Most of a program is no text.
        assert!(of(b"\0\xff\0v\xff\0v0.2.0\0\x001\xff.\x001.40.0\0").is_ok());
        assert!(envoy("\x001.41.0\0v0.3.0\0").unwrap_err().contains("is v0.3.0, is none"));
    }

    #[test]
    fn a_version_is_found_wherever_it_stands() {
        for before in [0, CHUNK - 9, CHUNK - 4, CHUNK - 1, CHUNK, 3 * CHUNK + 5] {
            let mut program = vec![b'x'; before];
            program.extend_from_slice(b"\0v0.2.0\0");
            program.resize(program.len() + before, b'y');
            program.extend_from_slice(b"\x001.40.0\0");
            assert!(of(&program).is_ok(), "{before}");
        }
    }
}
