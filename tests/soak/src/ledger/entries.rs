//! What the ledger is told, and what it says.

use std::{fmt, sync::Arc, time::Instant};

use serde::Deserialize;

/// A user as kube-apiserver must see one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name, with its prefix.
    pub name: String,
    /// The groups in their order, with their prefixes and `system:authenticated`.
    pub groups: Vec<String>,
    /// The uid.
    pub uid: String,
}

/// What is right for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// kube-apiserver answers, with one of these.
    Served(&'static [u16]),
    /// As long as the token's key is in doubt: that, or 401.
    ServedOrRefused(&'static [u16]),
    /// 401, and nothing reaches kube-apiserver.
    Refused,
    /// 403 by the gateway, and nothing reaches kube-apiserver.
    Forbidden,
    /// 503: the VM has crashed.
    Crash,
}

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What it is, for the table.
    pub kind: &'static str,
    /// Who sends it, as the token says; nobody if the token is good for nothing.
    pub user: Option<Arc<Identity>>,
    /// Whom kube-apiserver must see: the user, or whom the user acts as.
    pub acts_as: Option<Arc<Identity>>,
    /// The credential's id.
    pub credential: String,
    /// The number of the token's issuer.
    pub issuer: usize,
    /// Whether no key that its issuer publishes need verify the token, so that the issuer is asked whether it has another.
    pub unverified: bool,
    /// What is right for it.
    pub expect: Expect,
    /// When.
    pub begun: Instant,
}

/// What the client got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The status; `None` if no answer came.
    pub status: Option<u16>,
    /// The answer's `Audit-Id`.
    pub audit_id: Option<String>,
    /// Why there is no answer, or only half of one.
    pub broken: Option<String>,
    /// The client went away by itself.
    pub left: bool,
    /// What is wrong with the user that the answer names.
    pub wrong_user: Option<String>,
}

/// A line of the gateway's access log, as far as it is checked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessLine {
    /// The request's id.
    #[serde(rename = "auditID", default)]
    pub audit_id: Option<String>,
    /// The client's name for itself.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub user: Option<String>,
    /// The answer.
    #[serde(default)]
    pub code: Option<u16>,
    /// How it went on, if it did.
    #[serde(default)]
    pub mode: Option<String>,
    /// Why it did not, in a word.
    #[serde(default)]
    pub deny: Option<String>,
    /// The whole reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// What Envoy has to say of the answer.
    #[serde(default)]
    pub details: Option<String>,
    /// Likewise, in flags.
    #[serde(default)]
    pub flags: Option<String>,
}

/// How something was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kube-apiserver, an answer or a log named another user, or a user for a token that is good for nothing.
    WrongIdentity,
    /// Something was done as the gateway itself.
    AsGateway,
    /// A token that is good for nothing was taken.
    Accepted,
    /// A good token was refused, or a request denied, and no window explains it.
    Refused,
    /// An answer of 500 and above, none, or half of one, and no window explains it.
    Unavailable,
    /// Another status than any that is right.
    Status,
    /// The gateway's audit events or its access log have no line of a request.
    Lost,
    /// A log has a request twice.
    Doubled,
    /// Logs and answer do not agree on a request's id or status.
    Disagreement,
    /// kube-apiserver answered and its audit log does not say as whom.
    Unproven,
    /// A VM crashed by itself.
    Crash,
    /// A disturbance did not do what it should.
    Disturbance,
    /// Memory grew.
    Memory,
}

/// Something wrong.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The request's number, if it is one's.
    pub request: Option<u64>,
    /// How.
    pub fault: Fault,
    /// The request's id in every log, as far as it is known.
    pub audit_id: String,
    /// What it was, in a line.
    pub text: String,
    /// What was done to the gateway then.
    pub windows: Vec<String>,
}

/// How requests of one kind came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Served by kube-apiserver, denials of its own among them.
    pub served: u64,
    /// Refused by the gateway, as was right.
    pub refused: u64,
    /// Not served for a reason that a window explains.
    pub explained: u64,
    /// Left by the client.
    pub left: u64,
    /// Wrong.
    pub wrong: u64,
}

impl Tally {
    /// All of them.
    pub fn all(self) -> u64 {
        self.served + self.refused + self.explained + self.left + self.wrong
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongIdentity => "wrong identity",
            Self::AsGateway => "request as the gateway itself",
            Self::Accepted => "bad token taken",
            Self::Refused => "good request refused",
            Self::Unavailable => "unexplained 5xx or no answer",
            Self::Status => "unexpected status",
            Self::Lost => "lost event or line",
            Self::Doubled => "doubled event or line",
            Self::Disagreement => "logs that disagree",
            Self::Unproven => "no event of kube-apiserver",
            Self::Crash => "crash of a VM by itself",
            Self::Disturbance => "disturbance without its effect",
            Self::Memory => "memory grew",
        })
    }
}
