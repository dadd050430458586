//! The gateway in front of the cluster, as far as the sandbox answers for it: that it serves, and that its parts can be
//! changed, swapped, crashed and started again.

use std::{sync::LazyLock, time::Duration};

use oidc_provider::{Config, Preset, Provider};
use sandbox::{Cluster, Credential, Error, Gateway, audit::Stage, realm, wait::until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::builder().start().unwrap());
static PROVIDER: LazyLock<Provider> =
    LazyLock::new(|| Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap());

fn gateway() -> Gateway {
    let authentication = realm::authentication_of(&PROVIDER);
    CLUSTER.gateway(authentication).configuration(realm::configuration()).start().unwrap()
}

fn token() -> Credential {
    Credential::Token(PROVIDER.issuer().token("k8s-user1", realm::CLIENT).mint())
}

fn whoami(gateway: &Gateway) -> Result<Value, String> {
    let output = gateway.kubectl(token()).unwrap().run(["auth", "whoami", "-o", "json"]).unwrap();
    if output.success() {
        Ok(serde_json::from_str(&output.stdout).unwrap())
    } else {
        Err(output.stderr)
    }
}

#[test]
fn a_token_s_user_reaches_the_api_server_by_impersonation() {
    let gateway = gateway();
    let mark = CLUSTER.audit().mark().unwrap();
    let user = whoami(&gateway).unwrap();
    let name = format!("{}#k8s-user1", PROVIDER.issuer().url());
    assert_eq!(user.pointer("/status/userInfo/username"), Some(&json!(name)));
    let event = CLUSTER
        .audit()
        .wait_for(mark, LIMIT, |event| {
            event.stage == Stage::ResponseComplete
                && event.impersonated_user.as_ref().is_some_and(|user| user.username == name)
        })
        .unwrap();
    assert_eq!(event.user.username, Cluster::GATEWAY_USER);
    assert!(gateway.stats().unwrap().sum("downstream_rq_2xx") > 0);
}

/// The kubeconfigs of `sandbox up` rely on it.
#[test]
fn kubectl_refreshes_a_token_that_runs_out() {
    let provider = Provider::start(Config::of(Preset::KubernetesSandbox.issuer())).unwrap();
    let authentication = realm::authentication_of(&provider);
    let gateway =
        CLUSTER.gateway(authentication).configuration(realm::configuration()).start().unwrap();
    provider.issuer().set_token_lifetime(Duration::from_secs(1));
    let login = realm::Login::by_password(&provider, "k8s-user1").unwrap();
    provider.issuer().set_token_lifetime(Duration::from_secs(300));
    let kubectl = gateway.kubectl(login.credential()).unwrap();
    let output = kubectl.run(["auth", "whoami"]).unwrap();
    assert!(output.success(), "{output:?}");
    let kept = std::fs::read_to_string(kubectl.kubeconfig()).unwrap();
    assert!(!kept.contains(&login.id_token), "the old token is still there");
}

/// What the gateway is compared with: the same configuration, checked by kube-apiserver itself.
#[test]
fn the_api_server_can_authenticate_by_itself_and_be_changed() {
    let provider = &*PROVIDER;
    let by =
        |claim| realm::authentication(&provider.issuer(), provider.ca_pem(), claim).to_string();
    let cluster =
        Cluster::builder().authentication_config(by("preferred_username")).start().unwrap();
    let kubectl = cluster.kubectl(token()).unwrap();
    let name = || {
        let output = kubectl.run(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
        output.unwrap().stdout
    };
    let issuer = provider.issuer().url().to_owned();
    // It asks the issuer for its keys in the background.
    until("the name", || (name() == format!("{issuer}#k8s-user1")).then_some(()));
    cluster.configure_authentication(&by("email")).unwrap();
    until("the other name", || (name() == format!("{issuer}#k8s-user1@example")).then_some(()));
    let refused = cluster.configure_authentication("{}").unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("'Kind' is missing"), "{refused}");
}

#[test]
fn nothing_reaches_the_api_server_without_a_token() {
    let gateway = gateway();
    let mark = CLUSTER.audit().mark().unwrap();
    let wrong = gateway.kubectl(Credential::Token("a.b.c".to_owned())).unwrap();
    let output = wrong.run(["get", "--raw", "/version?without=token"]).unwrap();
    assert!(output.stderr.contains("Unauthorized"), "{output:?}");
    let events = CLUSTER.audit().since(mark).unwrap();
    assert!(events.iter().all(|event| event.request_uri != "/version?without=token"));
}

#[test]
fn the_configuration_changes_while_it_runs() {
    let gateway = gateway();
    let provider = &*PROVIDER;
    let by_mail = realm::authentication(&provider.issuer(), provider.ca_pem(), "email");
    gateway.configure(&by_mail, Some(&realm::configuration())).unwrap();
    let name = format!("{}#k8s-user1@example", provider.issuer().url());
    let user = || whoami(&gateway).unwrap().pointer("/status/userInfo/username").cloned();
    assert_eq!(user(), Some(json!(name)));

    let mut wrong = by_mail.clone();
    wrong["jwt"][0]["issuer"]["audience"] = json!("typing error");
    let refused = gateway.configure(&wrong, Some(&realm::configuration()));
    let Err(Error::Invalid(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("unknown field \"jwt[0].issuer.audience\""), "{reason}");
    assert_eq!(user(), Some(json!(name)), "the old configuration goes on");
    gateway.start_envoy().unwrap();
    assert_eq!(user(), Some(json!(name)), "and is what a new Envoy starts with");
}

#[test]
fn the_service_account_token_can_be_swapped_and_is_renewed() {
    let gateway = gateway();
    whoami(&gateway).unwrap();
    gateway.replace_token("not a token").unwrap();
    let refused = until("a refusal", || whoami(&gateway).err());
    assert!(refused.contains("ServiceUnavailable") || refused.contains("unable"), "{refused}");
    gateway.renew_token().unwrap();
    until("an answer", || whoami(&gateway).ok());

    let quick = CLUSTER
        .gateway(realm::authentication_of(&PROVIDER))
        .token_renewal(Duration::from_millis(50))
        .start()
        .unwrap();
    let read = || std::fs::read_to_string(quick.token_file()).unwrap();
    let first = read();
    until("another token", || (read() != first).then_some(()));
}

#[test]
fn envoy_can_crash_and_come_back_where_it_was() {
    let gateway = gateway();
    let url = gateway.url();
    gateway.kill_envoy().unwrap();
    whoami(&gateway).unwrap_err();
    gateway.start_envoy().unwrap();
    assert_eq!(gateway.url(), url);
    whoami(&gateway).unwrap();
}

#[test]
fn a_gateway_with_a_wrong_configuration_does_not_start_and_says_why() {
    let mut wrong = realm::authentication_of(&PROVIDER);
    wrong["jwt"][0]["issuer"]["audience"] = json!("typing error");
    let Err(error) = CLUSTER.gateway(wrong).start() else { panic!("it started") };
    let text = error.to_string();
    assert!(text.contains("unknown field \"jwt[0].issuer.audience\""), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn a_gateway_without_its_filter_says_how_to_get_it() {
    let started =
        CLUSTER.gateway(realm::authentication_of(&PROVIDER)).filter("/no/such/filter.wasm").start();
    let Err(error) = started else { panic!("it started") };
    assert!(error.to_string().starts_with("filter /no/such/filter.wasm: "), "{error}");
}
