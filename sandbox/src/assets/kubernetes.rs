//! Which minors of Kubernetes the sandbox runs.

use std::{
    env,
    fmt::{self, Display},
    str::FromStr,
};

use crate::error::{Error, Result};

/// A minor of Kubernetes that the sandbox can run: of kube-apiserver and of kubectl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kubernetes {
    /// 1.34.
    V1_34,
    /// 1.35.
    V1_35,
    /// 1.36.
    V1_36,
    /// 1.37, which a sandbox runs unless it is told another.
    #[default]
    V1_37,
}

impl Kubernetes {
    /// Every one, newest first.
    pub const ALL: [Self; 4] = [Self::V1_37, Self::V1_36, Self::V1_35, Self::V1_34];

    /// The environment variable that names the minor for whatever starts a sandbox.
    pub const VARIABLE: &str = "SANDBOX_KUBERNETES";

    /// The one that [`Self::VARIABLE`] names, or the default.
    ///
    /// # Errors
    /// If it names none of them.
    pub fn from_environment() -> Result<Self> {
        Ok(Self::named_by(Self::VARIABLE)?.unwrap_or_default())
    }

    /// The one that an environment variable names, if it is set.
    pub(super) fn named_by(variable: &str) -> Result<Option<Self>> {
        let Some(value) = env::var_os(variable) else { return Ok(None) };
        let parsed = value.to_string_lossy().parse();
        parsed.map(Some).map_err(|error| Error::Invalid(format!("{variable}: {error}")))
    }

    /// Its name, such as `1.37`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_34 => "1.34",
            Self::V1_35 => "1.35",
            Self::V1_36 => "1.36",
            Self::V1_37 => "1.37",
        }
    }

    /// The two parts of its name.
    pub(super) fn major_minor(self) -> (&'static str, &'static str) {
        self.name().split_once('.').unwrap_or_default()
    }
}

impl Display for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No minor of Kubernetes that the sandbox can run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox has no Kubernetes {0:?}, only {names}", names = Kubernetes::ALL.map(Kubernetes::name).join(", "))]
pub struct UnknownKubernetes(String);

impl FromStr for Kubernetes {
    type Err = UnknownKubernetes;

    fn from_str(name: &str) -> Result<Self, UnknownKubernetes> {
        let found = Self::ALL.into_iter().find(|minor| minor.name() == name);
        found.ok_or_else(|| UnknownKubernetes(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minor_is_named_as_people_name_it() {
        for minor in Kubernetes::ALL {
            assert_eq!(minor.to_string().parse(), Ok(minor));
        }
        for wrong in ["", "1.33", "v1.37", "1.37.2", "37"] {
            let error = wrong.parse::<Kubernetes>().unwrap_err().to_string();
            let want =
                format!("the sandbox has no Kubernetes {wrong:?}, only 1.37, 1.36, 1.35, 1.34");
            assert_eq!(error, want);
        }
        assert_eq!(Kubernetes::default(), Kubernetes::ALL[0], "the newest");
    }
}
