//! From flags to what the gateway is made of.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
};

use gateway_client::{Overrides, PairSource, Source, connection};
use gateway_config::{
    Options, Protocols, TlsVersion,
    traces::{Traces, Trust},
};
use kube_oidc_gateway::{
    access::Place as AccessPlace,
    portal::Place,
    run::{
        memory, serving,
        settings::{Portal, Settings, Target},
    },
};

use super::{Run, flags, go, tls};
use crate::cli::{
    envoy,
    error::Error,
    files::{absolute, is_object_name, read, traced},
    modules::FilterFlags,
    portal::beside,
    render,
};

impl Run {
    /// What the flags say, checked as far as that goes without reading files.
    pub fn settings(self) -> Result<Settings, Error> {
        let gateway = self.gateway()?;
        let authentication = self.authentication()?;
        let Self { proxy, oidc, serving, client, audit, own, traces, mut limits, .. } = self;
        let usage = |error: &dyn std::fmt::Display| Error::Usage(error.to_string());
        let named: Vec<_> =
            serving.tls_sni_cert_key.iter().map(|value| sni(value)).collect::<Result<_, _>>()?;
        let system_ca = absolute(&own.system_ca_file)?;
        let overrides = Overrides {
            service_account: Some(absolute(&own.service_account_dir)?),
            ..client.overrides()?
        };
        let apiserver = connection(&overrides, &system_ca).map_err(|error| usage(&error))?;
        if serving.http2_max_streams_per_connection > 0 {
            limits.streams_per_connection = serving.http2_max_streams_per_connection;
        }
        limits.heap_bytes = limits.heap_bytes.or_else(memory::heap_for_envoy);
        if serving.secure_port == 0 {
            return Err(Error::Usage("--secure-port must not be 0".to_owned()));
        }
        let revocations = own.revocations_place()?;
        let grants = own.grants_place()?;
        let webhook = own.elevation_webhook_config_file.zip(own.elevation_webhook_secret_file);
        let elevation_webhook = webhook.map(|(kubeconfig, secret)| {
            Ok::<_, Error>(Target {
                kubeconfig: absolute(&kubeconfig)?,
                secret: absolute(&secret)?,
            })
        });
        let elevation_webhook = elevation_webhook.transpose()?;
        let module = own.filter.module()?;
        let options = Options {
            listen: SocketAddr::new(serving.bind_address, serving.secure_port),
            protocols: serving.protocols()?,
            form: own.filter.filter_form,
            connections_filter: None,
            filter: module,
            concurrency: own.concurrency.or_else(cpus),
            audit_lines: audit.needs_lines(),
            trusted_hops: own.trusted_hops,
            trusted_proxies: proxy.trusted_proxies,
            proxy_protocol: own.proxy_protocol,
            access: revocations.is_some() || grants.is_some(),
            takes_logouts: revocations.is_some(),
            request_timeout: go::timeout(&client.request_timeout)
                .map_err(|reason| Error::Usage(format!("--request-timeout: {reason}")))?,
            traces: traced(traces).and_then(readable)?,
            limits,
        };
        let mut settings = Settings {
            options,
            authentication,
            gateway,
            apiserver,
            serving: serving.pair()?,
            named,
            issuer_certificate: pair(
                oidc.oidc_tls_client_cert_file.as_deref(),
                oidc.oidc_tls_client_key_file.as_deref(),
            )?,
            system_ca,
            share_port: serving.permit_port_sharing,
            probe: SocketAddr::new(own.readiness_probe_address, proxy.readiness_probe_port),
            all_issuers: proxy.readiness_require_all_issuers,
            require_rights: own.readiness_require_rights,
            envoy: envoy::find(own.envoy_binary)?,
            allow_vulnerable_envoy: own.allow_vulnerable_envoy,
            log_level: level(own.verbosity).to_owned(),
            run_directory: absolute(&own.run_dir)?,
            proxies: render::proxies(),
            revocations,
            grants,
            elevation_webhook,
            portal: None,
            shutdown_delay: own.shutdown_delay_duration,
            drain: own.drain_duration,
        };
        if let Some(file) = &own.portal_config {
            settings.portal = Some(portal(&settings, &own.filter, file)?);
        }
        Ok(settings)
    }
}

