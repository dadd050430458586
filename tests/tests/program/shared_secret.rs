//! Tokens that a portal, or kubehook, signed with a shared secret, taken by the gateway itself.

use std::fs;

use gateway_tests::portal::{self, Portal, Site};
use sandbox::realm;
use serde_json::{Value, json};

use crate::harness::{Rig, cluster, until};

const AUDIENCE: &str = "github.com/planetlabs/kubehook";
const SECRET: &str = "the-secret-that-is-shared-with-kubehook";
const BEFORE: &str = "the-one-before-which-has-thirty-two-bytes-and-more";

/// A portal with this secret and audience. Each is an Envoy that compiles the filter.
fn portal(secret: &str, audience: &str) -> Portal {
    let site = Site::reserve();
    let flags = [
        format!("--secret-file={}", site.file("secret", secret)),
        format!("--audience={audience}"),
        "--trust-network=127.0.0.1".to_owned(),
    ];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    site.start(&cluster().assets().envoy, &flags)
}

/// A token as kubehook would make it.
fn token(portal: &Portal, lifetime: &str) -> String {
    let headers = [("x-forwarded-user", "cooluser"), ("x-forwarded-groups", "dev;ops")];
    portal::generate(portal, &headers, lifetime)
}

fn rig(shared: Option<&str>) -> Rig {
    Rig::with(
        |files| {
            let config = files.config.display();
            let mut gateway = realm::configuration();
            if let Some(audience) = shared {
                let secret = files.config.join("shared-secret");
                let old = files.config.join("shared-secret-old");
                fs::write(&secret, format!("{SECRET}\n")).unwrap();
                fs::write(&old, BEFORE).unwrap();
                gateway["sharedSecret"] =
                    json!({"audience": audience, "secretFiles": [secret, old]});
            }
            let path = files.config.with_extension("gateway.json");
            fs::write(&path, gateway.to_string()).unwrap();
            vec![
                format!("--authentication-config={config}/authentication.yaml"),
                format!("--gateway-config={}", path.display()),
            ]
        },
        false,
    )
}

#[test]
fn a_shared_secrets_token_is_taken_only_where_it_is_configured() {
    let own = portal(SECRET, AUDIENCE);
    let good = token(&own, "1h");
    let rig = rig(Some(AUDIENCE));
    let words = ["auth", "whoami", "-o", "json"];
    let user: Value = serde_json::from_str(&rig.kubectl(&*good).must(words, "").unwrap()).unwrap();
    let user = &user["status"]["userInfo"];
    assert_eq!(
        (&user["username"], &user["uid"]),
        (&json!("cooluser"), &json!("github.com/planetlabs/kubehook/cooluser"))
    );
    assert_eq!(user["groups"], json!(["dev", "ops", "system:authenticated"]));
    // An issuer's token is what it was.
    rig.kubectl(rig.token().mint()).must(["get", "namespaces"], "").unwrap();

    // A secret that is going out still verifies; another one and another audience do not pass.
    let old = token(&portal(BEFORE, AUDIENCE), "1h");
    rig.kubectl(&*old).must(["auth", "whoami"], "").unwrap();
    let another = "another-secret-which-has-thirty-two-bytes-and-more";
    for (secret, audience) in [(another, AUDIENCE), (SECRET, "another audience")] {
        let token = token(&portal(secret, audience), "1h");
        let output = rig.kubectl(token).run(["auth", "whoami"]).unwrap();
        assert!(output.stderr.contains("You must be logged in"), "{secret} {audience}: {output:?}");
        assert!(!output.success(), "{output:?}");
    }
    let short = rig.kubectl(token(&own, "2s"));
    until("the token ends", || {
        let output = short.run(["auth", "whoami"]).unwrap();
        output.stderr.contains("You must be logged in").then_some(())
    });

    let dump = rig.envoy_admin("/config_dump?include_eds");
    assert!(dump.contains("KUBE_OIDC_GATEWAY_SHARED_SECRETS"), "the name stands there");
    for text in [dump, rig.log()] {
        assert!(!text.contains(SECRET) && !text.contains(&good), "a secret is shown");
    }
}

/// Off by default.
#[test]
fn a_shared_secrets_token_is_nobodys_by_default() {
    let rig = rig(None);
    let token = token(&portal(SECRET, AUDIENCE), "1h");
    let output = rig.kubectl(token).run(["auth", "whoami"]).unwrap();
    assert!(output.stderr.contains("You must be logged in"), "{output:?}");
}
