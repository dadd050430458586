//! `review`: what would this token be?

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Args;
use gateway_config::{Issuer, cluster_name};
use gateway_control::{Probe, ProbeError};
use gateway_core::{config::GatewayConfiguration, guard};
use jiff::Timestamp;
use kube_authn::{
    AuthenticationConfiguration, Identity, JwtAuthenticator,
    config::{LoadOptions, load_yaml},
    crypto::{Algorithm, SoftwareVerifier},
    jwks::{KeySet, KeySetLimits},
    token::{TokenLimits, UnverifiedToken},
};
use kube_oidc_gateway::fetch::{self, FetchError};
use serde_json::{Value, json};

use super::{
    error::Error,
    files::{read, read_or_stdin},
    render,
    rules::RulesFlag,
};

/// Say what a token would be: a `TokenReview`, as kube-apiserver with this file would answer.
///
/// Exits with 0 if the token is authenticated, with 1 if not, with 2 if the configuration or the command line is wrong. With
/// --gateway-config a user whom the gateway's guard refuses is not authenticated; without it standard error says what the
/// guard makes of the user by default.
#[derive(Debug, Args)]
pub struct Review {
    /// The `AuthenticationConfiguration`, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    authentication_config: PathBuf,
    /// The `GatewayConfiguration`, YAML or JSON: its guard and its rules count.
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
    #[command(flatten)]
    rules: RulesFlag,
    /// An issuer's key set; repeatable. Without one for the token's issuer it is fetched from there.
    #[arg(long, value_name = "ISSUER_URL=FILE", value_parser = key_set_file)]
    jwks: Vec<(String, PathBuf)>,
    /// The signing algorithms that count.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    oidc_signing_algs: Vec<Algorithm>,
    /// The time at which the token is looked at, RFC 3339; now if absent.
    #[arg(long, value_name = "TIME")]
    time: Option<Timestamp>,
    /// The folder of a gateway that runs here (`run --run-dir`): its Envoy is asked for the key set, as the gateway asks.
    #[arg(long, value_name = "DIR", default_value = "/run/kube-oidc-gateway")]
    run_dir: PathBuf,
    /// The file with the token; `-` is standard input.
    #[arg(long, value_name = "FILE|-")]
    token_file: PathBuf,
}

