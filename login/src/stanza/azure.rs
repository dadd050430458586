//! Azure's kubelogin: its flags and variables, and what they are in the words of OpenID Connect.
//!
//! It presents an access token for the server's application, which Entra ID issues in the form of its version 1: by the issuer
//! `https://sts.windows.net/TENANT/`, whose authorization takes the application's ID as `resource`.

use super::{Call, Converted};

/// These arguments are its, and not those of the program of the same name.
pub(super) fn is_meant(arguments: &[String]) -> bool {
    let names = ["--server-id", "--environment", "--login", "-l", "--tenant-id", "-t", "-e"];
    arguments.iter().any(|word| names.contains(&word.split('=').next().unwrap_or(word)))
}

/// The same login as a call of this program.
pub(super) fn convert(call: &Call) -> Result<Converted, String> {
    let value = |names: &[&str], variables: &[&str]| {
        flag(&call.arguments, names)
            .or_else(|| variables.iter().find_map(|name| call.variable(name).map(str::to_owned)))
    };
    let needed = |names: &[&str], variables: &[&str]| {
        value(names, variables).ok_or_else(|| format!("it has no {}", names[0]))
    };
    if flag(&call.arguments, &["--pop-enabled"]).is_some_and(|value| value != "false") {
        return Err(
            "its tokens are bound to a key (--pop-enabled), which the cluster expects".to_owned()
        );
    }
    let tenant = needed(&["--tenant-id", "-t"], &["AZURE_TENANT_ID"])?;
    let server = needed(&["--server-id"], &[])?;
    let client = needed(&["--client-id"], &["AAD_SERVICE_PRINCIPAL_CLIENT_ID", "AZURE_CLIENT_ID"])?;
    let cloud = value(&["--environment", "-e"], &["AZURE_ENVIRONMENT"]).unwrap_or_default();
    let (issuer, discovery) = match cloud.to_lowercase().as_str() {
        "azureusgovernmentcloud" | "azureusgovernment" => {
            ("sts.windows.net", Some("login.microsoftonline.us"))
        }
        "azurechinacloud" | "azurechina" => ("sts.chinacloudapi.cn", None),
        "" | "azurepubliccloud" | "azurepublic" => ("sts.windows.net", None),
        other => return Err(format!("the cloud {other:?} is not known here")),
    };
    let resource = if flag(&call.arguments, &["--legacy"]).is_some_and(|value| value != "false") {
        format!("spn:{server}")
    } else {
        server
    };
    let mut arguments = vec![
        "get-token".to_owned(),
        format!("--oidc-issuer-url=https://{issuer}/{tenant}/"),
        format!("--oidc-client-id={client}"),
        format!("--oidc-auth-request-extra-params=resource={resource}"),
        "--oidc-use-access-token".to_owned(),
    ];
    if let Some(host) = discovery {
        let url = format!("https://{host}/{tenant}/.well-known/openid-configuration");
        arguments.push(format!("--oidc-discovery-url={url}"));
    }
    let mut env = Vec::new();
    let login = value(&["--login", "-l"], &["AAD_LOGIN_METHOD"]);
    match login.as_deref().unwrap_or("devicecode") {
        "devicecode" => arguments.push("--grant-type=device-code".to_owned()),
        "interactive" => {
            arguments.push("--grant-type=authcode".to_owned());
            if let Some(url) = flag(&call.arguments, &["--redirect-url"]) {
                arguments.push(format!("--oidc-redirect-url={url}"));
            }
        }
        "ropc" => {
            arguments.push("--grant-type=password".to_owned());
            let names = ["AAD_USER_PRINCIPAL_NAME", "AZURE_USERNAME"];
            if let Some(name) = value(&["--username"], &names) {
                arguments.push(format!("--username={name}"));
            }
            let names = ["AAD_USER_PRINCIPAL_PASSWORD", "AZURE_PASSWORD"];
            if let Some(password) = value(&["--password"], &names) {
                env.push(("KUBECTL_OIDC_PASSWORD".to_owned(), password));
            }
        }
        "spn" => {
            if flag(&call.arguments, &["--client-certificate"]).is_some() {
                return Err("it logs in with a client certificate; give its key with --client-assertion-key-file".to_owned());
            }
            arguments.push("--grant-type=client-credentials".to_owned());
            let names = ["AAD_SERVICE_PRINCIPAL_CLIENT_SECRET", "AZURE_CLIENT_SECRET"];
            let secret = value(&["--client-secret"], &names).ok_or(
                "its secret is not in the kubeconfig; give it as KUBECTL_OIDC_CLIENT_SECRET",
            )?;
            env.push(("KUBECTL_OIDC_CLIENT_SECRET".to_owned(), secret));
        }
        "workloadidentity" => {
            arguments.push("--grant-type=client-credentials".to_owned());
            let file = value(&["--federated-token-file"], &["AZURE_FEDERATED_TOKEN_FILE"])
                .ok_or("it has no --federated-token-file")?;
            arguments.push(format!("--client-assertion-file={file}"));
        }
        other => {
            return Err(format!(
                "it logs in with {other:?}, by which Azure's own programs are asked; OpenID Connect has no such way"
            ));
        }
    }
    let note = "made after Azure's documents: try it before you hand it on".to_owned();
    Ok(Converted { arguments, env, notes: vec![note] })
}

/// The last value of a flag, in either form; a switch without a value is `true`.
fn flag(arguments: &[String], names: &[&str]) -> Option<String> {
    let mut found = None;
    let mut words = arguments.iter().peekable();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if names.contains(&name) {
            let mut next = || words.next_if(|next| !next.starts_with('-')).cloned();
            found = value.or_else(&mut next).or_else(|| Some("true".to_owned()));
        }
    }
    found.filter(|value| !value.is_empty())
}
