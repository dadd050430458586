//! What lasts: large answers, and watches that outlive changes of keys and of the configuration.

use std::thread;

use oidc_provider::Rotation;
use sandbox::{
    Kubectl, Running,
    audit::{Event, Mark, Stage},
    realm,
};
use serde_json::json;

use crate::{
    harness::{LIMIT, Rig, cluster, until},
    wire::{Ask, Version},
};

#[test]
fn a_list_of_fifty_megabytes_arrives_whole() {
    const OBJECTS: usize = 60;
    let rig = Rig::shared();
    let admin = cluster().admin_client();
    cluster().admin().must(["create", "namespace", "large"], "").unwrap();
    // An object may have a mebibyte at most.
    let data = "0123456789abcdef".repeat(55_000);
    thread::scope(|scope| {
        for half in 0..2 {
            let data = &data;
            scope.spawn(move || {
                for number in (half..OBJECTS).step_by(2) {
                    let object = json!({
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "metadata": {"name": format!("large-{number}")},
                        "data": {"data": data},
                    });
                    admin.post_json("/api/v1/namespaces/large/configmaps", &object).unwrap();
                }
            });
        }
    });
    let path = "/api/v1/namespaces/large/configmaps";
    for version in Version::ALL {
        let ask = Ask::new("GET", path).bearer(&rig.admin_token());
        let answer = ask.send(&rig.gateway, version).unwrap();
        assert!(answer.body.len() > 50_000_000, "{version:?}: {} bytes", answer.body.len());
        let list = answer.json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), OBJECTS, "{version:?}");
        assert!(items.iter().all(|item| item["data"]["data"] == json!(data)), "{version:?}");
    }
    let names = rig.admin().must(["get", "cm", "-n", "large", "-o", "name", "--chunk-size=0"], "");
    assert_eq!(names.unwrap().lines().count(), OBJECTS);
    cluster().admin().must(["delete", "cm", "-n", "large", "--all", "--wait=false"], "").unwrap();
}

/// A watch through the gateway, and a proof that it lives: it shows what happens from now on.
struct Watch {
    running: Running,
    /// Its kubeconfig must stay as long as it runs.
    _kubectl: Kubectl,
    namespace: &'static str,
}

impl Watch {
    fn start(rig: &Rig, namespace: &'static str) -> Self {
        cluster().admin().must(["create", "namespace", namespace], "").unwrap();
        let words = ["get", "cm", "-n", namespace, "-w", "-o", "name"];
        // One token only: kubectl cannot begin anew with another.
        let kubectl = rig.admin();
        let running = kubectl.start(words).unwrap();
        let mut watch = Self { running, _kubectl: kubectl, namespace };
        watch.assert_alive("first");
        watch.assert_alive("second");
        watch
    }

    #[track_caller]
    fn assert_alive(&mut self, name: &str) {
        cluster().admin().must(["create", "cm", "-n", self.namespace, name], "").unwrap();
        let line = format!("configmap/{name}");
        self.running.line(LIMIT, |seen| seen == line).unwrap();
    }
}

/// How many watches the user began. kubectl would begin anew silently.
fn watches(rig: &Rig, namespace: &str, mark: Mark) -> usize {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps?");
    let events = cluster().audit().since(mark).unwrap();
    let of = |event: &&Event| {
        event.verb == "watch"
            && event.request_uri.starts_with(&path)
            && event.impersonated_user.as_ref().is_some_and(|user| user.username == rig.user())
            && event.stage == Stage::ResponseStarted
    };
    events.iter().filter(of).count()
}

#[test]
fn a_watch_outlives_a_rotation_of_the_keys() {
    let mut configuration = realm::configuration();
    configuration["keySets"] = json!({"minimumRefetchSeconds": 1});
    let rig = Rig::builder().configuration(configuration).start();
    let mark = cluster().audit().mark().unwrap();
    let mut watch = Watch::start(&rig, "rotation");
    rig.issuer().rotate(Rotation::Replace);
    // The new key's first token has the key set fetched anew, if that was not done within the last second.
    let kubectl = rig.admin();
    until("the new key is known", || {
        kubectl.run(["auth", "whoami"]).unwrap().success().then_some(())
    });
    watch.assert_alive("third");
    rig.issuer().rotate(Rotation::Overlap);
    watch.assert_alive("fourth");
    assert_eq!(watches(&rig, "rotation", mark), 1, "the watch had to begin anew");
}

#[test]
fn a_watch_outlives_a_new_configuration() {
    let rig = Rig::new();
    let mark = cluster().audit().mark().unwrap();
    let mut watch = Watch::start(&rig, "reload");
    let by_mail = realm::authentication(&rig.issuer(), rig.provider.ca_pem(), "email");
    rig.gateway.configure(&by_mail, Some(&realm::configuration())).unwrap();
    let whoami = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    let name = rig.admin().must(whoami, "").unwrap();
    assert_eq!(name, format!("{}@example", rig.user()), "the new configuration is live");
    watch.assert_alive("third");
    assert_eq!(watches(&rig, "reload", mark), 1, "the watch had to begin anew");
}