impl flags::Own {
    /// Where it is said whose access has ended.
    fn revocations_place(&self) -> Result<Option<AccessPlace>, Error> {
        let object = self.revocations_configmap.as_deref();
        self.place("--revocations-configmap", self.revocations.as_deref(), object)
    }

    /// Where it is written what is lent.
    fn grants_place(&self) -> Result<Option<AccessPlace>, Error> {
        let object = self.grants_configmap.as_deref();
        self.place("--grants-configmap", self.grants.as_deref(), object)
    }

    fn place(
        &self,
        flag: &str,
        file: Option<&Path>,
        object: Option<&str>,
    ) -> Result<Option<AccessPlace>, Error> {
        if let Some(file) = file {
            return Ok(Some(AccessPlace::File(absolute(file)?)));
        }
        let Some(name) = object else { return Ok(None) };
        if !is_object_name(name) {
            return Err(Error::Usage(format!("{flag} {name:?}: it is no name of a ConfigMap")));
        }
        let file = absolute(&self.service_account_dir)?.join("namespace");
        let namespace = read(&file)
            .map_err(|error| Error::Usage(format!("{flag}: the gateway's namespace: {error}")))?;
        let namespace = String::from_utf8_lossy(&namespace).trim().to_owned();
        Ok(Some(AccessPlace::ConfigMap { namespace, name: name.to_owned() }))
    }
}

impl flags::Serving {
    fn pair(&self) -> Result<PairSource, Error> {
        match pair(self.tls_cert_file.as_deref(), self.tls_private_key_file.as_deref())? {
            Some(pair) => Ok(pair),
            None => serving::self_signed(&absolute(&self.cert_dir)?, self.bind_address)
                .map_err(|error| Error::Usage(error.to_string())),
        }
    }

    fn protocols(&self) -> Result<Protocols, Error> {
        let suites = self.tls_cipher_suites.iter().map(|name| tls::suite(name));
        let suites: Vec<_> = suites.collect::<Result<_, _>>().map_err(Error::Usage)?;
        let curves = self.tls_curve_preferences.iter().map(|name| tls::curve(name));
        Ok(Protocols {
            minimum: self.tls_min_version.unwrap_or(TlsVersion::V1_2),
            cipher_suites: suites.into_iter().flatten().collect(),
            curves: curves.collect::<Result<_, _>>().map_err(Error::Usage)?,
            http2: !self.disable_http2_serving,
            certificates: Vec::new(),
        })
    }

    /// What is given and has no effect.
    pub fn warnings(&self) -> Vec<String> {
        let text = "--permit-address-sharing has no effect: addresses are always shared";
        self.permit_address_sharing.then(|| text.to_owned()).into_iter().collect()
    }
}

impl flags::Client {
    pub(super) fn overrides(&self) -> Result<Overrides, Error> {
        let file = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
        // As in Go, an empty text is none.
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Overrides {
            kubeconfig: self.kubeconfig.clone(),
            context: text(&self.context),
            cluster: text(&self.cluster),
            user: text(&self.user),
            server: text(&self.server),
            certificate_authority: file(&self.certificate_authority)?,
            client_certificate: file(&self.client_certificate)?,
            client_key: file(&self.client_key)?,
            token: text(&self.token),
            insecure: self.insecure_skip_tls_verify,
            tls_server_name: text(&self.tls_server_name),
            service_account: None,
        })
    }
}

