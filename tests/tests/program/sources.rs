//! Credentials for directories that the program has a part in: tokens by signed assertions, client certificates, files that are not there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use oidc_provider::{ClientConfig, ClientKey, Endpoint, Misbehaviour, User};
use sandbox::{Authority, Identity, realm};
use serde_json::{Value, json};

use crate::{
    callouts::{files_below, shown},
    harness::{LIMIT, Mutual, Rig, Setup, until},
};

const GROUP: &str = "of-the-directory";
const ADMIN: &str = "admin@example.com";
/// Seconds that a token for the directory lives.
const LIFE: u32 = 12;

/// Makes a credential for an issuer.
type Credential<'a> = &'a dyn Fn(&str) -> Value;

/// Replaces a file as who renews a secret does.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

/// A client that proves itself by a key.
fn client(key: &ClientKey) -> ClientConfig {
    let mut client = ClientConfig::public("machine");
    client.keys = vec![key.jwk.clone()];
    client.acts_as = vec![ADMIN.to_owned()];
    client.token_lifetime_seconds = Some(LIFE);
    client
}

/// A `GatewayConfiguration` with one source.
fn configuration(issuer: &str, source: &Value) -> String {
    let mut whole = realm::configuration();
    let mut entry = json!({
        "name": "directory", "issuer": issuer, "url": format!("{issuer}{}", Endpoint::Directory.path()),
        "onFailure": {"lastAnswerSeconds": 0},
    });
    entry.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    whole["groupSources"] = json!([entry]);
    whole.to_string()
}

fn assertion(issuer: &str, key_file: &Path, more: &Value) -> Value {
    let mut assertion = json!({
        "tokenEndpoint": format!("{issuer}{}", Endpoint::Token.path()),
        "clientID": "machine", "keyFile": key_file,
    });
    assertion.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"assertion": assertion})
}

/// A gateway with one source, of whose directory each user of the rig is known.
fn rig(clients: Vec<ClientConfig>, folder: &Path, source: impl FnOnce(&str) -> Value) -> Rig {
    let file = folder.join("gateway.yaml");
    let rig = Rig::ready(&Setup { chart: false, clients, ..Setup::default() }, |files| {
        fs::write(&file, configuration(&files.issuer, &source(&files.issuer))).unwrap();
        vec![
            format!("--authentication-config={}/authentication.yaml", files.config.display()),
            format!("--gateway-config={}", file.display()),
        ]
    });
    rig.issuer().set_groups("k8s-user1", [GROUP]).unwrap();
    rig
}

