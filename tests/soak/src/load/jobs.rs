//! What is asked: who asks for what, and what must come of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use gateway_bench::client::Version;
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::{Job, Load};
use crate::{
    ledger::{Expect, Sent},
    people::{GUEST, NAMESPACE, POD, Person, Standing, Token},
};

impl Load {
    pub(super) fn job(&self, version: Version, random: &mut fastrand::Rng) -> Result<Job> {
        match random.u8(0..100) {
            0..8 => return self.bad(random),
            8..12 => {
                if let Some(token) = self.people().retired(random) {
                    return self.as_token("retired key", &token, random);
                }
            }
            12..17 => return self.deputy(random),
            17..19 => return self.leaving(random),
            19..20 if version == Version::H1 => return self.exec(random),
            20..40 => return self.whoami(random),
            40..48 => return self.create(random),
            48..56 => return self.delete(random),
            56..70 => {
                let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit=5");
                return self.read("list", &path, random);
            }
            _ => {}
        }
        self.read("get", &format!("/api/v1/namespaces/{NAMESPACE}/pods/{POD}"), random)
    }

    /// Anybody, or somebody of whom that holds.
    fn somebody(
        &self,
        random: &mut fastrand::Rng,
        who: impl Fn(&Person) -> bool,
    ) -> Result<(Token, &Person)> {
        let persons = &self.people().persons;
        loop {
            let number = random.usize(..persons.len());
            if who(&persons[number]) {
                let token = self.people().token(number, random, Instant::now())?;
                return Ok((token, &persons[number]));
            }
        }
    }

    fn job_of(
        &self,
        kind: &'static str,
        method: Method,
        path: &str,
        (token, person): (&Token, &Person),
        right: &'static [u16],
    ) -> Job {
        let expect = match self.people().standing(token, Instant::now()) {
            Standing::Good => Expect::Served(right),
            Standing::Doubtful => Expect::ServedOrRefused(right),
            Standing::Dead => Expect::Refused,
        };
        Job {
            request: Request::builder().method(method).uri(path),
            body: Bytes::new(),
            authorization: Some(token.authorization.clone()),
            sent: Sent {
                kind,
                user: Some(Arc::clone(&person.identity)),
                acts_as: Some(Arc::clone(&person.identity)),
                credential: token.credential.clone(),
                issuer: person.issuer,
                unverified: !matches!(expect, Expect::Served(_)),
                expect,
                begun: Instant::now(),
            },
            named: None,
            creates: None,
            leaves: None,
            upgrade: false,
        }
    }

    fn read(&self, kind: &'static str, path: &str, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |_| true)?;
        let right: &[u16] = if person.rights.read { &[200] } else { &[403] };
        Ok(self.job_of(kind, Method::GET, path, (&token, person), right))
    }

    fn as_token(
        &self,
        kind: &'static str,
        token: &Token,
        random: &mut fastrand::Rng,
    ) -> Result<Job> {
        let person = self.people().persons.get(token.person).context("no such person")?;
        let mut job = self.whoami_of(kind, token, person);
        if random.bool() {
            let right: &[u16] = if person.rights.read { &[200] } else { &[403] };
            let path = format!("/api/v1/namespaces/{NAMESPACE}");
            job = self.job_of(kind, Method::GET, &path, (token, person), right);
        }
        Ok(job)
    }

    fn whoami(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |_| true)?;
        Ok(self.whoami_of("whoami", &token, person))
    }

    fn whoami_of(&self, kind: &'static str, token: &Token, person: &Person) -> Job {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let mut job = self.job_of(kind, Method::POST, path, (token, person), &[201]);
        job.body = json_body(
            &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}),
        );
        job.named = Some(Arc::clone(&person.identity));
        job
    }

    fn create(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |person| person.issuer != GUEST)?;
        let right: &[u16] = if person.rights.write { &[201] } else { &[403] };
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let mut job = self.job_of("create", Method::POST, &path, (&token, person), right);
        let number = self.created.get();
        self.created.set(number + 1);
        let name = format!("soak-{number}");
        job.body = json_body(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"by": person.identity.name},
        }));
        job.creates = Some(name);
        Ok(job)
    }

    fn delete(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let Some(name) = self.objects.borrow_mut().pop() else { return self.create(random) };
        let (token, person) = self.somebody(random, |person| person.rights.write)?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}");
        Ok(self.job_of("delete", Method::DELETE, &path, (&token, person), &[200, 404]))
    }

    /// `kubectl --as`, by who may and who may not.
    fn deputy(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let may = random.bool();
        let (token, person) = self.somebody(random, |person| person.rights.deputy == may)?;
        if !may && self.people().standing(&token, Instant::now()) == Standing::Doubtful {
            return Ok(self.whoami_of("whoami", &token, person));
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit=1");
        let mut job = self.job_of("as another", Method::GET, &path, (&token, person), &[200]);
        job.request = job.request.header("impersonate-user", self.people().target.name.as_str());
        job.sent.acts_as = Some(Arc::clone(&self.people().target));
        if !may && matches!(job.sent.expect, Expect::Served(_)) {
            job.sent.expect = Expect::Forbidden;
        }
        Ok(job)
    }

    /// A client that goes away while it is answered.
    fn leaving(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit=500");
        let mut job = self.read("leaving", &path, random)?;
        job.leaves = Some(Duration::from_micros(random.u64(300..8000)));
        Ok(job)
    }

    fn exec(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |person| person.rights.exec)?;
        let path =
            format!("/api/v1/namespaces/{NAMESPACE}/pods/{POD}/exec?command=true&stdout=true");
        let mut job = self.job_of("exec", Method::GET, &path, (&token, person), &[101]);
        job.request = job
            .request
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "c29haydzIHNhbXBsZSBrZXk=")
            .header("sec-websocket-protocol", "v5.channel.k8s.io");
        job.upgrade = true;
        Ok(job)
    }

    pub(super) fn watch(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let (token, person) = self.somebody(random, |person| person.rights.read)?;
        let seconds = random.u64(2..40);
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/configmaps?watch=1&timeoutSeconds={seconds}&fieldSelector=metadata.name%3Dnone"
        );
        let mut job = self.job_of("watch", Method::GET, &path, (&token, person), &[200]);
        if random.u8(0..3) == 0 {
            job.leaves = Some(Duration::from_millis(random.u64(1..seconds * 1000)));
        }
        Ok(job)
    }

    pub(super) fn bad(&self, random: &mut fastrand::Rng) -> Result<Job> {
        let bad = self.people().bad(random)?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        Ok(Job {
            request: Request::builder().method(Method::GET).uri(path),
            body: Bytes::new(),
            authorization: bad.authorization,
            sent: Sent {
                kind: bad.kind,
                user: None,
                acts_as: None,
                credential: String::new(),
                issuer: bad.issuer,
                unverified: bad.unverified,
                expect: Expect::Refused,
                begun: Instant::now(),
            },
            named: None,
            creates: None,
            leaves: None,
            upgrade: false,
        })
    }
}

fn json_body(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
