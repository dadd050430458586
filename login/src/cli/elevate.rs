//! The flags of `elevate`.

use clap::{Args, ValueEnum};

use super::{ConnectFlags, KubeconfigFlags, OutputFormat};

/// `elevate`
#[derive(Debug, Clone, Args)]
pub struct Elevate {
    /// What to do; without it, groups are asked for
    #[arg(value_enum, value_name = "STEP")]
    pub step: Option<Step>,
    /// The grant, as `elevate list` names it
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// A group to ask for; may be given several times
    #[arg(long, env = "KUBECTL_OIDC_GROUP", value_name = "NAME")]
    pub group: Vec<String>,
    /// For how long, such as 1h or 30m
    #[arg(long = "for", env = "KUBECTL_OIDC_FOR", value_name = "DURATION", default_value = "1h", value_parser = seconds)]
    pub length: u64,
    /// Why: anyone who agrees reads it
    #[arg(long, env = "KUBECTL_OIDC_REASON", value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// The portal's URL
    #[arg(long, env = "KUBECTL_OIDC_PORTAL", value_name = "URL")]
    pub portal: Option<String>,
    /// The certificate authority of the portal, a PEM file (else the cluster's)
    #[arg(long, env = "KUBECTL_OIDC_PORTAL_CERTIFICATE_AUTHORITY", value_name = "FILE")]
    pub portal_certificate_authority: Option<String>,
    /// Output format
    #[arg(long, short = 'o', env = "KUBECTL_OIDC_OUTPUT", value_enum, default_value_t)]
    pub output: OutputFormat,
    /// All that leads to a token.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The kubeconfig.
    #[command(flatten)]
    pub kubeconfig: KubeconfigFlags,
}

/// What is to be done with grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Show what may be asked for, what is asked for, and what is lent
    List,
    /// Agree to what somebody else asked for
    Approve,
    /// Refuse it
    Deny,
    /// End what is lent, or take back what was asked for
    End,
}

/// Seconds of a duration in Go's form, as far as whole seconds go.
fn seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no duration such as 1h, 30m or 1h30m");
    let (mut rest, mut sum) = (text, 0_u64);
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, behind) = rest.split_at(unit);
        let mut behind = behind.chars();
        let factor = match behind.next() {
            Some('h') => 3600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        sum = number.checked_mul(factor).and_then(|it| it.checked_add(sum)).ok_or_else(bad)?;
        rest = behind.as_str();
    }
    if sum == 0 { Err(bad()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_seconds_in_go_s_form() {
        for (text, want) in
            [("1h", Some(3600)), ("90m", Some(5400)), ("1h30m10s", Some(5410)), ("45s", Some(45))]
        {
            assert_eq!(seconds(text).ok(), want, "{text}");
        }
        for text in ["", "0s", "1", "1d", "h", "-1h", "1.5h", "1h ", "99999999999999999999h"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
