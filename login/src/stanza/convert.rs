//! Other programs' logins as calls of this one.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Call, Stanza, azure, beside};
use crate::{
    cli::{kubekey, parse_exec, taken_out},
    settings::Settings,
};

/// Where an exec section has the client's secret, which among the arguments other users of the machine could see.
const SECRET: &str = "KUBECTL_OIDC_CLIENT_SECRET";

/// A login as a call of this program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// The arguments.
    pub arguments: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// What the person should know.
    pub notes: Vec<String>,
}

/// A user's login as a call of this program. `file` is the kubeconfig that has it. `None` for one that is ours, or that has
/// nothing to do with OpenID Connect.
///
/// # Errors
/// Why it cannot be, in words.
pub fn convert(stanza: &Stanza, file: &Path) -> Option<Result<Converted, String>> {
    let converted = match stanza {
        Stanza::Ours(_) | Stanza::Other(_) | Stanza::Fixed => return None,
        Stanza::Kubelogin(call) => kubelogin(call),
        Stanza::Kubekey(call) => kubekey(call),
        Stanza::Azure(call) => azure::convert(call),
        Stanza::AuthProvider(name, config) => match name.as_str() {
            "oidc" => provider(config, file),
            "azure" => azure::convert(&azures_provider(config)),
            "gcp" => {
                Err("Google's clusters want gke-gcloud-auth-plugin, which is no OpenID Connect"
                    .to_owned())
            }
            other => Err(format!("an auth-provider section {other:?} is not known here")),
        },
    };
    Some(converted.and_then(checked))
}

/// What this program would refuse is not written.
fn checked(converted: Converted) -> Result<Converted, String> {
    let flags = parse_exec(converted.arguments.clone(), &converted.env).map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })?;
    Settings::new(&flags.connect).map_err(|error| error.to_string())?;
    Ok(converted)
}

/// Its flags are ours. Secrets go out of the arguments, and so does what changes nothing here.
fn kubelogin(call: &Call) -> Result<Converted, String> {
    // kubelogin takes flags of its log in front of its command.
    let command = call.arguments.iter().position(|word| word == "get-token");
    let command = command.ok_or("it does not call get-token")?;
    let mut words = call.arguments.clone();
    words.remove(command);
    let (mut arguments, secrets) = taken_out(&words);
    // The secret keyring and the encrypted file are this program's default where kubelogin's is a plain file.
    arguments.retain(|word| {
        let name = word.split('=').next().unwrap_or(word);
        !["--tls-renegotiation-once", "--tls-renegotiation-freely"].contains(&name)
    });
    arguments.insert(0, "get-token".to_owned());
    // A flag counts before its variable.
    let is_taken = |name: &str| secrets.iter().any(|(variable, _)| *variable == name);
    let mut env: Vec<_> = call.env.iter().filter(|(name, _)| !is_taken(name)).cloned().collect();
    let secrets = secrets.into_iter().filter(|(_, value)| !value.is_empty());
    env.extend(secrets.map(|(variable, value)| (variable.to_owned(), value)));
    Ok(Converted { arguments, env, notes: Vec::new() })
}

fn kubekey(call: &Call) -> Result<Converted, String> {
    let lookup = |name: &str| call.variable(name).map(str::to_owned);
    let kubekey::Call::Arguments(words) = kubekey::interpret(Vec::new(), lookup) else {
        return Err("its environment has no IDP_ISSUER_URL".to_owned());
    };
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut converted = kubelogin(&Call { arguments: words, env: Vec::new() })?;
    let own = ["CLIENT_ID", "CLIENT_SECRET", "IDP_ISSUER_URL"];
    converted
        .env
        .extend(call.env.iter().filter(|(name, _)| !own.contains(&name.as_str())).cloned());
    Ok(converted)
}

