//! From records to events: which stages a request has, and what they say.
//!
//! Source of the stages: k8s.io/apiserver, `pkg/endpoints/filters/audit.go` and `authn_audit.go`.

use std::collections::{HashSet, VecDeque};

use kube_request::RequestInfo;

use crate::{
    bounds,
    event::{Event, ObjectReference, ResponseStatus, Stage},
    policy::Policy,
    record::{Field, Kind, Record},
};

/// By which grants groups were lent, and who agreed to them.
const GRANTS: &str = "gateway.kube-oidc.dev/grants";
/// With which login a portal's token was made.
const ORIGIN: &str = "gateway.kube-oidc.dev/origin";
const ISSUER: &str = "gateway.kube-oidc.dev/issuer";
const GROUPS_SOURCE: &str = "gateway.kube-oidc.dev/groups-source";
const GROUPS_AT: &str = "gateway.kube-oidc.dev/groups-at";
const REFUSED: &str = "gateway.kube-oidc.dev/refused";
const REASON: &str = "gateway.kube-oidc.dev/reason";
/// Long-running requests that are remembered as begun. A lost end must not be remembered for ever.
const MOST_GOING: usize = 100_000;

/// Makes events of records. It remembers which of the requests that last it has announced.
#[derive(Debug)]
pub struct Expander {
    policy: Policy,
    going: HashSet<String>,
    order: VecDeque<String>,
}

impl Expander {
    /// An expander that has seen nothing.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, going: HashSet::new(), order: VecDeque::new() }
    }

    /// The events of a record that the policy wants, in the order of their stages.
    pub fn expand(&mut self, record: &Record) -> Vec<Event> {
        let info = RequestInfo::new(&record.method, &record.uri);
        let lasts = record.upgrade || info.is_long_running();
        let stages = self.stages(record, lasts);
        let user = record.identities.user.clone().with_authenticated();
        let verdict = if record.is_doubtful() {
            self.policy.evaluate_in_doubt(&user, &info)
        } else {
            self.policy.evaluate(&user, &info)
        };
        let stages = stages.into_iter().filter(|stage| verdict.wants(*stage));
        stages.map(|stage| event(record, &info, stage)).collect()
    }

    fn stages(&mut self, record: &Record, lasts: bool) -> Vec<Stage> {
        use Stage::{RequestReceived, ResponseComplete, ResponseStarted};
        // The one event that kube-apiserver writes of a credential that it does not take.
        if record.refused.is_some() && record.code == 401 {
            return vec![ResponseStarted];
        }
        let answered = record.answered.is_some() && lasts;
        match record.kind {
            Kind::Going if !answered => Vec::new(),
            Kind::Going if self.begin(&record.audit_id) => vec![RequestReceived, ResponseStarted],
            Kind::Going => Vec::new(),
            Kind::Ended if self.end(&record.audit_id) => vec![ResponseComplete],
            Kind::Ended if answered => vec![RequestReceived, ResponseStarted, ResponseComplete],
            Kind::Ended => vec![RequestReceived, ResponseComplete],
        }
    }

    /// True the first time.
    fn begin(&mut self, id: &str) -> bool {
        if !self.going.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > MOST_GOING
            && let Some(oldest) = self.order.pop_front()
        {
            self.going.remove(&oldest);
        }
        true
    }

    /// True if it had begun.
    fn end(&mut self, id: &str) -> bool {
        let had_begun = self.going.remove(id);
        if had_begun && self.order.len() > 2 * self.going.len() + 16 {
            self.order.retain(|it| self.going.contains(it));
        }
        had_begun
    }
}

