//! `revoke`: ends somebody's access.
#![expect(clippy::doc_markdown, reason = "fields are flags and their comments what --help prints")]

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use gateway_client::{Overrides, SERVICE_ACCOUNT, connection};
use gateway_config::duration;
use gateway_core::access::Revocation;
use jiff::{SignedDuration, Timestamp};
use kube_oidc_gateway::access::{Place, Store};

use super::{
    error::Error,
    files::{absolute, is_object_name},
    output::print,
};

/// End somebody's access: write an entry into the Revocations that gateways follow.
///
/// Running requests end within five seconds, new ones are refused within two. Entries that are over leave the document by the way.
#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    whom: Whom,
    /// End only tokens that were issued before this time (RFC 3339, or now): who logs in again is let in
    #[arg(long, value_name = "TIME", value_parser = moment)]
    issued_before: Option<Timestamp>,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = duration, conflicts_with = "until")]
    lasts: Duration,
    /// Until when (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Why: it is told to who is refused
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    place: PlaceFlags,
}

/// Whose access it is.
#[derive(Debug, Args)]
pub struct Whom {
    /// A user, by the name that Kubernetes sees
    #[arg(long, value_name = "NAME", group = "whom")]
    user: Option<String>,
    /// Everybody in a group, by the name that Kubernetes sees
    #[arg(long, value_name = "NAME", group = "whom")]
    group: Option<String>,
    /// A subject of the issuer: the claim sub. With each of these, what a portal made with the login ends, too
    #[arg(long, value_name = "SUB", group = "whom", requires = "issuer")]
    subject: Option<String>,
    /// One token, by its claim jti
    #[arg(long, value_name = "ID", group = "whom")]
    jti: Option<String>,
    /// A session at the provider: the claim sid
    #[arg(long, value_name = "ID", group = "whom")]
    sid: Option<String>,
    /// The issuer of the subject, token or session
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

/// Where the document is.
#[derive(Debug, Args)]
#[group(skip)]
pub struct PlaceFlags {
    /// The Revocations in a file, which run follows with --revocations
    #[arg(long, value_name = "FILE", group = "place")]
    file: Option<PathBuf>,
    /// The Revocations in a ConfigMap, which run follows with --revocations-configmap
    #[arg(long, value_name = "NAME", group = "place")]
    configmap: Option<String>,
    /// The ConfigMap's namespace [default: the pod's]
    #[arg(long, short, value_name = "NAME", conflicts_with = "file")]
    namespace: Option<String>,
    /// The kubeconfig for the API server [default: the pod's ServiceAccount]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The CA bundle for an API server whose kubeconfig names none
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    system_ca_file: PathBuf,
}

impl Revoke {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<ExitCode, Error> {
        let now = Timestamp::now();
        let lasts = SignedDuration::try_from(self.lasts).unwrap_or(SignedDuration::MAX);
        let until = match self.until {
            Some(until) => until,
            None => now.checked_add(lasts).map_err(|_| usage("--for is too long"))?,
        };
        if until <= now {
            return Err(usage("--until is over already"));
        }
        let entry = Revocation {
            issued_before: self.issued_before.map(text).unwrap_or_default(),
            until: text(until),
            reason: self.reason.clone(),
            ..self.whom.entry()?
        };
        let store = self.place.store()?;
        let add = |entries: &mut Vec<Revocation>| (add(entries, &entry), entries.len());
        let ((kept, count), pruned) = store.change(seconds(now), add)?;
        let count = format_args!("{count} entries, {pruned} were over");
        match kept {
            None => {
                print(format_args!(
                    "{} has no access until {}; {count}",
                    who(&entry),
                    entry.until
                ))?;
            }
            Some(kept) => print(format_args!(
                "{} has no access already, and that entry is kept until {}: `revocations remove` takes it out; {count}",
                who(&kept),
                kept.until
            ))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Whom {
    /// An entry that names it.
    pub fn entry(&self) -> Result<Revocation, Error> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let entry = Revocation {
            user: text(&self.user),
            group: text(&self.group),
            subject: text(&self.subject),
            jti: text(&self.jti),
            sid: text(&self.sid),
            issuer: text(&self.issuer),
            ..Revocation::default()
        };
        let names = [&entry.user, &entry.group, &entry.subject, &entry.jti, &entry.sid];
        if names.iter().all(|name| name.is_empty()) {
            return Err(usage("one of --user, --group, --subject, --jti and --sid is needed"));
        }
        Ok(entry)
    }
}

impl PlaceFlags {
    /// The document there.
    pub fn store(&self) -> Result<Store, Error> {
        let place = match (&self.file, &self.configmap) {
            (Some(file), _) => Place::File(absolute(file)?),
            (None, Some(name)) => {
                Place::ConfigMap { namespace: self.namespace()?, name: object_name(name)? }
            }
            (None, None) => return Err(usage("one of --file and --configmap is needed")),
        };
        let connect = || {
            let kubeconfig = self.kubeconfig.clone();
            let overrides = Overrides { kubeconfig, ..Overrides::default() };
            connection(&overrides, &self.system_ca_file).map_err(|error| error.to_string())
        };
        Ok(Store::new(place, connect)?)
    }

