//! What is right for one request: its answer, whom kube-apiserver saw, and what the logs have of it.

use std::time::Instant;

use sandbox::audit::Event;

use super::{Entry, Expect, Fault, Outcome, Sent};
use crate::windows::{Symptom, Windows};

/// The extra that says which token a request bore.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The extra with the name of who acts as another.
const ORIGINAL_USER: &str = "originaluser.jetstack.io-user";

/// A request's outcome, if it is right or explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Served,
    Refused,
    Explained,
    Left,
}

pub(super) fn judge(
    sent: &Sent,
    outcome: &Outcome,
    windows: &Windows,
    now: Instant,
) -> Result<Judged, (Fault, String)> {
    let explained = |symptom| windows.explain(symptom, sent.begun, now);
    let Outcome { status, broken, left, .. } = outcome;
    let told = || {
        let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let why = broken.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        format!("{status}{why}, expected {:?}", sent.expect)
    };
    if *left {
        return Ok(Judged::Left);
    }
    let status = match status {
        Some(status) if broken.is_none() && *status < 500 => *status,
        Some(503) if sent.expect == Expect::Crash => return Ok(Judged::Explained),
        _ => {
            let keyless = sent.unverified && explained(Symptom::Keyless(sent.issuer));
            return if keyless || explained(Symptom::Unavailable) {
                Ok(Judged::Explained)
            } else {
                Err((Fault::Unavailable, told()))
            };
        }
    };
    match sent.expect {
        Expect::Served(right) | Expect::ServedOrRefused(right) if right.contains(&status) => {
            Ok(Judged::Served)
        }
        Expect::ServedOrRefused(_) | Expect::Refused if status == 401 => Ok(Judged::Refused),
        Expect::Forbidden if status == 403 => Ok(Judged::Refused),
        // A token in order is refused while its keys are on their way.
        Expect::Served(_) | Expect::Forbidden
            if status == 401 && explained(Symptom::Unauthorized(sent.issuer)) =>
        {
            Ok(Judged::Explained)
        }
        Expect::Served(_) | Expect::ServedOrRefused(_)
            if status == 403 && explained(Symptom::Forbidden) =>
        {
            Ok(Judged::Explained)
        }
        Expect::Served(_) if matches!(status, 401 | 403) => Err((Fault::Refused, told())),
        Expect::Refused | Expect::Forbidden if status < 400 => Err((Fault::Accepted, told())),
        Expect::Crash => Err((Fault::Disturbance, told())),
        _ => Err((Fault::Status, told())),
    }
}

/// Whether kube-apiserver saw whom it had to see.
pub(super) fn right_identity(sent: &Sent, event: &Event, by_gateway: bool) -> Result<(), String> {
    let got = event.impersonated_user.clone().unwrap_or_default();
    if matches!(sent.expect, Expect::Refused | Expect::Forbidden | Expect::Crash) {
        return Err(format!(
            "kube-apiserver served {:?} ({:?}) what the gateway had to refuse",
            event.user.username, got.username
        ));
    }
    if !by_gateway {
        return Err(format!("kube-apiserver was asked by {:?}", event.user.username));
    }
    let Some(want) = &sent.acts_as else {
        return Err(format!("kube-apiserver served {:?} for nobody's token", got.username));
    };
    if (&got.username, &got.groups, &got.uid) != (&want.name, &want.groups, &want.uid) {
        return Err(format!(
            "kube-apiserver saw {:?} {:?} uid {:?}, expected {want:?}",
            got.username, got.groups, got.uid
        ));
    }
    let user = sent.user.as_ref().map(|user| user.name.as_str()).unwrap_or_default();
    // Who acts as another brings their name, and not the credential.
    let (key, right) = if user == want.name {
        (CREDENTIAL_ID, format!("JTI={}", sent.credential))
    } else {
        (ORIGINAL_USER, user.to_owned())
    };
    let extra = |key: &str| got.extra.get(key).map(Vec::as_slice).unwrap_or_default();
    if extra(key) != [right.as_str()] {
        return Err(format!("kube-apiserver saw extra {key} {:?}, expected {right:?}", extra(key)));
    }
    if key == CREDENTIAL_ID && !extra(ORIGINAL_USER).is_empty() {
        return Err(format!("kube-apiserver saw {:?} as another", extra(ORIGINAL_USER)));
    }
    Ok(())
}

/// What is wrong with what the logs say of a request that ended `at`.
pub(super) fn compare(
    entry: &Entry,
    outcome: &Outcome,
    windows: &Windows,
    at: Instant,
) -> Vec<(Fault, String)> {
    let Entry { sent, apiserver, events, lines, served, denied, .. } = entry;
    let mut faults = Vec::new();
    let answered = outcome.status.is_some();
    // A request that was cut on its way may not have arrived at all.
    let arrived = answered || events.last() + lines.last() + apiserver.last() > 0;
    for (log, seen) in [("the gateway's audit events", events), ("the access log", lines)] {
        match seen.last() {
            0 if arrived => faults.push((Fault::Lost, format!("{log}: not a line"))),
            0 | 1 => {}
            more => faults.push((Fault::Doubled, format!("{log}: {more} times"))),
        }
    }
    if apiserver.ends > 1 {
        faults.push((Fault::Doubled, format!("kube-apiserver served it {} times", apiserver.ends)));
    }
    let whole = outcome.broken.is_none() && !outcome.left;
    if *served && apiserver.last() == 0 && !windows.explain(Symptom::Unwritten, sent.begun, at) {
        let text = "kube-apiserver's audit log has no event of it".to_owned();
        faults.push((Fault::Unproven, text));
    }
    if *served && *denied && !windows.explain(Symptom::Forbidden, sent.begun, at) {
        let text = "kube-apiserver does not let the gateway act as the user".to_owned();
        faults.push((Fault::Refused, text));
    }
    let ids = [&outcome.audit_id, &events.audit_id, &lines.audit_id, &apiserver.audit_id];
    let mut known = ids.into_iter().flatten();
    if let Some(first) = known.next()
        && let Some(other) = known.find(|other| *other != first)
    {
        faults.push((Fault::Disagreement, format!("audit ids {first} and {other}")));
    }
    // kube-apiserver's 101 has none.
    if answered && whole && outcome.audit_id.is_none() && outcome.status != Some(101) {
        faults.push((Fault::Disagreement, "the answer has no Audit-Id".to_owned()));
    }
    for (log, seen) in [("the audit event", events), ("the access log", lines)] {
        if whole && seen.code.is_some() && outcome.status.is_some() && seen.code != outcome.status {
            let text = format!("{log} has {:?}, the client got {:?}", seen.code, outcome.status);
            faults.push((Fault::Disagreement, text));
        }
    }
    faults
}
