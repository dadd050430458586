//! kubectl with credentials that it gets by itself, through the gateway: our plugin with other programs' kubeconfigs, and
//! kubectl's built-in provider.

mod built_in;
mod kubekey;
mod many;
mod providers;
mod setup;

use gateway_tests::person::Person;
use sandbox::{Credential, Kubectl};
use serde_json::Value;

use crate::harness::{LIMIT, Rig, cluster};

/// Somebody who has not logged in yet.
fn person() -> Person {
    Person::new(&cluster().assets().kubectl)
}

/// kubectl of that person, through the rig's gateway, with this `exec` section. What the person's own machine has to know
/// of the sandbox is in the environment: the section is to stay as its source has it.
fn kubectl(rig: &Rig, person: &Person, exec: &Value) -> Kubectl {
    let kubectl = rig.gateway.kubectl(Credential::Exec(exec.clone())).unwrap();
    let ca = person.file("issuer.crt", rig.provider.ca_pem());
    person.takes(kubectl).environment("KUBECTL_OIDC_CERTIFICATE_AUTHORITY", &ca)
}

/// The person at the browser, when it is sent to a login for the `number`th time.
fn sign_in(rig: &Rig, person: &Person, number: usize, user: &str, password: &str) {
    let start = person.visit(number, LIMIT);
    let page = rig.provider.browser().sign_in(&start, user, password).unwrap();
    assert_eq!(page.status, 200, "{}", page.text);
}

/// Runs a command during which a person signs in; its output.
fn run_signing_in(
    kubectl: &Kubectl,
    arguments: &[&str],
    sign_in: impl FnOnce() + Send,
) -> sandbox::Output {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| kubectl.run(arguments).unwrap());
        sign_in();
        running.join().unwrap()
    })
}