/// kubectl's own, which kubelogin's standalone mode and gangway write (client-go, `plugin/pkg/client/auth/oidc`).
fn provider(config: &Map<String, Value>, file: &Path) -> Result<Converted, String> {
    let text =
        |name: &str| config.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let needed = |name: &str| text(name).ok_or_else(|| format!("it has no {name}"));
    let mut arguments = vec![
        "get-token".to_owned(),
        format!("--oidc-issuer-url={}", needed("idp-issuer-url")?),
        format!("--oidc-client-id={}", needed("client-id")?),
    ];
    let scopes: Vec<&str> =
        text("extra-scopes").into_iter().flat_map(|scopes| scopes.split(',')).collect();
    if !scopes.is_empty() {
        arguments.push(format!("--oidc-extra-scope={}", scopes.join(" ")));
    }
    match (text("idp-certificate-authority-data"), text("idp-certificate-authority")) {
        (Some(data), _) => arguments.push(format!("--certificate-authority-data={data}")),
        (None, Some(path)) => {
            arguments.push(format!("--certificate-authority={}", beside(file, path)));
        }
        (None, None) => {}
    }
    let env = text("client-secret").map(|secret| (SECRET.to_owned(), secret.to_owned()));
    let mut notes = Vec::new();
    if text("id-token").is_some() || text("refresh-token").is_some() {
        notes.push(
            "the tokens in it are left out: log in once more (kubectl oidc login)".to_owned(),
        );
    }
    Ok(Converted { arguments, env: env.into_iter().collect(), notes })
}

