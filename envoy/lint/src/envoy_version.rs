//! Which versions of Envoy the gateway may run on.
//!
//! The gateway lets clients upgrade a connection to `SPDY/3.1` (`kubectl exec` of old clients). An Envoy with [`CVE`] sends what
//! a client puts behind such a request to kube-apiserver before kube-apiserver has agreed, and kube-apiserver reads it as the
//! next request on a connection of the gateway's. With a client certificate, which is a connection's and not a request's, that
//! request runs as the gateway itself.
//!
//! Which releases have the fix is a set and no minimum: Envoy keeps several lines of releases, each of which got it in a release
//! of its own, or never. Source: the CVE's record and Envoy's notes of releases 1.36.10, 1.37.6, 1.38.4 and 1.39.1; for Istio
//! the bulletin ISTIO-SECURITY-2026-006.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use gateway_core::native::ENVOY_MINORS;

/// The vulnerability that decides.
pub const CVE: &str = "CVE-2026-73548";

/// The switch by which an Envoy that has the fix can be told to do without.
pub const SWITCH: &str = "envoy.reloadable_features.http_pause_generic_upgrade_request_body";

/// Envoy, as its project releases it.
pub const ENVOY: Product = Product {
    name: "Envoy",
    lines: &[
        Version(1, 36, 10),
        Version(1, 37, 6),
        Version(1, 38, 4),
        Version(1, 39, 1),
        Version(1, 40, 0),
    ],
};

/// Istio, whose builds of Envoy do not say of which release they are.
pub const ISTIO: Product =
    Product { name: "Istio", lines: &[Version(1, 29, 7), Version(1, 30, 4), Version(1, 31, 0)] };

/// Something with versions that has the fix from some release of each line on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Its name.
    pub name: &'static str,
    /// The first release with the fix, of each line that has one, in their order. What is newer than the last line has it, too.
    pub lines: &'static [Version],
}

/// The version of a release: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

/// A version with [`CVE`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {version} has {CVE}: what a client sends behind an upgrade request reaches kube-apiserver as a request of its own; \
     take {}",
    product.name, product.safe()
)]
pub struct Vulnerable {
    product: Product,
    version: Version,
}

/// An Envoy that the native module was not tested with. Envoy itself loads a module for another interface, with a warning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Untested(Option<Version>);

/// Text that is no version of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not of the form MAJOR.MINOR.PATCH")]
pub struct BadVersion;

/// An Envoy that could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {envoy:?}: {source}")]
pub struct NoEnvoy {
    /// The program.
    pub envoy: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Product {
    /// Makes sure that a version has the fix.
    ///
    /// # Errors
    /// If it has not.
    pub fn check(self, version: Version) -> Result<(), Vulnerable> {
        let line = |it: &Version| (it.0, it.1);
        let known = self.lines.iter().find(|it| line(it) == line(&version));
        let safe = match known {
            Some(first) => version >= *first,
            None => self.lines.last().is_some_and(|last| version > *last),
        };
        if safe { Ok(()) } else { Err(Vulnerable { product: self, version }) }
    }

    /// The versions with the fix, in words.
    #[must_use]
    pub fn safe(self) -> String {
        let Some((newest, lines)) = self.lines.split_last() else { return String::new() };
        let lines = lines.iter().map(|first @ Version(major, minor, _)| {
            format!("{first} or a later {major}.{minor}, ")
        });
        lines.chain([format!("or {newest} or later")]).collect()
    }
}

/// Makes sure that the native module was tested with an Envoy of this version. One that does not say its version was not.
///
/// # Errors
/// If it was not.
pub fn check_native(version: Option<Version>) -> Result<(), Untested> {
    let tested = |Version(major, minor, _)| ENVOY_MINORS.contains(&(major, minor));
    if version.is_some_and(tested) { Ok(()) } else { Err(Untested(version)) }
}

/// The minors of Envoy that the native module was tested with, in words.
#[must_use]
pub fn tested() -> String {
    let minors = ENVOY_MINORS.iter().map(|(major, minor)| format!("{major}.{minor}"));
    minors.collect::<Vec<_>>().join(" and ")
}

impl fmt::Display for Untested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the native filter was tested with Envoy {} alone, and ", tested())?;
        match self.0 {
            Some(version) => write!(f, "this is {version}")?,
            None => f.write_str("this one does not say of which release it is")?,
        }
        f.write_str(
            ": take one of those, or --filter-form=wasm, which runs with every supported Envoy",
        )
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let mut parts = text.split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten().ok_or(BadVersion)
        });
        let mut next = || parts.next().ok_or(BadVersion)?;
        let version = Self(next()?, next()?, next()?);
        if parts.next().is_some() { Err(BadVersion) } else { Ok(version) }
    }
}