/// The groups of a user whom nobody has asked about, or what is said instead.
fn groups(rig: &Rig) -> Result<Vec<String>, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("newcomer-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut user = User::new(&name, "x");
    user.groups = vec![GROUP.to_owned()];
    rig.issuer().put_user(user);
    let token = rig.issuer().token(&name, realm::CLIENT).without("groups").mint();
    let who = rig.kubectl(token).run(["auth", "whoami", "-o", "json"]).unwrap();
    if !who.success() {
        return Err(who.stderr);
    }
    let who: Value = serde_json::from_str(&who.stdout).unwrap();
    let groups = who["status"]["userInfo"]["groups"].as_array().unwrap().clone();
    Ok(groups.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Waits until newcomers get the directory's groups.
fn passes(rig: &Rig, what: &str) {
    until(what, || match groups(rig) {
        Ok(groups) if groups.iter().any(|group| group == GROUP) => Ok(()),
        other => Err(format!("{other:?}\n{}", rig.log())),
    });
}

fn tokens(rig: &Rig, result: &str) -> f64 {
    rig.metric(&format!("gateway_callout_tokens_total{{result=\"{result}\"}}"))
}

/// The file with the token that Envoy shows.
fn token_file(rig: &Rig) -> PathBuf {
    let entries = fs::read_dir(rig.run_directory().join("tokens")).unwrap();
    let folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders[0].join("token")
}

fn ready(rig: &Rig) -> (u16, String) {
    let answer = rig.probe().get("/readyz?verbose").unwrap();
    (answer.status, answer.body)
}

/// Neither a key nor an assertion nor a token is anywhere but in its file and on its way: not in what was `said` to a client, nor in what the
/// program and Envoy show, write and have in their environments. A part of an assertion is as good as the whole.
fn is_nowhere(rig: &Rig, keys: &[&ClientKey], tokens: &[&str], said: &str) {
    let assertions = rig.issuer().assertions();
    assert!(!assertions.is_empty() && !tokens.contains(&""));
    // All of them begin in the same way.
    let parts = assertions.iter().flat_map(|it| it.split('.').skip(1));
    // The last line of a key may be short, and then stands in other texts, too.
    let is_of_key = |line: &&str| !line.starts_with('-') && line.len() > 16;
    let lines = keys.iter().flat_map(|key| key.pem.lines()).filter(is_of_key);
    let secrets: Vec<_> = parts.chain(lines).chain(tokens.iter().copied()).collect();
    let mut places = shown(rig);
    files_below(&rig.run_directory(), &mut places);
    let own = rig.run_directory().join("tokens").display().to_string();
    places.retain(|place, _| !place.starts_with(&own));
    places.insert("an answer".to_owned(), said.to_owned());
    for (place, text) in places {
        let found = secrets.iter().any(|secret| text.contains(secret));
        assert!(!found, "a secret is in {place}");
    }
}

/// Okta's shape: the assertion proves the client. The token is renewed before its end, the key is changed in its file, and an issuer that
/// says no takes nobody's access before the last token's end.
#[test]
fn a_token_by_an_assertion_opens_okta_s_directory_and_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key.pem");
    let first = ClientKey::rs256("one");
    fs::write(&key_file, &first.pem).unwrap();
    let rig = rig(vec![client(&first)], folder.path(), |issuer| {
        let credential = assertion(issuer, &key_file, &json!({"keyID": "one"}));
        json!({"provider": "okta", "credential": credential})
    });
    passes(&rig, "the directory is open");
    assert!(
        rig.metric(
            "gateway_callout_token_expiry_timestamp_seconds{asker=\"groupSources/directory\"}"
        ) > 0.0
    );
    let held = fs::read_to_string(token_file(&rig)).unwrap();
    assert!(held.len() > 20);
    let mode = fs::metadata(token_file(&rig)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Two lives and more: whoever comes finds it open.
    let asked = tokens(&rig, "ok");
    until("it is renewed", || {
        groups(&rig).expect("the directory stays open");
        (tokens(&rig, "ok") >= asked + 2.0).then_some(())
    });
    let renewed = fs::read_to_string(token_file(&rig)).unwrap();
    assert_ne!(held, renewed);
    assert!(tokens(&rig, "failed") < 1.0, "{}", rig.log());

    // The issuer no longer believes the key.
    let second = ClientKey::es256("one");
    rig.issuer().put_client(client(&second));
    rig.wait_for_log("groupSources/directory: no new token, the last one is good for ");
    groups(&rig).expect("the last token is good until its end");
    assert!(rig.log().contains("invalid_client: Invalid JWT Signature."), "{}", rig.log());
    let refused = until("the last token has ended", || match groups(&rig) {
        Err(said) if said.contains("the groups of this user") => Ok(said),
        other => Err(format!("{other:?}")),
    });
    let (status, report) = ready(&rig);
    assert!(report.contains("[!]tokens: groupSources/directory has no token: "), "{report}");
    assert_eq!(status, 200, "one directory is not the whole cluster: {report}");
    assert!(tokens(&rig, "failed") >= 1.0);
    // What is no key is said, with its file; the one that counts is used at once, however long the pause is.
    replace(&key_file, "no key");
    rig.wait_for_log("it holds no private key");
    replace(&key_file, &second.pem);
    passes(&rig, "the new key counts");
    until("nothing is wrong", || match ready(&rig) {
        (200, report) if !report.contains("[!]") => Ok(()),
        other => Err(format!("{other:?}")),
    });

    let last = fs::read_to_string(token_file(&rig)).unwrap();
    is_nowhere(&rig, &[&first, &second], &[&held, &renewed, &last], &refused);
}

/// Google's shape: the assertion is the grant, and names the administrator as whom it acts. It comes with a changed configuration, and its
/// token is not the one of the source before.
#[test]
fn a_token_by_an_assertion_as_the_grant_opens_google_s_directory() {
    let folder = tempfile::tempdir().unwrap();
    let key = ClientKey::rs256("g");
    let json_file = folder.path().join("key.json");
    let account = json!({
        "type": "service_account", "client_email": "machine", "private_key_id": "g", "private_key": key.pem,
    });
    fs::write(&json_file, account.to_string()).unwrap();
    let source = |issuer: &str, subject: &str| {
        let more = json!({"grant": "jwtBearer", "subject": subject, "scopes": ["groups"]});
        json!({
            "provider": "google", "credential": assertion(issuer, &json_file, &more),
        })
    };
    let rig = rig(vec![client(&key)], folder.path(), |issuer| source(issuer, "jane@example.com"));
    // As somebody for whom it may not act.
    rig.wait_for_log("unauthorized_client");
    let refused = groups(&rig).expect_err("nobody comes in without groups");
    assert!(refused.contains("the groups of this user"), "{refused}");
    let before = token_file(&rig);
    assert_eq!(fs::read_to_string(&before).unwrap(), "", "Envoy has nothing to show");

    let issuer = rig.issuer().url().to_owned();
    replace(&folder.path().join("gateway.yaml"), &configuration(&issuer, &source(&issuer, ADMIN)));
    passes(&rig, "the directory is open");
    until("the folder of the source before is gone", || (!before.exists()).then_some(()));
    let held = fs::read_to_string(token_file(&rig)).unwrap();

    // An issuer that is away for a moment is asked again.
    let asked = tokens(&rig, "ok");
    rig.issuer()
        .misbehave(Endpoint::Token, Misbehaviour::answer(oidc_provider::Answer::Status(503)))
        .unwrap();
    until("the issuer fails", || (tokens(&rig, "failed") >= 2.0).then_some(()));
    rig.issuer().behave();
    until("it is asked again", || (tokens(&rig, "ok") > asked).then_some(()));
    passes(&rig, "the directory is open");
    let token = fs::read_to_string(token_file(&rig)).unwrap();
    is_nowhere(&rig, &[&key], &[&held, &token], &refused);
}

/// A client certificate that the directory knows opens it; one of others does not; a renewed one counts without a restart.
#[test]
fn a_client_certificate_opens_a_directory_and_is_renewed_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) =
        (Authority::new("directory").unwrap(), Authority::new("x").unwrap());
    let directory = Mutual::start(&authority);
    directory.publish(json!({"keys": [{"kid": GROUP}]}));
    let files = folder.path().join("tls");
    fs::create_dir(&files).unwrap();
    let put = |identity: &Identity| {
        replace(&files.join("tls.key"), &identity.key);
        replace(&files.join("tls.crt"), &identity.certificate);
    };
    put(&stranger.client("gateway", &[]).unwrap());
    let rig = rig(Vec::new(), folder.path(), |_| {
        json!({
            "url": directory.url(), "path": "/groups/${claims.sub}",
            "groups": "answer.keys.map(k, k.kid)", "certificateAuthority": authority.pem(),
            "credential": {"clientCertificate": {
                "certificateFile": files.join("tls.crt"), "keyFile": files.join("tls.key"),
            }},
        })
    });
    let refused = groups(&rig).expect_err("the certificate is of nobody whom the directory knows");
    assert!(refused.contains("the groups of this user"), "{refused}");
    let first = authority.client("gateway", &[]).unwrap();
    put(&first);
    passes(&rig, "the certificate that the directory knows");
    assert!(directory.has_seen(&first.certificate));
    let second = authority.client("gateway-renewed", &[]).unwrap();
    put(&second);
    until("the renewed one is shown", || {
        let _ = groups(&rig);
        directory.has_seen(&second.certificate).then_some(())
    });
    passes(&rig, "the renewed certificate");
}

