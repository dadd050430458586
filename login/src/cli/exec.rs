//! An exec section of a kubeconfig, read as the call it stands for.

use std::ffi::OsString;

use clap::{FromArgMatches as _, parser::ValueSource};

use super::{Cli, Command, GetToken, kubekey};

/// The flags that an exec section of a kubeconfig amounts to: its arguments, with its environment where they are silent.
///
/// # Errors
/// clap's, if the arguments are no `get-token`.
pub fn parse_exec(
    arguments: Vec<String>,
    env: &[(String, String)],
) -> Result<GetToken, clap::Error> {
    let lookup = |name: &str| {
        let own = env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        own.or_else(|| std::env::var(name).ok())
    };
    let arguments = arguments.into_iter().map(OsString::from).collect();
    let mut words = match kubekey::interpret(arguments, lookup) {
        kubekey::Call::Arguments(words) => words,
        kubekey::Call::Version | kubekey::Call::Help => vec!["get-token".into()],
    };
    words.insert(0, "kubectl-oidc".into());
    let definition = Cli::definition();
    let matches = definition.clone().try_get_matches_from(&words)?;
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = definition.find_subcommand(name)
    {
        for flag in command.get_arguments() {
            let variable = flag.get_env().and_then(|name| name.to_str());
            let value = variable.and_then(|name| env.iter().find(|(known, _)| known == name));
            let given =
                matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine);
            if let (Some(long), Some((_, value)), false) = (flag.get_long(), value, given) {
                words.push(format!("--{long}={value}").into());
            }
        }
    }
    match Cli::from_arg_matches(&definition.try_get_matches_from(words)?)?.command {
        Some(Command::GetToken(get_token)) => Ok(*get_token),
        _ => Err(Cli::definition().error(
            clap::error::ErrorKind::InvalidSubcommand,
            "the exec section does not call get-token",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_section_is_its_arguments_and_its_environment() {
        let env = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let given = words(&["get-token", "--oidc-issuer-url=https://i", "--oidc-client-id=c"]);
        let stanza = [("KUBECTL_OIDC_CLIENT_ID", "other"), ("KUBECTL_OIDC_CLIENT_SECRET", "s")];
        let found = parse_exec(given, &env(&stanza)).unwrap().connect.issuer;
        assert_eq!(found.oidc_client_id.as_deref(), Some("c"));
        assert_eq!(found.oidc_client_secret.as_deref(), Some("s"));

        let kubekeys = [("CLIENT_ID", "k"), ("IDP_ISSUER_URL", "https://j")];
        let found = parse_exec(Vec::new(), &env(&kubekeys)).unwrap().connect.issuer;
        assert_eq!(found.oidc_client_id.as_deref(), Some("k"));
        assert_eq!(found.oidc_issuer_url.as_deref(), Some("https://j"));
        assert!(parse_exec(words(&["status"]), &[]).is_err());
    }
}
