//! `certificates`: the gateway's own CA and serving certificate, kept in Secrets.

use std::{fs, net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use gateway_client::{Overrides, SERVICE_ACCOUNT, connection};
use gateway_config::duration;
use kube_oidc_gateway::certificates::{Names, Wanted, keep};

use super::{error::Error, output::print};

/// Keep a CA of the gateway's own and a serving certificate under it, in two Secrets.
///
/// The CA is made if it is not there, and never replaced. A new certificate is made when its names change, and when half of
/// its lifetime is over. A gateway that mounts it uses the new one without a restart. Needs the rights to create Secrets, and to read and
/// update these two.
#[derive(Debug, Args)]
pub struct Certificates {
    /// The Secret with the CA and its key. No pod of the gateway needs it
    #[arg(long, value_name = "NAME")]
    ca_secret: String,
    /// The Secret with the serving certificate, its key and the CA's certificate
    #[arg(long, value_name = "NAME")]
    serving_secret: String,
    /// The Secrets' namespace [default: the pod's]
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
    /// A DNS name that the certificate is for; repeatable
    #[arg(long, value_name = "NAME")]
    dns_name: Vec<String>,
    /// An address that the certificate is for; repeatable
    #[arg(long, value_name = "IP")]
    ip_address: Vec<IpAddr>,
    /// A Service whose load balancer's names and addresses the certificate is for, too
    #[arg(long, value_name = "SERVICE")]
    load_balancer_of: Option<String>,
    /// How long to wait until the Service has one, and then to fail [default: do not wait, use what is there]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "load_balancer_of")]
    load_balancer_wait: Option<Duration>,
    /// The kubeconfig for the API server [default: the pod's ServiceAccount]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The CA bundle for an API server whose kubeconfig names none
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    system_ca_file: PathBuf,
}

impl Certificates {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<ExitCode, Error> {
        let overrides = Overrides { kubeconfig: self.kubeconfig, ..Overrides::default() };
        let connection = connection(&overrides, &self.system_ca_file)
            .map_err(|error| Error::Usage(error.to_string()))?;
        let namespace = match self.namespace {
            Some(namespace) => namespace,
            None => fs::read_to_string(format!("{SERVICE_ACCOUNT}/namespace"))
                .map_err(|_| Error::Usage("--namespace is needed outside of a pod".to_owned()))?,
        };
        let wanted = Wanted {
            namespace: namespace.trim().to_owned(),
            authority: self.ca_secret,
            serving: self.serving_secret,
            names: Names { dns: self.dns_name, addresses: self.ip_address },
            load_balancer: self.load_balancer_of,
            wait: self.load_balancer_wait,
        };
        let done = keep(&connection, &wanted)?;
        let what = |new: bool| if new { "made" } else { "kept" };
        let addresses = done.names.addresses.iter().map(ToString::to_string);
        let names: Vec<_> = done.names.dns.iter().cloned().chain(addresses).collect();
        print(format_args!("{}: the CA was {}", wanted.authority, what(done.new_authority)))?;
        print(format_args!(
            "{}: the certificate was {}, for {}",
            wanted.serving,
            what(done.new_certificate),
            names.join(", ")
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