/// Its configuration as the flags of Azure's kubelogin, which took its place.
fn azures_provider(config: &Map<String, Value>) -> Call {
    let names = [
        ("tenant-id", "tenant-id"),
        ("client-id", "client-id"),
        ("apiserver-id", "server-id"),
        ("environment", "environment"),
    ];
    let arguments = names
        .iter()
        .filter_map(|(from, to)| Some(format!("--{to}={}", config.get(*from)?.as_str()?)));
    Call { arguments: arguments.collect(), env: Vec::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(user: &Value) -> Result<String, String> {
        let found = convert(&Stanza::read(user), Path::new("/k/config")).expect("not ours")?;
        let env = found.env.iter().map(|(name, value)| format!("{name}={value} "));
        // Of Windows, too.
        Ok((env.collect::<String>() + &found.arguments.join(" ")).replace('\\', "/"))
    }

    fn exec(command: &str, args: &[&str], env: &[(&str, &str)]) -> Value {
        let env: Vec<_> = env.iter().map(|(n, v)| json!({"name": n, "value": v})).collect();
        json!({"exec": {"command": command, "args": args, "env": env}})
    }

    #[test]
    fn every_kind_becomes_ours() {
        let oidc = ["--oidc-issuer-url=https://i.example", "--oidc-client-id=c"];
        let kubelogin = |more: &[&str]| {
            exec("kubectl", &[&["oidc-login", "get-token"], &oidc[..], more].concat(), &[])
        };
        let base = "get-token --oidc-issuer-url=https://i.example --oidc-client-id=c";
        let azure = |more: &[&str], env: &[(&str, &str)]| {
            let given = ["get-token", "--server-id", "srv", "--client-id", "cl", "--tenant-id=t1"];
            exec("kubelogin", &[&given, more].concat(), env)
        };
        let entra = "get-token --oidc-issuer-url=https://sts.windows.net/t1/ --oidc-client-id=cl --oidc-auth-request-extra-params=resource=srv --oidc-use-access-token";
        for (user, want) in [
            (kubelogin(&[]), base.to_owned()),
            (
                kubelogin(&["--oidc-client-secret=s", "--oidc-extra-scope=email", "--tls-renegotiation-once"]),
                format!("{SECRET}=s {base} --oidc-extra-scope=email"),
            ),
            (kubelogin(&["--oidc-client-secret", "s"]), format!("{SECRET}=s {base}")),
            (kubelogin(&["--oidc-client-secret="]), base.to_owned()),
            (
                kubelogin(&["--password", "p", "--token-store-passphrase=q", "--username=a"]),
                format!("KUBECTL_OIDC_PASSWORD=p KUBECTL_OIDC_TOKEN_STORE_PASSPHRASE=q {base} --username=a"),
            ),
            (
                azure(&["-l", "ropc", "--username=a", "--password=p"], &[]),
                format!("KUBECTL_OIDC_PASSWORD=p {entra} --grant-type=password --username=a"),
            ),
            (
                exec("kubelogin", &["-v1", "get-token", oidc[0], oidc[1]], &[("HTTPS_PROXY", "http://p")]),
                "HTTPS_PROXY=http://p get-token -v1 --oidc-issuer-url=https://i.example --oidc-client-id=c".to_owned(),
            ),
            (
                json!({"auth-provider": {"name": "oidc", "config": {
                    "client-id": "c", "client-secret": "s", "idp-issuer-url": "https://i.example",
                    "idp-certificate-authority": "ca.pem", "extra-scopes": "groups,email",
                    "id-token": "e.y.J", "refresh-token": "r",
                }}}),
                format!("{SECRET}=s {base} --oidc-extra-scope=groups email --certificate-authority=/k/ca.pem"),
            ),
            (
                exec("/usr/bin/kubekey", &[], &[("IDP_ISSUER_URL", "https://i.example"), ("CLIENT_ID", "c"), ("CLIENT_SECRET", "s"), ("KUBEKEY_TEMPLATEDIR", "/t")]),
                format!("{SECRET}=s KUBEKEY_TEMPLATEDIR=/t {base} --oidc-extra-scope=profile,email --listen-address=127.0.0.1:0 --oidc-redirect-url=http://127.0.0.1:0/callback --start-at-root"),
            ),
            (azure(&["--login", "devicecode"], &[]), format!("{entra} --grant-type=device-code")),
            (azure(&[], &[]), format!("{entra} --grant-type=device-code")),
            (azure(&["-l", "interactive"], &[]), format!("{entra} --grant-type=authcode")),
            (
                azure(&["-l", "spn", "--client-secret=s"], &[]),
                format!("{SECRET}=s {entra} --grant-type=client-credentials"),
            ),
            (
                azure(&["-l", "ropc"], &[("AAD_USER_PRINCIPAL_NAME", "a@b")]),
                format!("{entra} --grant-type=password --username=a@b"),
            ),
            (
                azure(&["--environment=AzureUSGovernmentCloud", "-l", "devicecode"], &[]),
                format!("{entra} --oidc-discovery-url=https://login.microsoftonline.us/t1/.well-known/openid-configuration --grant-type=device-code"),
            ),
            (
                json!({"auth-provider": {"name": "azure", "config": {
                    "tenant-id": "t1", "client-id": "cl", "apiserver-id": "srv", "environment": "AzurePublicCloud",
                }}}),
                format!("{entra} --grant-type=device-code"),
            ),
        ] {
            assert_eq!(converted(&user), Ok(want), "{user}");
        }
    }

    #[test]
    fn what_cannot_be_says_why() {
        for (user, want) in [
            (exec("kubelogin", &["setup"], &[]), "does not call get-token"),
            (
                exec("kubectl", &["oidc-login", "get-token", "--oidc-client-id=c"], &[]),
                "--oidc-issuer-url is missing",
            ),
            (exec("kubectl", &["oidc-login", "get-token", "--nothing"], &[]), "--nothing"),
            (exec("kubekey", &[], &[]), "IDP_ISSUER_URL"),
            (
                exec(
                    "kubelogin",
                    &["get-token", "-l", "azurecli", "--server-id=s", "--client-id=c", "-t", "t"],
                    &[],
                ),
                "azurecli",
            ),
            (
                exec(
                    "kubelogin",
                    &["get-token", "--server-id=s", "--client-id=c", "-t", "t", "--pop-enabled"],
                    &[],
                ),
                "--pop-enabled",
            ),
            (
                exec("kubelogin", &["get-token", "--server-id=s", "--client-id=c"], &[]),
                "--tenant-id",
            ),
            (json!({"auth-provider": {"name": "gcp"}}), "gke-gcloud-auth-plugin"),
            (
                json!({"auth-provider": {"name": "oidc", "config": {"client-id": "c"}}}),
                "idp-issuer-url",
            ),
        ] {
            let error = converted(&user).unwrap_err();
            assert!(error.contains(want), "{user}: {error}");
        }
        for user in [
            exec("aws", &["eks"], &[]),
            exec("kubectl-oidc", &["get-token"], &[]),
            json!({"token": "t"}),
        ] {
            assert!(convert(&Stanza::read(&user), Path::new("k")).is_none(), "{user}");
        }
    }
}
