//! Flags of `get-token` that are secrets: those whose value help does not show either.

use std::{collections::BTreeMap, sync::LazyLock};

use clap::CommandFactory as _;

use super::{Cli, go};

/// Every flag, without its dashes, with its variable, and whether it is a secret.
static KNOWN: LazyLock<BTreeMap<String, (String, bool)>> = LazyLock::new(|| {
    let definition = Cli::command();
    let get_token = definition.find_subcommand("get-token");
    let mut flags = BTreeMap::new();
    for flag in get_token.into_iter().flat_map(clap::Command::get_arguments) {
        let Some(variable) = flag.get_env().and_then(|name| name.to_str()) else { continue };
        for name in flag.get_long().into_iter().chain(flag.get_all_aliases().unwrap_or_default()) {
            let is_secret = flag.is_hide_env_values_set();
            flags.insert(name.to_owned(), (variable.to_owned(), is_secret));
        }
    }
    flags
});

/// The variable that a secret may be given in instead of by this flag (`--password`); `None` for what is no secret.
fn variable_of(flag: &str) -> Option<&'static str> {
    let found = KNOWN.get(flag.strip_prefix("--")?);
    found.filter(|(_, is_secret)| *is_secret).map(|(variable, _)| variable.as_str())
}

/// Whether the value of this flag is a secret, of this program or, by its name, of another one.
#[must_use]
pub fn is_secret_flag(flag: &str) -> bool {
    let Some(name) = flag.strip_prefix('-') else { return false };
    let name = name.strip_prefix('-').unwrap_or(name);
    match KNOWN.get(name) {
        Some((_, is_secret)) => *is_secret,
        None => is_secret_name(name),
    }
}

/// Whether the value of this variable is a secret, of this program or, by its name, of another one.
#[must_use]
pub fn is_secret_variable(name: &str) -> bool {
    match KNOWN.values().find(|(variable, _)| variable == name) {
        Some((_, is_secret)) => *is_secret,
        None => is_secret_name(name),
    }
}

/// Whether what is called so is a secret: a password, a token, and no file or variable that has one.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let words: Vec<&str> = name.split(['-', '_']).collect();
    let place = ["file", "path", "dir", "env", "type", "url", "endpoint", "audience", "id"];
    let secret = ["secret", "password", "passphrase", "token", "key"];
    let is_place = words.last().is_some_and(|last| place.contains(last));
    // IDTOKEN and PGPASSWORD, too.
    !is_place && words.iter().any(|word| secret.iter().any(|secret| word.ends_with(secret)))
}

/// Takes the flags that are secrets out of arguments: the others, and the variables with their values. What is empty is not given.
#[must_use]
pub fn taken_out(arguments: &[String]) -> (Vec<String>, Vec<(&'static str, String)>) {
    let mut others = Vec::new();
    let mut found: Vec<(&'static str, Vec<String>)> = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let Some(variable) = variable_of(name) else {
            others.push(word.clone());
            continue;
        };
        let value = value.or_else(|| words.next().cloned()).unwrap_or_default();
        match found.iter_mut().find(|(known, _)| *known == variable) {
            Some((_, values)) => values.push(value),
            None => found.push((variable, vec![value])),
        }
    }
    let variables = found.into_iter().map(|(variable, values)| (variable, one(variable, values)));
    (others, variables.collect())
}

/// The values of one flag as that of its variable: all pairs of names and values, of anything else the last.
fn one(variable: &str, mut values: Vec<String>) -> String {
    let parsed = || values.iter().map(|value| go::pairs(value)).collect::<Result<Vec<_>, _>>();
    match (variable, values.len()) {
        ("KUBECTL_OIDC_REQUEST_HEADER", 2..) if parsed().is_ok() => {
            go::list(&go::merged(&parsed().unwrap_or_default()))
        }
        _ => values.pop().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_flag_and_by_name() {
        for (flag, want) in [
            ("--password", true),
            ("--oidc-client-secret", true),
            ("--token-store-passphrase", true),
            ("--oidc-request-header", true),
            ("--client-secret", true),
            ("--azure-client-certificate-password", true),
            ("--token", true),
            ("--oidc-client-id", false),
            ("--oidc-use-access-token", false),
            ("--token-file", false),
            ("--token-cache-dir", false),
            ("--token-cache-storage", false),
            ("--client-assertion-key-id", false),
            ("--federated-token-file", false),
            ("password", false),
            ("get-token", false),
        ] {
            assert_eq!(is_secret_flag(flag), want, "{flag}");
        }
        for (name, want) in [
            ("KUBECTL_OIDC_PASSWORD", true),
            ("KUBECTL_OIDC_REQUEST_HEADER", true),
            ("KUBECTL_OIDC_CLIENT_ID", false),
            ("KUBECTL_OIDC_TOKEN_FILE", false),
            ("CLIENT_SECRET", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("PGPASSWORD", true),
            ("AZURE_FEDERATED_TOKEN_FILE", false),
            ("HTTPS_PROXY", false),
        ] {
            assert_eq!(is_secret_variable(name), want, "{name}");
        }
    }

    #[test]
    fn secrets_are_taken_out_of_arguments_in_either_form() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let (others, found) = taken_out(&words(
            "get-token --password old --username=ada --password=new --oidc-client-secret= --oidc-request-header A=1 --oidc-request-header=B={\"x\":2}",
        ));
        assert_eq!(others, words("get-token --username=ada"));
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], ("KUBECTL_OIDC_PASSWORD", "new".to_owned()));
        assert_eq!(found[1], ("KUBECTL_OIDC_CLIENT_SECRET", String::new()));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = go::pairs(&found[2].1).unwrap().0;
        assert_eq!(headers, [pair("A", "1"), pair("B", "{\"x\":2}")]);
    }
}