impl Review {
    /// Does what the command line asks for.
    pub fn run(&self) -> Result<ExitCode, Error> {
        let gateway = self.gateway()?;
        let path = &self.authentication_config;
        let options = LoadOptions { rules: gateway.kubernetes_rules, ..LoadOptions::default() };
        let configuration = load_yaml(&read(path)?, &options).map_err(|errors| {
            let reason = errors.to_string().replace('\n', " ");
            Error::Document { path: path.display().to_string(), reason }
        })?;
        let token = read_or_stdin(&self.token_file)?;
        let reviewed = self.review(&configuration, &gateway, token.trim_ascii())?;
        let reviewed = reviewed.and_then(|identity| self.guarded(identity, &gateway));
        println!("{}", token_review(&reviewed));
        Ok(if reviewed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn gateway(&self) -> Result<GatewayConfiguration, Error> {
        let Some(path) = &self.gateway_config else {
            let kubernetes_rules = self.rules.rules();
            return Ok(GatewayConfiguration {
                kubernetes_rules,
                ..GatewayConfiguration::default()
            });
        };
        render::gateway(path, self.rules)
    }

    /// What the gateway's guard makes of a user. It decides where the gateway's settings are known, and else only says so.
    fn guarded(
        &self,
        mut identity: Identity,
        gateway: &GatewayConfiguration,
    ) -> Result<Identity, String> {
        let is_known = self.gateway_config.is_some();
        let whose = if is_known { "" } else { " by default" };
        let untouched = identity.clone();
        let left_out = guard::leave_out(&mut identity);
        if !left_out.is_empty() {
            eprintln!(
                "review: the gateway{whose} leaves out groups with a blank at their start or end: {left_out:?}"
            );
        }
        match guard::check(&identity, &gateway.allowed_reserved) {
            Ok(()) if is_known => Ok(identity),
            Ok(()) => Ok(untouched),
            Err(error) if is_known => Err(format!("the gateway refuses this user: {error}")),
            Err(error) => {
                eprintln!(
                    "review: the gateway refuses this user by default: {error}; --gateway-config=FILE says what yours allows (allowedReserved)"
                );
                Ok(untouched)
            }
        }
    }

    /// The identity, or why there is none. `Err` if that cannot be found out.
    fn review(
        &self,
        configuration: &AuthenticationConfiguration,
        gateway: &GatewayConfiguration,
        token: &[u8],
    ) -> Result<Result<Identity, String>, Error> {
        let token = match UnverifiedToken::parse(token, &TokenLimits::default()) {
            Ok(token) => token,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some((_, jwt)) = configuration.authenticator_for(&token) else {
            if let Some(text) = unknown_issuer(configuration, token.issuer()) {
                eprintln!("review: {text}");
            }
            return Ok(Err("invalid bearer token".to_owned()));
        };
        let keys = match self.keys(jwt, gateway)? {
            Ok(keys) => keys,
            Err(reason) => return Ok(Err(reason)),
        };
        let allowed = match self.oidc_signing_algs.as_slice() {
            [] => &Algorithm::ALL,
            some => some,
        };
        let now = self.now();
        let verified = jwt
            .verify(&token, &keys, &SoftwareVerifier, now, allowed)
            .map_err(|error| error.to_string());
        Ok(verified.and_then(|verified| {
            match jwt.groups_source(&verified).map_err(|error| error.to_string())? {
                Some(source) => Err(format!(
                    "the groups are distributed, to be fetched from {:?}: not done here",
                    source.endpoint
                )),
                None => jwt.identity(&verified).map_err(|error| error.to_string()),
            }
        }))
    }

    fn keys(
        &self,
        jwt: &JwtAuthenticator,
        gateway: &GatewayConfiguration,
    ) -> Result<Result<KeySet, String>, Error> {
        let url = jwt.issuer_url();
        let document = match self.jwks.iter().find(|(issuer, _)| issuer == url) {
            Some((_, path)) => read(path)?,
            None => match self.fetch(jwt) {
                Ok(document) => document,
                Err(error) => return Ok(Err(error.to_string())),
            },
        };
        Ok(KeySet::parse(&document, KeySetLimits::default(), gateway.kubernetes_rules)
            .map_err(|error| error.to_string()))
    }

    /// By Envoy where one has a cluster for the issuer. Says by which way.
    fn fetch(&self, jwt: &JwtAuthenticator) -> Result<Vec<u8>, FetchError> {
        let (url, discovery_url) = (jwt.issuer_url(), jwt.discovery_url());
        let cluster = cluster_name(&Issuer {
            url: url.to_owned(),
            proxied: render::proxies().is_behind(&discovery_url),
            discovery_url,
            certificate_authority: jwt
                .certificate_authority()
                .filter(|pem| !pem.is_empty())
                .map(str::to_owned),
        });
        let probe = Probe::new(&self.run_dir.join("admin.sock"));
        match fetch::key_set_by_envoy(jwt, &probe, &cluster) {
            Err(FetchError::Envoy {
                error: error @ (ProbeError::NoEnvoy | ProbeError::NoCluster),
                ..
            }) => {
                let folder = self.run_dir.display();
                eprintln!(
                    "review: the keys of {url} are fetched by this program, not by a gateway's Envoy ({folder}: {error}): what that can reach may differ"
                );
                fetch::key_set(jwt)
            }
            result => {
                eprintln!("review: the keys of {url} are fetched by the Envoy of the gateway here");
                result
            }
        }
    }

    fn now(&self) -> Duration {
        let time = self.time.map_or_else(SystemTime::now, SystemTime::from);
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Says whose token it is, and the issuer of the file that is most like it: often only a slash is missing.
fn unknown_issuer(configuration: &AuthenticationConfiguration, issuer: &str) -> Option<String> {
    let known = configuration.jwt().iter().map(JwtAuthenticator::issuer_url);
    let nearest = known.min_by_key(|url| strsim::levenshtein(url, issuer))?;
    let how = if nearest.trim_end_matches('/') == issuer.trim_end_matches('/') {
        ": they differ by a slash at the end, and must not"
    } else if nearest.eq_ignore_ascii_case(issuer) {
        ": they differ in upper and lower case, and must not"
    } else {
        ""
    };
    Some(format!(
        "the token's issuer is {issuer:?}, and the file has none of that name; nearest is {nearest:?}{how}"
    ))
}

fn token_review(reviewed: &Result<Identity, String>) -> Value {
    let status = match reviewed {
        Ok(identity) => {
            let mut user = json!({"username": identity.username});
            if !identity.uid.is_empty() {
                user["uid"] = json!(identity.uid);
            }
            if !identity.groups.is_empty() {
                user["groups"] = json!(identity.groups);
            }
            if !identity.extra.is_empty() {
                user["extra"] = json!(identity.extra);
            }
            json!({"authenticated": true, "user": user})
        }
        Err(error) => json!({"authenticated": false, "error": error}),
    };
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
}

fn key_set_file(text: &str) -> Result<(String, PathBuf), &'static str> {
    // The URL may hold a `=` of its own, a file's name seldom does.
    let (url, path) = text.rsplit_once('=').ok_or("must be ISSUER_URL=FILE")?;
    Ok((url.to_owned(), path.into()))
}
