//! Which login a command is about: the one its flags name, else the one of the kubeconfig's context.

use super::error::CommandError;
use crate::{
    cli::{ConnectFlags, Given, KubeconfigFlags, parse_exec},
    kubeconfig::{Cluster, Files, Kubeconfig},
    settings::Settings,
    stanza::{Call, Stanza},
};

/// A login, and the cluster it is for if a kubeconfig says so.
#[derive(Debug)]
pub struct Target {
    /// How to get its token.
    pub settings: Settings,
    /// Where it is used.
    pub cluster: Option<Cluster>,
}

impl Target {
    /// Finds the login.
    pub fn find(flags: &ConnectFlags, kube: &KubeconfigFlags) -> Result<Self, CommandError> {
        Self::with(flags, kube, None, &Given::default())
    }

    /// The same, of a user that need not be a context's, and with flags that count before those of the kubeconfig.
    pub fn with(
        flags: &ConnectFlags,
        kube: &KubeconfigFlags,
        user: Option<&str>,
        given: &Given,
    ) -> Result<Self, CommandError> {
        let files = Files::existing(kube.kubeconfig.as_deref());
        let config = files.and_then(|files| Kubeconfig::load(&files));
        let named = flags.issuer.oidc_issuer_url.is_some()
            || flags.login.token_file.is_some()
            || flags.login.token_env.is_some();
        if named {
            // The cluster is a bonus here: without a kubeconfig, the claims can be shown all the same.
            let context = config.and_then(|config| config.context(kube.context.as_deref())).ok();
            let cluster = context.map(|context| context.cluster);
            return Ok(Self { settings: Settings::new(flags)?, cluster });
        }
        let config = config?;
        let (stanza, name, cluster) = if let Some(user) = user {
            (config.user(user)?, user.to_owned(), None)
        } else {
            let context = config.context(kube.context.as_deref())?;
            (context.stanza, context.user_name, Some(context.cluster))
        };
        let Call { mut arguments, mut env } =
            own_call(stanza).map_err(|why| CommandError::Other(format!("user {name:?} {why}")))?;
        arguments.extend(given.arguments.iter().cloned());
        env.retain(|(name, _)| !given.env.iter().any(|(known, _)| known == name));
        env.extend(given.env.iter().cloned());
        let parsed = parse_exec(arguments, &env).map_err(|error| {
            // clap's text is several lines; the first one says it.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            CommandError::Other(format!(
                "the exec section of user {name:?} cannot be used: {first}; change it in the kubeconfig"
            ))
        })?;
        Ok(Self { settings: Settings::new(&parsed.connect)?, cluster })
    }
}

/// The call of this program that a user's login is, or why it is none, with the way out.
fn own_call(stanza: Stanza) -> Result<Call, String> {
    let convert = "kubectl oidc convert shows it as this program's, and --write writes it";
    match stanza {
        // kubekey has no arguments; what it is about stands in its environment.
        Stanza::Ours(call) | Stanza::Kubekey(call) => Ok(call),
        Stanza::Kubelogin(_) => Err(format!("logs in with kubelogin; {convert}")),
        Stanza::Azure(_) => Err(format!("logs in with Azure's kubelogin; {convert}")),
        Stanza::AuthProvider(name, _) => Err(format!(
            "has an auth-provider section ({name}), which kubectl has not known since 1.26; {convert}"
        )),
        Stanza::Other(command) => Err(format!(
            "logs in with {command:?}, which is no OpenID Connect; give another --context, or --oidc-issuer-url and --oidc-client-id"
        )),
        Stanza::Fixed => Err(
            "has no exec section; give another --context, or --oidc-issuer-url and --oidc-client-id"
                .to_owned(),
        ),
    }
}

/// Whether a call without a command was meant as kubelogin's standalone mode: the current context has what that is for.
#[must_use]
pub fn standalone_hint() -> Option<String> {
    let context = Kubeconfig::load(&Files::locate(None).ok()?).ok()?.context(None).ok()?;
    match &context.stanza {
        Stanza::AuthProvider(name, _) if name == "oidc" => {
            let why = own_call(context.stanza.clone()).err()?;
            Some(format!("user {:?} {why}", context.user_name))
        }
        _ => None,
    }
}
