//! What every test stands on: the shared cluster, a gateway with a provider, and what the API server saw.

mod http2;
mod reach;
mod rig;
mod tls;

use std::{sync::LazyLock, time::Duration};

pub use sandbox::wait::until;
use sandbox::{Cluster, audit::Mark};

pub use self::{
    http2::{Http2, Message},
    reach::Probe,
    rig::{Rig, gateway, rigs_in_use},
};

/// How long a test waits for what must happen. Far more than it takes on a machine that does other things too.
pub const LIMIT: Duration = Duration::from_secs(60);

const BINDINGS: &str = include_str!("bindings.yaml");

static CLUSTER: LazyLock<(Cluster, Mark)> = LazyLock::new(|| {
    let cluster = Cluster::builder().start().expect("the cluster starts");
    cluster.apply(BINDINGS).expect("the roles of the realm's groups are bound");
    let mark = cluster.audit().mark().expect("it has an audit log");
    (cluster, mark)
});

/// The cluster that all tests share: started by the first, ended by the sandbox's watchdog.
pub fn cluster() -> &'static Cluster {
    &CLUSTER.0
}

/// The place in its audit log from which on tests wrote to it.
pub fn log_start() -> Mark {
    CLUSTER.1
}

/// A running pod of that name in the namespace `default`.
pub fn pod(name: &str) {
    let manifest = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}},
          spec: {{nodeName: {}, containers: [{{name: main, image: none}}]}}}}",
        sandbox::NODE
    );
    cluster().apply(&manifest).unwrap();
    let ready = ["wait", "--for=condition=Ready", "--timeout=30s", "pod", name];
    cluster().admin().must(ready, "").unwrap();
}

/// An answer of the gateway, as its bytes came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines in their order; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header (its name in lower case), as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}
