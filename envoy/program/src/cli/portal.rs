//! `kube-oidc-gateway portal`

pub mod beside;
mod flags;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use gateway_config::{
    Rendered, duration,
    portal::{Inputs, render},
};
use gateway_control::write;
use gateway_core::portal_keys::{KeyRing, VARIABLE};
use kube_oidc_gateway::{
    portal::{Place, Portal as Described, run},
    process::write_for_the_owner_alone,
    supervisor::{OLD, Start},
};
use tracing::warn;

use self::flags::{PortalFlags, in_flags};
use super::{
    envoy, error::Error, files::absolute, log::LogFormat, modules, render::documents,
    rules::RulesFlag,
};

/// Run the portal: tokens and kubeconfigs for people, a TokenReview webhook for API servers.
///
/// Takes the flags of kubehook and its KUBEHOOK_* variables. The first signing key signs; without one the first secret does.
/// All others still verify, so that a key can be exchanged without a token being lost.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[derive(Debug, Args)]
pub struct Portal {
    #[command(flatten)]
    flags: PortalFlags,
    /// Where clients connect; without an address, on all addresses
    #[arg(long, value_name = "[ADDRESS]:PORT", default_value = ":10003", env = "KUBEHOOK_LISTEN", value_parser = listen)]
    listen: SocketAddr,
    /// Log more
    #[arg(short, long, env = "KUBEHOOK_DEBUG")]
    debug: bool,
    /// The form of this program's own lines on standard error
    #[arg(long, value_enum, value_name = "FORM", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// How long open connections may take to end
    #[arg(long, value_name = "DURATION", default_value = "1m", env = "KUBEHOOK_SHUTDOWN_GRACE_PERIOD", value_parser = duration)]
    shutdown_grace_period: Duration,
    /// Accept bearer tokens of these issuers, and review them: an AuthenticationConfiguration as kube-apiserver takes it
    #[arg(long, value_name = "FILE")]
    authentication_config: Option<PathBuf>,
    /// allowedReserved and limits of a GatewayConfiguration [default: all defaults]
    #[arg(long, value_name = "FILE", requires = "authentication_config")]
    gateway_config: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesFlag,
    /// The CA bundle for issuers without one of their own (PEM)
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    system_ca_file: PathBuf,
    /// The Wasm module [default: filter.wasm beside this program, else in /usr/local/share/kube-oidc-gateway]
    #[arg(long, value_name = "FILE", env = "GATEWAY_FILTER")]
    filter: Option<PathBuf>,
    /// The Envoy binary [default: envoy in PATH]
    #[arg(long, visible_alias = "envoy", value_name = "FILE", env = "ENVOY_BIN")]
    envoy_binary: Option<PathBuf>,
    /// The directory for Envoy's files and sockets
    #[arg(long, value_name = "DIR", default_value = "/run/kube-oidc-gateway-portal")]
    run_dir: PathBuf,
    /// Worker threads [default: one for each CPU]
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Where Envoy writes one JSON line a request
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout")]
    access_log: PathBuf,
}

