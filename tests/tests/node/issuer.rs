//! The issuer that the tests share, with users of a company: it listens where pods reach it.

use std::{net::IpAddr, sync::LazyLock};

use oidc_provider::{Config, Preset, Provider};
use sandbox::realm;
use serde_json::{Value, json};

use crate::nodes::APISERVER;

/// A user, and the group that he is in.
pub const USER: &str = "k8s-user1";
/// That group.
pub const GROUP: &str = "staff";

static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    let mut config = Config::of(Preset::KubernetesSandbox.issuer());
    let address: IpAddr = APISERVER.parse().unwrap();
    config.listen = (address, 0).into();
    APISERVER.clone_into(&mut config.host);
    let provider = Provider::start(config).unwrap();
    provider.issuer().set_groups(USER, [GROUP]).unwrap();
    provider
});

/// The issuer.
pub fn provider() -> &'static Provider {
    &PROVIDER
}

/// The values by which the chart believes it.
pub fn values() -> Value {
    json!({"oidc": {
        "issuerUrl": provider().issuer().url(), "clientId": realm::CLIENT, "caPEM": provider().ca_pem(),
        "usernameClaim": "email", "groupsClaim": "groups",
    }})
}

/// A token of the user's.
pub fn token() -> String {
    provider().issuer().token(USER, realm::CLIENT).expires_in(3600).mint()
}
