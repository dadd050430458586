//! From flags to a gateway that may lack something: where `run` would stop at the first fault, `doctor` goes on.

use std::env;

use gateway_client::{Overrides, connection};
use gateway_core::native::LIBRARY;
use kube_oidc_gateway::{
    doctor::{Lack, Planned},
    run::serving,
};
use tempfile::TempDir;

use super::{Run, settings::portal};
use crate::cli::{envoy, error::Error, files::absolute};

/// Stands where there is no API server to ask.
const NOWHERE: &str = "https://127.0.0.1:1";

/// Finds what is lacking, and puts something else in its place: some of it in a folder for the time being.
pub fn planned(mut run: Run) -> Result<(Planned, Option<TempDir>), Error> {
    let (mut lacks, mut scratch) = (Vec::new(), None);
    if let Err(error) = envoy::find(run.own.envoy_binary.clone()) {
        lacks.push((Lack::Envoy, error.to_string()));
        run.own.envoy_binary = Some("envoy".into());
    }
    if let Err(error) = run.own.filter.module() {
        lacks.push((Lack::Module, error.to_string()));
        run.own.filter.filter = Some("filter.wasm".into());
        run.own.filter.native_filter = Some(LIBRARY.into());
    }
    if let Err(reason) = way(&run) {
        lacks.push((Lack::ApiServer, reason));
        run.client.kubeconfig = None;
        run.client.server = Some(NOWHERE.to_owned());
        run.client.token = Some("none".to_owned());
        run.client.insecure_skip_tls_verify = true;
    }
    if run.serving.tls_cert_file.is_none() {
        if let Some((chain, key)) = serving::kept(&run.serving.cert_dir) {
            run.serving.tls_cert_file = Some(chain);
            run.serving.tls_private_key_file = Some(key);
        } else {
            let folder = run.serving.cert_dir.display();
            let text =
                format!("none is given: the first start makes one in {folder} that signs itself");
            lacks.push((Lack::Serving, text));
            let made = tempfile::tempdir();
            let made = made.map_err(|source| Error::Read { path: env::temp_dir(), source })?;
            made.path().clone_into(&mut run.serving.cert_dir);
            scratch = Some(made);
        }
    }
    let file = run.own.portal_config.take();
    let filter = run.own.filter.clone();
    let mut settings = run.settings()?;
    if let Some(file) = file {
        match portal(&settings, &filter, &file) {
            Ok(portal) => settings.portal = Some(portal),
            Err(error) => lacks.push((Lack::Portal, error.to_string())),
        }
    }
    Ok((Planned { settings, lacks }, scratch))
}

/// Whether there is a way to the API server.
fn way(run: &Run) -> Result<(), String> {
    let words = |error: Error| error.to_string();
    let overrides = Overrides {
        service_account: Some(absolute(&run.own.service_account_dir).map_err(words)?),
        ..run.client.overrides().map_err(words)?
    };
    let system_ca = absolute(&run.own.system_ca_file).map_err(words)?;
    connection(&overrides, &system_ca).map(drop).map_err(|error| error.to_string())
}
