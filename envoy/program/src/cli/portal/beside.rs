//! A `PortalConfiguration`: what makes a portal beside the gateway. Its fields are the flags of `portal`.

use std::{fs, path::Path};

use clap::{ArgAction, Args, Command, FromArgMatches};
use gateway_core::config::API_VERSION;
use gateway_net::{Dns, Host};
use serde_json::Value;

use super::{Error, PortalFlags};

const KIND: &str = "PortalConfiguration";

/// A portal under a name of its own.
#[derive(Debug)]
pub struct Beside {
    /// The name.
    pub host: Dns,
    /// The rest.
    pub flags: PortalFlags,
}

impl Beside {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|reason| Error::Document { path: path.display().to_string(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let document: Value = serde_saphyr::from_str(text)
            .map_err(|error| error.to_string().lines().next().unwrap_or("not YAML").to_owned())?;
        let Value::Object(mut fields) = document else { return Err("not a document".to_owned()) };
        for (field, want) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            if fields.remove(field) != Some(Value::from(want)) {
                return Err(format!("{field}: must be {want}"));
            }
        }
        let host = fields.remove("host").ok_or("host: Required value")?;
        let Some(Ok(Host::Dns(host))) = host.as_str().map(str::parse) else {
            return Err(format!("host: {host} is no DNS name"));
        };
        let command = PortalFlags::augment_args(Command::new(KIND).no_binary_name(true));
        let mut words = Vec::new();
        for (field, value) in &fields {
            let flag = kebab(field);
            let known = command.get_arguments().find(|it| it.get_long() == Some(&flag));
            let action = known.ok_or_else(|| format!("{field}: unknown field"))?.get_action();
            words.extend(as_words(&flag, action, value).map_err(|why| format!("{field}: {why}"))?);
        }
        let matches = command.try_get_matches_from(words).map_err(|error| one_line(&error))?;
        let flags = PortalFlags::from_arg_matches(&matches).map_err(|error| one_line(&error))?;
        Ok(Self { host, flags })
    }
}

/// A field as words of a command line.
fn as_words(flag: &str, action: &ArgAction, value: &Value) -> Result<Vec<String>, &'static str> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Ok(format!("--{flag}={text}")),
        Value::Number(number) => Ok(format!("--{flag}={number}")),
        _ => Err("must be a text or a number"),
    };
    match (action, value) {
        (ArgAction::SetTrue, Value::Bool(true)) => Ok(vec![format!("--{flag}")]),
        (ArgAction::SetTrue, Value::Bool(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, _) => Err("must be true or false"),
        (ArgAction::Append, Value::Array(items)) => items.iter().map(scalar).collect(),
        (ArgAction::Append, _) => Err("must be a list"),
        (_, value) => scalar(value).map(|word| vec![word]),
    }
}

/// `maxLifetime` as `max-lifetime`.
fn kebab(field: &str) -> String {
    let mut flag = String::new();
    for letter in field.chars() {
        if letter.is_ascii_uppercase() {
            flag.push('-');
        }
        flag.push(letter.to_ascii_lowercase());
    }
    flag
}

fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("Usage:")).collect();
    said.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: gateway.kube-oidc.dev/v1alpha1\nkind: PortalConfiguration\n";

    #[test]
    fn fields_are_flags() {
        let text = format!(
            "{HEAD}host: portal.example\nsecretFile: [/a, /b]\nmaxLifetime: 8h\ntokensPerSecond: 2\n\
             outliveLogin: true\ninsecureTrustHeader: false\nloginScope: [openid, email]\n\
             groupHeaderDelimiter: \"-\"\n"
        );
        let Beside { host, flags } = Beside::parse(&text).unwrap();
        assert_eq!(host.as_str(), "portal.example");
        let files: Vec<_> = flags.files().map(|path| path.display().to_string()).collect();
        assert_eq!(files, ["/a", "/b"]);
        let text = format!("{flags:?}");
        for part in
            ["max_lifetime: 28800s", "tokens_per_second: 2", "outlive_login: true", "\"email\""]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (fields, want) in [
            ("", "host: Required value"),
            ("host: 10.0.0.1", "host: \"10.0.0.1\" is no DNS name"),
            ("host: '*.example'", "is no DNS name"),
            ("host: a\nsecret: x", "secret: unknown field"),
            ("host: a\nlisten: ':1'", "listen: unknown field"),
            ("host: a\nsecretFile: /a", "secretFile: must be a list"),
            ("host: a\noutliveLogin: 'yes'", "outliveLogin: must be true or false"),
            ("host: a\naudience: [a]", "audience: must be a text or a number"),
            ("host: a\nmaxLifetime: 1d", "--max-lifetime"),
            ("host: a\nloginClientId: a", "--url"),
            ("host: a\nhost: b", "duplicate"),
        ] {
            let error = Beside::parse(&format!("{HEAD}{fields}")).unwrap_err();
            assert!(error.contains(want) && !error.contains('\n'), "{fields}: {error}");
        }
        assert!(Beside::parse("host: a").unwrap_err().contains("apiVersion: must be"));
    }
}
