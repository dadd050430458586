//! From a token to a user, as the gateway would see them, with all that a person should know of the way there.

use std::{cell::RefCell, path::PathBuf, time::Duration};

use gateway_config::{Callout, Issuer, cluster_name};
use gateway_control::{Probe, ProbeError};
use gateway_core::{
    config::{GatewayConfiguration, by_prefix, for_jwts, for_opaque},
    guard,
};
use kube_authn::{
    AuthenticationConfiguration, Identity, JwtAuthenticator,
    crypto::{Algorithm, SoftwareVerifier},
    jwks::{KeySet, KeySetLimits},
    token::{TokenError, TokenLimits, UnverifiedToken},
};
use kube_oidc_gateway::fetch::{FetchError, Fetched, Request};

use super::groups;
use crate::cli::{error::Error, files::read, render};

/// What becomes of a token.
pub struct Reviewer<'a> {
    /// Issuers and rules.
    pub configuration: &'a AuthenticationConfiguration,
    /// The gateway's own settings.
    pub gateway: &'a GatewayConfiguration,
    /// Key sets of issuers in files.
    pub jwks: &'a [(String, PathBuf)],
    /// The signing algorithms that count; all if empty.
    pub algorithms: &'a [Algorithm],
    /// When the token is looked at, since 1970.
    pub now: Duration,
    /// The folder of a gateway whose Envoy is asked for keys.
    pub run_dir: PathBuf,
    /// The servers that the gateway asks, if they are to be asked for groups: by this program's own client.
    pub asks: Option<&'a [Callout]>,
    /// By which way keys were fetched.
    pub ways: RefCell<Vec<String>>,
    /// What a person should know beside that.
    pub notes: RefCell<Vec<String>>,
}

impl Reviewer<'_> {
    pub(super) fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    fn tell_way(&self, text: String) {
        self.ways.borrow_mut().push(text);
    }

    /// What the gateway's guard makes of a user.
    pub fn guarded(&self, mut identity: Identity) -> Result<Identity, String> {
        let left_out = guard::leave_out(&mut identity);
        if !left_out.is_empty() {
            self.note(left_out_groups("the gateway", &left_out));
        }
        match guard::check(&identity, &self.gateway.allowed_reserved) {
            Ok(()) => Ok(identity),
            Err(error) => Err(format!("the gateway refuses this user: {error}")),
        }
    }

    /// Says what the guard makes of a user by default, where the gateway's settings are not known.
    pub fn guarded_by_default(&self, identity: &Identity) {
        let mut guarded = identity.clone();
        let left_out = guard::leave_out(&mut guarded);
        if !left_out.is_empty() {
            self.note(left_out_groups("the gateway by default", &left_out));
        }
        if let Err(error) = guard::check(&guarded, &self.gateway.allowed_reserved) {
            self.note(format!(
                "the gateway refuses this user by default: {error}; --gateway-config=FILE says what yours allows (allowedReserved)"
            ));
        }
    }

    /// The identity, or why there is none. `Err` if that cannot be found out.
    pub fn review(&self, token: &[u8]) -> Result<Result<Identity, String>, Error> {
        let introspection = &self.gateway.introspection;
        if let Some(place) = by_prefix(introspection, token) {
            return Ok(Err(self.not_introspected(place)));
        }
        let raw = token;
        let token = match UnverifiedToken::parse(token, &TokenLimits::default()) {
            Ok(token) => token,
            Err(error) => {
                let opaque = for_opaque(introspection);
                let place = opaque.filter(|_| matches!(error, TokenError::NotJwt(_)));
                let refused = place.map(|place| self.not_introspected(place));
                return Ok(Err(refused.unwrap_or_else(|| error.to_string())));
            }
        };
        let Some((issuer, jwt)) = self.configuration.authenticator_for(&token) else {
            if let Some(text) = unknown_issuer(self.configuration, token.issuer()) {
                self.note(text);
            }
            return Ok(Err("invalid bearer token".to_owned()));
        };
        if let Some(place) = for_jwts(introspection, jwt.issuer_url()) {
            return Ok(Err(self.not_introspected(place)));
        }
        let keys = match self.keys(jwt)? {
            Ok(keys) => keys,
            Err(reason) => return Ok(Err(reason)),
        };
        let allowed = match self.algorithms {
            [] => &Algorithm::ALL,
            some => some,
        };
        let verified = jwt
            .verify(&token, &keys, &SoftwareVerifier, self.now, allowed)
            .map_err(|error| error.to_string());
        Ok(verified.and_then(|verified| {
            let verified = groups::with_groups(self, issuer, verified, raw)?;
            match jwt.groups_source(&verified).map_err(|error| error.to_string())? {
                Some(source) => Err(format!(
                    "the groups are distributed, to be fetched from {:?}: not done here",
                    source.endpoint
                )),
                None => jwt.identity(&verified).map_err(|error| error.to_string()),
            }
        }))
    }

    /// The program has not the credential that Envoy has.
    fn not_introspected(&self, place: usize) -> String {
        let item = self.gateway.introspection.get(place);
        let (issuer, endpoint) =
            item.map_or(("", ""), |item| (item.issuer.as_str(), item.endpoint.as_str()));
        format!(
            "the gateway asks issuer {issuer:?} about this token, at {endpoint:?}: not done here"
        )
    }

    fn keys(&self, jwt: &JwtAuthenticator) -> Result<Result<KeySet, String>, Error> {
        let url = jwt.issuer_url();
        let document = match self.jwks.iter().find(|(issuer, _)| issuer == url) {
            Some((_, path)) => read(path)?,
            None => match self.fetch(jwt) {
                Ok(fetched) => fetched.document,
                Err(error) => return Ok(Err(error.to_string())),
            },
        };
        Ok(KeySet::parse(&document, KeySetLimits::default(), self.gateway.kubernetes_rules)
            .map_err(|error| error.to_string()))
    }

    /// By Envoy where one has a cluster for the issuer. Says by which way.
    fn fetch(&self, jwt: &JwtAuthenticator) -> Result<Fetched, FetchError> {
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
        let request = Request::new(jwt);
        let probe = Probe::new(&self.run_dir.join("admin.sock"));
        match request.by_envoy(&probe, &cluster) {
            Err(FetchError::Envoy {
                error: error @ (ProbeError::NoEnvoy | ProbeError::NoCluster),
                ..
            }) => {
                let folder = self.run_dir.display();
                self.tell_way(format!(
                    "the keys of {url} are fetched by this program, not by a gateway's Envoy ({folder}: {error}): what that can reach may differ"
                ));
                request.by_program()
            }
            result => {
                self.tell_way(format!(
                    "the keys of {url} are fetched by the Envoy of the gateway here"
                ));
                result
            }
        }
    }
}

fn left_out_groups(whose: &str, groups: &[String]) -> String {
    format!("{whose} leaves out groups with a blank at their start or end: {groups:?}")
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
