//! kubekey's way of being called: no argument, everything in the environment.
//!
//! Its contract: `CLIENT_ID`, `CLIENT_SECRET`, `IDP_ISSUER_URL`; a listener on any port of 127.0.0.1 whose `/` leads to
//! the issuer and whose `/callback` is the redirect URI; scopes openid, profile and email; `-v` prints the version.

use std::ffi::OsString;

/// What a call of the program asks for, before clap sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// Parse these arguments (without the program's name).
    Arguments(Vec<OsString>),
    /// Print the version (`-v` alone).
    Version,
    /// Nothing was asked: print help.
    Help,
}

/// Rewrites a call without arguments into a `get-token` with them; leaves every other call alone.
///
/// `env` looks a variable up; an empty one counts as absent.
#[must_use]
pub fn interpret(arguments: Vec<OsString>, env: impl Fn(&str) -> Option<String>) -> Call {
    match arguments.as_slice() {
        [only] if only == "-v" => return Call::Version,
        [] => {}
        _ => return Call::Arguments(arguments),
    }
    let set = |name| env(name).filter(|value| !value.is_empty());
    let mut words = vec!["get-token".to_owned()];
    if let Some(issuer) = set("IDP_ISSUER_URL") {
        words.push(format!("--oidc-issuer-url={issuer}"));
        words.extend(set("CLIENT_ID").map(|id| format!("--oidc-client-id={id}")));
        words.extend(set("CLIENT_SECRET").map(|secret| format!("--oidc-client-secret={secret}")));
        words.extend(
            [
                "--oidc-extra-scope=profile,email",
                "--listen-address=127.0.0.1:0",
                "--oidc-redirect-url=http://127.0.0.1:0/callback",
                "--start-at-root",
            ]
            .map(str::to_owned),
        );
    } else if set("KUBERNETES_EXEC_INFO").is_none() && set("CLIENT_ID").is_none() {
        return Call::Help;
    }
    Call::Arguments(words.into_iter().map(OsString::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str], env: &[(&str, &str)]) -> Call {
        let lookup =
            |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        interpret(arguments.iter().map(OsString::from).collect(), lookup)
    }

    fn words(words: &[&str]) -> Call {
        Call::Arguments(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn no_argument_is_get_token_where_something_calls_for_it() {
        let exec = ("KUBERNETES_EXEC_INFO", "{}");
        assert_eq!(call(&[], &[]), Call::Help);
        assert_eq!(call(&[], &[exec]), words(&["get-token"]));
        assert_eq!(call(&["whoami"], &[exec]), words(&["whoami"]));
        assert_eq!(call(&["-v"], &[exec]), Call::Version);
        assert_eq!(call(&["--version"], &[]), words(&["--version"]));
        // The client alone: `get-token` says that the issuer is missing, which help would not.
        assert_eq!(call(&[], &[("CLIENT_ID", "c")]), words(&["get-token"]));
    }

    #[test]
    fn kubekeys_variables_become_flags() {
        let env = [("IDP_ISSUER_URL", "https://i"), ("CLIENT_ID", "c"), ("CLIENT_SECRET", "")];
        let want = [
            "get-token",
            "--oidc-issuer-url=https://i",
            "--oidc-client-id=c", // and no secret: an empty one means a public client
            "--oidc-extra-scope=profile,email",
            "--listen-address=127.0.0.1:0",
            "--oidc-redirect-url=http://127.0.0.1:0/callback",
            "--start-at-root",
        ];
        assert_eq!(call(&[], &env), words(&want));
    }
}