impl Portal {
    /// The form of this program's own lines.
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }

    pub fn run(&self) -> Result<(), Error> {
        write_for_the_owner_alone();
        let envoy = envoy::find(self.envoy_binary.clone())?;
        let grace = self.shutdown_grace_period;
        let described = self.flags.portal();
        described.configuration.check().map_err(|error| in_flags(error.into()))?;
        let mut seen = self.fingerprint(&described);
        let mut last = seen.clone();
        let first = self.start(&described, &envoy, absolute(&self.run_dir)?)?;
        let mut number = 0_u32;
        let renewed = || {
            // Twice the same: a file that is being written is not taken for what it will be.
            let before = std::mem::replace(&mut last, self.fingerprint(&described));
            if last == seen || last != before {
                return None;
            }
            seen.clone_from(&last);
            number += 1;
            let started = absolute(&self.run_dir.join(number.to_string()));
            match started.and_then(|directory| self.start(&described, &envoy, directory)) {
                Ok(start) => Some(start),
                Err(error) => {
                    warn!("{error}; {OLD}");
                    None
                }
            }
        };
        Ok(run(&first, renewed, grace)?)
    }

    /// What the files hold that Envoy does not watch itself. One that cannot be read is one that has changed.
    fn fingerprint(&self, described: &Described) -> Vec<Option<Vec<u8>>> {
        let documents = [&self.authentication_config, &self.gateway_config];
        let files = described.files().chain(documents.into_iter().flatten());
        files.map(|path| fs::read(path).ok()).collect()
    }

    /// Renders everything into a folder.
    fn start(
        &self,
        described: &Described,
        envoy: &Path,
        directory: PathBuf,
    ) -> Result<Start, Error> {
        let (keys, ring) = described.keys().map_err(in_flags)?;
        let inputs = self.inputs(described, ring, directory)?;
        let rendered = render(&inputs)?;
        write(&rendered, &inputs.directory)?;
        let mut arguments = rendered.arguments(&inputs.directory);
        // Never "debug": there Envoy writes requests' headers, and so tokens.
        let level = if self.debug { "info" } else { "warning" };
        arguments.extend(["--log-level", level, "--drain-time-s", "5"].map(Into::into));
        // It would quote a cookie that it cannot open.
        arguments.extend(["--component-log-level", "oauth2:off"].map(Into::into));
        let mut environment = vec![(VARIABLE, keys)];
        environment.extend(Rendered::environment().map(|(name, value)| (name, value.to_owned())));
        Ok(Start {
            program: envoy.to_owned(),
            arguments,
            environment,
            admin: inputs.admin_socket(),
        })
    }

    fn inputs(
        &self,
        described: &Described,
        ring: KeyRing,
        directory: PathBuf,
    ) -> Result<Inputs, Error> {
        let documents = self
            .authentication_config
            .as_deref()
            .map(|file| documents(file, self.gateway_config.as_deref(), self.rules))
            .transpose()?;
        let place = Place {
            documents: documents.as_ref(),
            filter: modules::filter(self.filter.clone())?,
            access_log: absolute(&self.access_log)?,
            grants: false,
            sessions: false,
        };
        let part = described.part(place, ring).map_err(in_flags)?;
        Ok(Inputs {
            directory,
            listen: self.listen,
            part,
            documents,
            system_ca: absolute(&self.system_ca_file)?,
            concurrency: self.concurrency,
        })
    }
}

/// An address as Go takes it: `:10003` is every address.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "not [ADDRESS]:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    #[test]
    fn kubehooks_flags_defaults_and_variables() {
        let command = Portal::augment_args(Command::new("portal"));
        for (flag, default, variable) in [
            ("listen", ":10003", "LISTEN"),
            ("debug", "", "DEBUG"),
            ("shutdown-grace-period", "1m", "SHUTDOWN_GRACE_PERIOD"),
            ("audience", "github.com/planetlabs/kubehook", "AUDIENCE"),
            ("user-header", "X-Forwarded-User", "USER_HEADER"),
            ("group-header", "X-Forwarded-Groups", "GROUP_HEADER"),
            ("group-header-delimiter", ";", "GROUP_HEADER_DELIMITER"),
            ("max-lifetime", "168h", "MAX_LIFETIME"),
            ("kubecfg-template", "", "KUBECFG_TEMPLATE"),
            ("client-ca", "", "CLIENT_CA"),
            ("client-ca-subject", "", "CLIENT_CA_SUBJECT"),
            ("tls-cert", "", "TLS_CERT"),
            ("tls-key", "", "TLS_KEY"),
        ] {
            let argument = command.get_arguments().find(|it| it.get_long() == Some(flag));
            let argument = argument.unwrap_or_else(|| panic!("--{flag} is gone"));
            let defaults = argument.get_default_values().join(" ".as_ref());
            assert_eq!(defaults, *default, "--{flag}");
            let variable = format!("KUBEHOOK_{variable}");
            assert_eq!(argument.get_env(), Some(variable.as_ref()), "--{flag}");
        }
        let secret = command.get_arguments().find(|it| it.is_positional()).unwrap();
        assert_eq!(secret.get_env(), Some("KUBEHOOK_SECRET".as_ref()));
        let debug = command.get_arguments().find(|it| it.get_short() == Some('d')).unwrap();
        assert_eq!(debug.get_long(), Some("debug"));
    }

    #[test]
    fn kubehooks_addresses() {
        for (text, want) in
            [(":10003", "[::]:10003"), ("127.0.0.1:1", "127.0.0.1:1"), ("[::1]:2", "[::1]:2")]
        {
            assert_eq!(listen(text).unwrap().to_string(), want);
        }
        assert!(listen("10003").is_err());
    }
}