/// Asks an Envoy for its version; `None` if what it says names no release, as builds between releases and Istio's.
///
/// # Errors
/// If it does not run.
pub fn ask(envoy: &Path) -> Result<Option<Version>, NoEnvoy> {
    let mut command = Command::new(envoy);
    let output = command.arg("--version").env_clear().stdin(Stdio::null()).output();
    let output = output.map_err(|source| NoEnvoy { envoy: envoy.to_owned(), source })?;
    Ok(told(&String::from_utf8_lossy(&output.stdout)))
}

/// The release in an answer to `envoy --version`: `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
fn told(answer: &str) -> Option<Version> {
    answer.split_once("version: ")?.1.split('/').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2026_73548_is_known_by_the_version() {
        for (product, version, safe) in [
            // Seen to send early data on.
            (ENVOY, "1.36.2", false),
            (ENVOY, "1.36.4", false),
            (ENVOY, "1.37.0", false),
            (ENVOY, "1.38.2", false),
            (ENVOY, "1.38.3", false),
            (ENVOY, "1.39.0", false),
            // Seen not to.
            (ENVOY, "1.39.1", true),
            (ENVOY, "1.39.3", true),
            (ENVOY, "1.40.0", true),
            // The others by Envoy's notes of its releases.
            (ENVOY, "1.36.9", false),
            (ENVOY, "1.36.10", true),
            (ENVOY, "1.37.5", false),
            (ENVOY, "1.37.6", true),
            (ENVOY, "1.37.11", true),
            (ENVOY, "1.38.4", true),
            (ENVOY, "1.40.2", true),
            (ENVOY, "1.41.0", true),
            (ENVOY, "2.0.0", true),
            // A high patch of a line that never got the fix.
            (ENVOY, "1.35.13", false),
            (ENVOY, "1.9.99", false),
            (ENVOY, "0.40.0", false),
            (ISTIO, "1.28.9", false),
            (ISTIO, "1.29.6", false),
            (ISTIO, "1.29.7", true),
            (ISTIO, "1.30.3", false),
            (ISTIO, "1.30.4", true),
            (ISTIO, "1.31.1", true),
        ] {
            let version: Version = version.parse().unwrap();
            assert_eq!(product.check(version).is_ok(), safe, "{} {version}", product.name);
        }
    }

    #[test]
    fn a_refusal_names_the_cve_and_every_way_out() {
        let error = ENVOY.check(Version(1, 39, 0)).unwrap_err().to_string();
        assert_eq!(
            error,
            "Envoy 1.39.0 has CVE-2026-73548: what a client sends behind an upgrade request reaches kube-apiserver as a \
             request of its own; take 1.36.10 or a later 1.36, 1.37.6 or a later 1.37, 1.38.4 or a later 1.38, 1.39.1 or a \
             later 1.39, or 1.40.0 or later"
        );
    }

    #[test]
    fn a_native_filter_runs_where_it_was_tested() {
        for (version, tested) in [
            (Some(Version(1, 38, 9)), false),
            (Some(Version(1, 39, 1)), true),
            (Some(Version(1, 40, 2)), true),
            (Some(Version(1, 41, 0)), false),
            (Some(Version(2, 40, 0)), false),
            (None, false),
        ] {
            assert_eq!(check_native(version).is_ok(), tested, "{version:?}");
        }
        assert_eq!(
            check_native(Some(Version(1, 41, 0))).unwrap_err().to_string(),
            "the native filter was tested with Envoy 1.39 and 1.40 alone, and this is 1.41.0: take one of those, or \
             --filter-form=wasm, which runs with every supported Envoy"
        );
    }

    #[test]
    fn lines_are_in_their_order() {
        for product in [ENVOY, ISTIO] {
            assert!(product.lines.is_sorted() && !product.lines.is_empty(), "{}", product.name);
        }
    }

    #[test]
    fn an_answer_names_a_release_or_none() {
        for (answer, want) in [
            (
                "\n/x/envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL\n\n",
                Some(Version(1, 40, 0)),
            ),
            ("envoy  version: 9aed/1.39.0/Modified/DEBUG/BoringSSL", Some(Version(1, 39, 0))),
            // Istio's, and Envoy's own between two releases: neither says what it has.
            ("envoy  version: a19f/1.40.0-dev/Clean/RELEASE/BoringSSL", None),
            ("envoy  version: 9e55", None),
            ("1.40.0", None),
            ("", None),
        ] {
            assert_eq!(told(answer), want, "{answer:?}");
        }
    }

    #[test]
    fn a_version_is_three_numbers() {
        for text in ["", "1.40", "1.40.", "1.40.0.1", "v1.40.0", "1.40.0-dev", "1.+40.0", " 1.40.0"]
        {
            assert_eq!(text.parse::<Version>(), Err(BadVersion), "{text:?}");
        }
        assert_eq!("1.40.12".parse(), Ok(Version(1, 40, 12)));
    }
}
