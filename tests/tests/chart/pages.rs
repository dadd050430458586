//! What pages of docs/ have for the chart and for a cluster: values are rendered, objects of RBAC are taken by the real API server.

use std::{fs, path::Path};

use gateway_tests::pages::{blocks, pages};
use serde_json::Value;

use crate::{cluster::cluster, helm};

/// The YAML documents of all pages: page and document.
fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "yaml") {
            let parts = block.split("\n---\n");
            found.extend(parts.map(|part| (page.display().to_string(), part.to_owned())));
        }
    }
    found
}

fn parsed(page: &str, document: &str) -> Value {
    serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{page}: {error}\n{document}"))
}

/// A block of values begins with `# values.yaml`; a `HelmRelease` and an `Application` have some inside.
#[test]
fn values_on_the_pages_are_the_charts() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = 0;
    for (page, text) in documents() {
        let document = parsed(&page, &text);
        let values = if text.starts_with("# values.yaml\n") {
            &document
        } else {
            match document["kind"].as_str() {
                Some("HelmRelease") => &document["spec"]["values"],
                Some("Application") => &document["spec"]["source"]["helm"]["valuesObject"],
                _ => continue,
            }
        };
        assert!(values.is_object(), "{page}: {text}");
        let name = Path::new(&page).file_stem().unwrap().to_str().unwrap();
        let file = folder.path().join(format!("{name}-{found}.yaml"));
        fs::write(&file, values.to_string()).unwrap();
        let rendered = helm::rendered(&file);
        assert!(rendered.contains("kind: Deployment"), "{page}: {rendered}");
        found += 1;
    }
    assert!(found >= 9, "{found}");
}

#[test]
fn rbac_on_the_pages_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let admin = cluster().admin();
    let mut found = 0;
    for (page, text) in documents() {
        let document = parsed(&page, &text);
        let version = document["apiVersion"].as_str().unwrap_or_default();
        if !version.starts_with("rbac.authorization.k8s.io/") {
            continue;
        }
        if let Some(namespace) = document["metadata"]["namespace"].as_str() {
            // It may be there.
            admin.run(["create", "namespace", namespace]).unwrap();
        }
        let file = folder.path().join(format!("{found}.yaml"));
        fs::write(&file, &text).unwrap();
        let apply = ["apply", "--dry-run=server", "--validate=strict", "-f"];
        let output = admin.run(apply.into_iter().chain(file.to_str())).unwrap();
        assert!(output.success(), "{page}: {output:?}");
        found += 1;
    }
    assert!(found >= 4, "{found}");
}