/// Without its secret Envoy would ask nobody, and say so with each request. It is said at the start.
#[test]
fn a_secret_that_is_not_there_is_named_at_the_start_and_with_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let (file, missing) = (folder.path().join("gateway.yaml"), folder.path().join("absent"));
    let token = |issuer: &str| format!("{issuer}{}", Endpoint::Token.path());
    let credentials: [(&str, Credential<'_>); 5] = [
        (
            "oauth2.clientSecretFile",
            &|issuer| json!({"oauth2": {"tokenEndpoint": token(issuer), "clientID": "c", "clientSecretFile": missing}}),
        ),
        ("assertion.keyFile", &|issuer| assertion(issuer, &missing, &json!({}))),
        ("bearerTokenFile", &|_| json!({"bearerTokenFile": missing})),
        ("basicFile", &|_| json!({"basicFile": missing})),
        (
            "clientCertificate.certificateFile",
            &|_| json!({"clientCertificate": {"certificateFile": missing, "keyFile": missing}}),
        ),
    ];
    let said = |field: &str| {
        format!(
            "groupSources[0].credential.{field}: cannot read {}: No such file",
            missing.display()
        )
    };
    let mut rig = None;
    for (field, credential) in credentials {
        let source = |issuer: &str| json!({"provider": "okta", "credential": credential(issuer)});
        let mut ended = Rig::start(
            |files| {
                fs::write(&file, configuration(&files.issuer, &source(&files.issuer))).unwrap();
                vec![
                    format!(
                        "--authentication-config={}/authentication.yaml",
                        files.config.display()
                    ),
                    format!("--gateway-config={}", file.display()),
                ]
            },
            false,
        );
        let status = ended.program.wait(LIMIT).unwrap();
        let log = ended.log();
        assert!(!status.success() && log.contains(&said(field)), "{field}: {log}");
        assert!(log.contains("mount the file"), "{log}");
        rig = Some(ended);
    }
    drop(rig);

    // With a change the old configuration serves.
    let good = folder.path().join("token");
    fs::write(&good, "x").unwrap();
    let running = self::rig(
        Vec::new(),
        folder.path(),
        |_| json!({"provider": "okta", "credential": {"bearerTokenFile": good}}),
    );
    let issuer = running.issuer().url().to_owned();
    let source = json!({"provider": "okta", "credential": {"bearerTokenFile": missing}});
    replace(&file, &configuration(&issuer, &source));
    running.wait_for_log(&said("bearerTokenFile"));
    assert_eq!(ready(&running).0, 200);
}