impl flags::Ignored {
    /// One line for each flag that is given.
    pub fn warnings(&self) -> Vec<String> {
        let one = "the gateway impersonates its users, and is itself nobody else";
        [
            ("flush-interval", self.flush_interval.is_some(), "Envoy sends data on as it comes"),
            (
                "kube-client-qps",
                self.kube_client_qps.is_some(),
                "Envoy does not limit its own requests",
            ),
            (
                "kube-client-burst",
                self.kube_client_burst.is_some(),
                "Envoy does not limit its own requests",
            ),
            (
                "disable-compression",
                self.disable_compression,
                "compression is between client and API server",
            ),
            ("namespace", self.namespace.is_some(), "a gateway has no namespace"),
            ("as", self.impersonate.is_some(), one),
            ("as-group", !self.as_group.is_empty(), one),
            ("as-uid", self.as_uid.is_some(), one),
            ("as-user-extra", !self.as_user_extra.is_empty(), one),
            ("vmodule", self.vmodule.is_some(), "Envoy's log has levels, not modules: use -v"),
            ("log-flush-frequency", self.log_flush_frequency.is_some(), "logs are written at once"),
        ]
        .into_iter()
        .filter(|(_, given, _)| *given)
        .map(|(flag, _, why)| format!("--{flag} has no effect: {why}"))
        .collect()
    }
}

/// Traces whose files are there: Envoy would not start without them, and say so less well.
fn readable(traces: Option<Traces>) -> Result<Option<Traces>, Error> {
    let collector = traces.as_ref().map(|traces| &traces.collector);
    let ca = collector.and_then(|it| match &it.tls {
        Some(Trust::File(path)) => Some(("--tracing-ca-file", path)),
        _ => None,
    });
    let token = collector.and_then(|it| it.token.as_ref());
    let token = token.map(|token| ("--tracing-token-file", &token.file));
    for (flag, path) in ca.into_iter().chain(token) {
        read(path).map_err(|error| Error::Usage(format!("{flag}: {error}")))?;
    }
    Ok(traces)
}

/// The processors that this process may use. Envoy would count them itself; each worker has to know its share of a limit.
fn cpus() -> Option<u32> {
    u32::try_from(thread::available_parallelism().ok()?.get()).ok()
}

/// The portal beside the gateway, whose issuers are its own.
pub(super) fn portal(
    settings: &Settings,
    filter: &FilterFlags,
    file: &Path,
) -> Result<Portal, Error> {
    let portal = beside::read(file)?;
    let documents = settings.read_documents().map_err(Error::Usage)?;
    let (keys, ring) = portal.keys()?;
    let place = Place {
        documents: Some(&documents),
        filter: filter.wasm()?,
        // Envoy's standard output is the gateway's log of requests, and its audit trail.
        access_log: PathBuf::from("/dev/stderr"),
        grants: settings.grants.is_some(),
        sessions: settings.revocations.is_some(),
    };
    let part = portal.part(place, ring)?;
    let file = |path: &PathBuf| Source::File(path.clone());
    let serving = part.serving.as_ref();
    let serving = serving.map(|pair| PairSource { chain: file(&pair.chain), key: file(&pair.key) });
    Ok(Portal { part, serving, keys })
}

/// `CERT,KEY[:NAME,...]`; without names those of the certificate count.
fn sni(value: &str) -> Result<(PairSource, Vec<String>), Error> {
    let bad = |why: &str| Error::Usage(format!("--tls-sni-cert-key {value:?}: {why}"));
    let (files, names) = value.split_once(':').unwrap_or((value, ""));
    let (chain, key) =
        files.split_once(',').ok_or_else(|| bad("it must be CERT,KEY[:NAME,...]"))?;
    let names: Vec<String> =
        names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let source = PairSource {
        chain: Source::File(absolute(Path::new(chain))?),
        key: Source::File(absolute(Path::new(key))?),
    };
    let names = if names.is_empty() {
        source.chain.read().and_then(|pem| serving::names(&pem)).map_err(|why| bad(&why))?
    } else {
        names
    };
    if names.is_empty() {
        return Err(bad("the certificate has no DNS name, and none is given"));
    }
    Ok((source, names))
}

fn pair(chain: Option<&Path>, key: Option<&Path>) -> Result<Option<PairSource>, Error> {
    let Some((chain, key)) = chain.zip(key) else { return Ok(None) };
    let file = |path: &Path| absolute(path).map(Source::File);
    Ok(Some(PairSource { chain: file(chain)?, key: file(key)? }))
}

/// Envoy's level for klog's verbosity.
fn level(verbosity: i32) -> &'static str {
    match verbosity {
        ..=1 => "warning",
        2..=3 => "info",
        4..=5 => "debug",
        _ => "trace",
    }
}