fn event(record: &Record, info: &RequestInfo, stage: Stage) -> Event {
    let at = match stage {
        Stage::RequestReceived => record.received,
        Stage::ResponseStarted => record.answered.unwrap_or(record.ended),
        Stage::ResponseComplete => record.ended,
    };
    let mut event = Event::new(record.audit_id.clone(), stage, record.received, at);
    let is_cut = |field| record.truncated.contains(&field);
    event.request_uri = bounds::marked(&record.uri, is_cut(Field::RequestUri));
    event.verb = bounds::marked(&info.verb, is_cut(Field::Verb));
    event.user = record.identities.user.clone().with_authenticated();
    event.impersonated_user =
        record.identities.impersonated.clone().map(super::identity::User::with_authenticated);
    event.source_ips.push(record.client.clone());
    if record.peer != record.client {
        event.source_ips.push(record.peer.clone());
    }
    event.source_ips.retain(|address| !address.is_empty());
    event.user_agent = bounds::marked(&record.user_agent, is_cut(Field::UserAgent));
    event.truncate(record.truncated.iter().copied());
    let mut object_is_cut = false;
    let mut part = |text: &str| {
        let (kept, is_cut) = bounds::keep(text, bounds::OBJECT);
        object_is_cut |= is_cut;
        bounds::marked(&kept, is_cut)
    };
    event.object_ref = info.is_resource.then(|| ObjectReference {
        resource: part(&info.resource),
        namespace: part(&info.namespace),
        name: part(&info.name),
        api_group: part(&info.api_group),
        api_version: part(&info.api_version),
        subresource: part(&info.subresource),
    });
    if object_is_cut {
        event.truncate([Field::ObjectRef]);
    }
    if stage != Stage::RequestReceived {
        event.response_status = Some(match &record.refused {
            Some(_) if record.code == 401 => {
                ResponseStatus::refused(401, "Authentication failed".to_owned())
            }
            Some((word, _)) => ResponseStatus::refused(record.code, word.clone()),
            None => ResponseStatus::of(record.code),
        });
    }
    if !record.identities.issuer.is_empty() {
        event.annotations.insert(ISSUER, record.identities.issuer.clone());
    }
    let groups_from = &record.identities.groups_from;
    if !groups_from.is_nothing() {
        event.annotations.insert(GROUPS_SOURCE, groups_from.source.clone());
        event.annotations.insert(GROUPS_AT, groups_from.at.to_string());
    }
    if !record.identities.grants.is_empty() {
        let grants: Vec<_> = record.identities.grants.iter().map(ToString::to_string).collect();
        event.annotations.insert(GRANTS, grants.join("; "));
    }
    if !record.identities.origin.is_empty() {
        event.annotations.insert(ORIGIN, record.identities.origin.clone());
    }
    if let (Some((word, reason)), true) = (&record.refused, stage != Stage::RequestReceived) {
        event.annotations.insert(REFUSED, word.clone());
        event.annotations.insert(REASON, reason.clone());
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";

    fn line(more: &str) -> Record {
        let text = format!(
            r#"{{"time":"2026-01-01T00:00:00.000250Z","auditID":"a-1","client":"10.0.0.9","peer":"[fd00::1]:99",
               "method":"GET","userAgent":"kubectl","identity":"{{\"issuer\":\"https://i\",\"user\":{{\"username\":\"jane\",\"groups\":[\"dev\"]}}}}",
               {more}}}"#
        );
        Record::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_event_names_the_grants_and_their_approvers() {
        let mut record = line(r#""uri":"/api","code":200"#);
        record.identities = crate::Identities::read(
            "v=2&user=jane&group=dev&grant=g1&grant-by=kim&lent=admins&lent=ops&grant=g2&lent=debug",
        )
        .unwrap();
        let mut expander = Expander::new(Policy::parse(POLICY).unwrap());
        let event = expander.expand(&record).pop().unwrap();
        assert_eq!(event.annotations[GRANTS], "g1 by kim: admins, ops; g2: debug");
        let groups = ["dev", "admins", "ops", "debug", "system:authenticated"];
        assert_eq!(event.user.groups, groups);
    }

    /// A portal's token names its login, so that a trail leads from one to the other.
    #[test]
    fn an_event_names_the_login_of_a_portals_token() {
        let mut record = line(r#""uri":"/api","code":200"#);
        let mut expander = Expander::new(Policy::parse(POLICY).unwrap());
        assert!(!expander.expand(&record).pop().unwrap().annotations.contains_key(ORIGIN));
        record.identities.origin = "iss=https://i&sub=1234".to_owned();
        let event = expander.expand(&record).pop().unwrap();
        assert_eq!(event.annotations[ORIGIN], "iss=https://i&sub=1234");
    }

    fn stages(expander: &mut Expander, more: &str) -> Vec<Stage> {
        expander.expand(&line(more)).iter().map(|event| event.stage).collect()
    }

    #[test]
    fn stages_are_those_of_kube_apiserver() {
        use Stage::{RequestReceived, ResponseComplete, ResponseStarted};
        let mut expander = Expander::new(Policy::parse(POLICY).unwrap());
        for (more, want) in [
            (
                r#""uri":"/api/v1/pods","code":200,"responseMilliseconds":3,"milliseconds":4"#,
                &[RequestReceived, ResponseComplete][..],
            ),
            // A watch whose end alone was seen, and one that Envoy told of twice on its way.
            (
                r#""uri":"/api/v1/pods?watch=1","code":200,"responseMilliseconds":3"#,
                &[RequestReceived, ResponseStarted, ResponseComplete],
            ),
            (r#""type":"DownstreamPeriodic","uri":"/api/v1/pods?watch=1","code":0"#, &[]),
            (
                r#""type":"DownstreamPeriodic","uri":"/api/v1/pods?watch=1","code":200,"responseMilliseconds":3"#,
                &[RequestReceived, ResponseStarted],
            ),
            (
                r#""type":"DownstreamPeriodic","uri":"/api/v1/pods?watch=1","code":200,"responseMilliseconds":3"#,
                &[],
            ),
            (
                r#""type":"DownstreamEnd","uri":"/api/v1/pods?watch=1","code":200,"responseMilliseconds":3"#,
                &[ResponseComplete],
            ),
            // A slow answer to a short request begins no second stage.
            (
                r#""type":"DownstreamPeriodic","uri":"/api/v1/pods","code":200,"responseMilliseconds":3"#,
                &[],
            ),
            (
                r#""type":"DownstreamTunnelSuccessfullyEstablished","uri":"/x","upgrade":"websocket","code":101,"responseMilliseconds":3"#,
                &[RequestReceived, ResponseStarted],
            ),
            (
                r#""uri":"/x","upgrade":"websocket","code":101,"responseMilliseconds":3"#,
                &[ResponseComplete],
            ),
            (
                r#""uri":"/api/v1/pods","deny":"no_credential","reason":"no credential","code":401"#,
                &[ResponseStarted],
            ),
            (
                r#""uri":"/api/v1/pods?watch=1","deny":"guard","reason":"rule","code":403"#,
                &[RequestReceived, ResponseComplete],
            ),
        ] {
            assert_eq!(stages(&mut expander, more), want, "{more}");
        }
        assert!(expander.going.is_empty());
    }

    #[test]
    fn a_lost_end_is_not_remembered_for_ever() {
        let mut expander = Expander::new(Policy::parse(POLICY).unwrap());
        for id in 0..=MOST_GOING {
            assert!(expander.begin(&id.to_string()));
        }
        assert_eq!((expander.going.len(), expander.order.len()), (MOST_GOING, MOST_GOING));
        for id in 0..=MOST_GOING {
            expander.end(&id.to_string());
        }
        assert!(expander.going.is_empty() && expander.order.len() < 64, "{}", expander.order.len());
    }

    /// Byte for byte: receivers parse it with Kubernetes' own types.
    #[test]
    fn events_are_written_as_kube_apiserver_writes_them() {
        let mut expander = Expander::new(Policy::parse(POLICY).unwrap());
        let more =
            r#""uri":"/apis/apps/v1/namespaces/n/deployments/d/scale","code":200,"milliseconds":4"#;
        let events = expander.expand(&line(more));
        let text = serde_json::to_string(&events[1]).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete","#,
                r#""requestURI":"/apis/apps/v1/namespaces/n/deployments/d/scale","verb":"get","#,
                r#""user":{"username":"jane","groups":["dev","system:authenticated"]},"#,
                r#""sourceIPs":["10.0.0.9","fd00::1"],"userAgent":"kubectl","#,
                r#""objectRef":{"resource":"deployments","namespace":"n","name":"d","apiGroup":"apps","apiVersion":"v1","subresource":"scale"},"#,
                r#""responseStatus":{"metadata":{},"code":200},"#,
                r#""requestReceivedTimestamp":"2026-01-01T00:00:00.000250Z","stageTimestamp":"2026-01-01T00:00:00.004250Z","#,
                r#""annotations":{"gateway.kube-oidc.dev/issuer":"https://i"}}"#
            )
        );
        let refused =
            expander.expand(&line(r#""uri":"/x","deny":"verify","reason":"signature","code":401"#));
        let text = serde_json::to_string(&refused[0]).unwrap();
        assert!(text.contains(r#""responseStatus":{"metadata":{},"status":"Failure","message":"Authentication failed","code":401}"#), "{text}");
        assert!(text.contains(r#""gateway.kube-oidc.dev/reason":"signature""#), "{text}");
    }
}