    fn namespace(&self) -> Result<String, Error> {
        if let Some(namespace) = &self.namespace {
            return object_name(namespace);
        }
        let namespace = fs::read_to_string(format!("{SERVICE_ACCOUNT}/namespace"));
        let namespace = namespace.map_err(|_| usage("--namespace is needed outside of a pod"))?;
        object_name(namespace.trim())
    }
}

/// Adds an entry, unless one that is there ends more, or the same for longer: that one is given back. What the new one covers it takes the
/// place of, so that there may be another reason.
fn add(entries: &mut Vec<Revocation>, entry: &Revocation) -> Option<Revocation> {
    let kept = entries.iter().find(|known| known.covers(entry) && !entry.covers(known));
    if let Some(kept) = kept {
        return Some(kept.clone());
    }
    entries.retain(|known| !entry.covers(known));
    entries.push(entry.clone());
    None
}

/// Whether two entries name the same.
pub fn is_same(one: &Revocation, other: &Revocation) -> bool {
    let named = |entry: &Revocation| {
        let Revocation { user, group, subject, jti, sid, issuer, .. } = entry.clone();
        [user, group, subject, jti, sid, issuer]
    };
    named(one) == named(other)
}

/// Whom an entry names, in words.
pub fn who(entry: &Revocation) -> String {
    let named = [
        ("user", &entry.user),
        ("group", &entry.group),
        ("subject", &entry.subject),
        ("token", &entry.jti),
        ("session", &entry.sid),
    ];
    let (kind, name) =
        named.into_iter().find(|(_, name)| !name.is_empty()).unwrap_or(("user", &entry.user));
    match entry.issuer.as_str() {
        "" => format!("{kind} {name}"),
        issuer => format!("{kind} {name} of {issuer}"),
    }
}

/// Seconds since 1970.
pub fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or_default()
}

/// Whole seconds: tokens say no more of when they were issued. A fraction counts as begun, so that a login of this second is ended, too.
fn text(time: Timestamp) -> String {
    let whole = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(whole).unwrap_or(time).to_string()
}

fn moment(text: &str) -> Result<Timestamp, String> {
    match text {
        "now" => Ok(Timestamp::now()),
        text => text.parse().map_err(|error| format!("no time of RFC 3339: {error}")),
    }
}

fn object_name(name: &str) -> Result<String, Error> {
    if is_object_name(name) {
        return Ok(name.to_owned());
    }
    Err(Error::Usage(format!("{name:?} is no name of a namespace or a ConfigMap")))
}

fn usage(why: &str) -> Error {
    Error::Usage(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `revoke --until 2027-01-01`, and later `revoke` without a time: that is 24 hours.
    #[test]
    fn a_second_entry_shortens_none_that_is_there() {
        let entry = |until: &str, issued_before: &str, reason: &str| Revocation {
            user: "jane".to_owned(),
            until: until.to_owned(),
            issued_before: issued_before.to_owned(),
            reason: reason.to_owned(),
            ..Revocation::default()
        };
        let (long, short) = ("2027-01-01T00:00:00Z", "2026-12-01T00:00:00Z");
        let whole = entry(long, "", "left");
        let mut entries = vec![whole.clone()];
        assert_eq!(add(&mut entries, &entry(short, "", "laptop")), Some(whole.clone()));
        assert_eq!(add(&mut entries, &entry(long, short, "laptop")), Some(whole.clone()));
        assert_eq!(entries, [whole]);
        // The same in other words, and what ends more.
        for new in [entry(long, "", "another reason"), entry("2028-01-01T00:00:00Z", "", "")] {
            assert_eq!(add(&mut entries, &new), None);
            assert_eq!(entries, [new]);
        }
        // For longer, and of old logins alone: each ends what the other does not.
        let old = entry("2029-01-01T00:00:00Z", short, "");
        assert_eq!((add(&mut entries, &old), entries.len()), (None, 2));
    }
}
