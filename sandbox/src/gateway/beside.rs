//! A second gateway in the same Envoy: a listener, documents and users of its own, everything else the first one's.

use std::{path::Path, sync::Mutex};

use gateway_config::{Inputs, Options, Rendered, render};
use serde_json::Value;

use super::documents;
use crate::{
    error::{Error, Result},
    files,
    folder::Folder,
    port::Port,
    process::lock,
};

/// The bootstrap with both listeners, beside the first gateway's own.
const BOOTSTRAP: &str = "both.yaml";
/// How a template's listener begins. It is the last thing in the bootstrap.
const LISTENER: &str = "\n  - name: gateway\n";
/// How a cluster begins in the file for Envoy's discovery.
const CLUSTER: &str =
    "\n- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: ";

/// The second gateway.
pub(super) struct Beside {
    pub inputs: Mutex<Inputs>,
    pub port: Port,
}

impl Beside {
    /// With these documents, and otherwise like the first.
    pub fn new(
        (authentication, gateway): (Value, Value),
        first: &Inputs,
        folder: &Folder,
    ) -> Result<Self> {
        let port = Port::reserve()?;
        let inputs = Inputs {
            documents: documents(&authentication, Some(&gateway))?,
            directory: folder.file("beside"),
            options: Options { listen: port.address(), ..first.options.clone() },
            access_log: folder.file("beside.log"),
            ..first.clone()
        };
        Ok(Self { inputs: Mutex::new(inputs), port })
    }

    /// Writes its files, and the bootstrap for both.
    pub fn write(&self, first: &Rendered, folder: &Path) -> Result<()> {
        let inputs = lock(&self.inputs);
        let second = render(&inputs).map_err(|e| invalid(&e))?;
        gateway_control::write(&second, &inputs.directory).map_err(|e| invalid(&e))?;
        let whole = file(first, "envoy.yaml")?;
        let listener = file(&second, "envoy.yaml")?;
        let at = listener.find(LISTENER).ok_or_else(|| invalid(&"no listener"))?;
        let listener = listener
            .get(at..)
            .unwrap_or_default()
            .replacen(LISTENER, "\n  - name: beside\n", 1)
            .replace("stat_prefix: gateway", "stat_prefix: beside");
        let known = file(first, "clusters.yaml")?;
        let clusters: String = file(&second, "clusters.yaml")?
            .split(CLUSTER)
            .skip(1)
            .filter(|cluster| !known.contains(&head(cluster)))
            .map(|cluster| format!("- name: {cluster}\n").replace('\n', "\n  "))
            .collect();
        let text = format!("{whole}{listener}\n  clusters:\n  {clusters}");
        files::write(&folder.join(BOOTSTRAP), text.as_bytes())
    }

    /// Envoy's arguments for both, out of those for the first.
    pub fn arguments(folder: &Path, arguments: Vec<String>) -> Vec<String> {
        let own = folder.join("envoy.yaml").display().to_string();
        let both = folder.join(BOOTSTRAP).display().to_string();
        arguments.into_iter().map(|word| if word == own { both.clone() } else { word }).collect()
    }
}

/// The line that names a cluster.
fn head(cluster: &str) -> String {
    format!("{CLUSTER}{}\n", cluster.lines().next().unwrap_or_default())
}

fn file<'a>(rendered: &'a Rendered, name: &str) -> Result<&'a str> {
    let file = rendered.files().iter().find(|file| file.name == name);
    file.map(|file| file.text.as_str()).ok_or_else(|| invalid(&format!("no {name}")))
}

fn invalid(why: &impl ToString) -> Error {
    Error::Invalid(why.to_string())
}
