//! Whether the gateway can do its work: what `/readyz` says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use gateway_config::{Needed, Right, Rights};
use gateway_control::{Admin, Numbers, Probe};
use gateway_core::{callout::Cause, metrics::stat_value};
use tracing::{info, warn};

use super::{
    access::Holder,
    metrics::{Metric, Metrics},
    view::View,
};

/// How often Envoy is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often the API server is asked while all is well, and while it is not.
const ASK: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often rights are asked for while none is missing, and while one is.
const RIGHTS: Duration = Duration::from_secs(300);
const RIGHTS_AGAIN: Duration = Duration::from_secs(10);

/// The names of the checks.
const CHECKS: [&str; 6] = ["envoy", "filter", "issuers", "apiserver", "rights", "access"];

/// What was found, for whoever asks.
#[derive(Debug)]
pub struct Readiness {
    checks: Mutex<Vec<Check>>,
    /// What somebody should know, and takes nobody's access but that of whom it is about.
    warnings: Mutex<BTreeMap<&'static str, Vec<String>>>,
    served: AtomicBool,
    ending: AtomicBool,
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    name: &'static str,
    fault: Option<String>,
}

impl Default for Readiness {
    fn default() -> Self {
        let unknown =
            |name| Check { name, fault: Some("it has not been looked at yet".to_owned()) };
        Self {
            checks: Mutex::new(CHECKS.map(unknown).to_vec()),
            warnings: Mutex::default(),
            served: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        }
    }
}

impl Readiness {
    /// Whether Envoy has ever served.
    pub fn served(&self) -> bool {
        self.served.load(Ordering::Acquire)
    }

    /// From now on it is not ready, whatever else holds.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Whether it is ready, and how each check stands, in the form of kube-apiserver's `/readyz?verbose`.
    pub fn report(&self) -> (bool, String) {
        let mut checks = self.checks().clone();
        let ending = self.ending.load(Ordering::Acquire);
        let fault = ending.then(|| "the gateway is about to end".to_owned());
        checks.push(Check { name: "shutdown", fault });
        let ready = checks.iter().all(|check| check.fault.is_none());
        let line = |Check { name, fault }: &Check| match fault {
            None => format!("[+]{name} ok\n"),
            Some(fault) => format!("[-]{name} failed: {fault}\n"),
        };
        let mut lines: String = checks.iter().map(line).collect();
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, texts) in warnings.iter() {
            lines.extend(texts.iter().map(|text| format!("[!]{name}: {text}\n")));
        }
        (ready, format!("{lines}readyz check {}\n", if ready { "passed" } else { "failed" }))
    }

    /// Says what is wrong, in place of what was said before. It makes nothing unready: one directory is not the whole cluster.
    pub fn warn_of(&self, name: &'static str, texts: Vec<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.insert(name, texts);
    }

    fn set(&self, name: &'static str, result: Result<(), String>, metrics: &Metrics) {
        metrics.set(Metric::Ready, [name, ""], result.is_ok().into());
        if name == "envoy" && result.is_ok() {
            self.served.store(true, Ordering::Release);
        }
        let mut checks = self.checks();
        let Some(check) = checks.iter_mut().find(|check| check.name == name) else { return };
        let fault = result.err();
        match (&check.fault, &fault) {
            (_, Some(new)) if check.fault.as_ref() != Some(new) => {
                warn!(check = name, "not ready: {name}: {new}");
            }
            (Some(_), None) => info!(check = name, "{name}: ok"),
            _ => {}
        }
        check.fault = fault;
    }

    fn checks(&self) -> std::sync::MutexGuard<'_, Vec<Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks whether the checks hold, again and again.
pub(super) struct Observer {
    pub readiness: Arc<Readiness>,
    pub admin: Admin,
    pub probe: Probe,
    pub view: Arc<Mutex<View>>,
    pub metrics: Arc<Metrics>,
    pub all_issuers: bool,
    pub require_rights: bool,
    /// The documents that say whose access has ended, if there are any.
    pub access: Option<Arc<Holder>>,
}

/// When something was asked last, and how it went.
struct Asked {
    at: Instant,
    generation: u64,
    well: bool,
}

impl Asked {
    fn due(last: Option<&Self>, generation: u64, every: Duration, again: Duration) -> bool {
        last.is_none_or(|last| {
            let wait = if last.well { every } else { again };
            last.generation != generation || last.at.elapsed() >= wait
        })
    }
}

impl Observer {
    /// Looks until the other end of `stop` is dropped.
    pub fn run(self, stop: &Receiver<()>) {
        let (mut credential, mut rights) = (None, None);
        loop {
            let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.look_at_envoy(&view);
            let access = self.access.as_ref().map_or(Ok(()), |holder| holder.readiness());
            self.readiness.set("access", access, &self.metrics);
            // Before Envoy has served there is no way to ask by.
            let asks = self.readiness.served();
            if asks && Asked::due(credential.as_ref(), view.generation, ASK, ASK_AGAIN) {
                let result = view.apiserver.serves(&self.probe).map_err(|error| error.to_string());
                let (at, generation) = (Instant::now(), view.generation);
                credential = Some(Asked { at, generation, well: result.is_ok() });
                self.readiness.set("apiserver", result, &self.metrics);
            }
            let answers = credential.as_ref().is_some_and(|asked| asked.well);
            if answers && Asked::due(rights.as_ref(), view.generation, RIGHTS, RIGHTS_AGAIN) {
                let well = self.look_at_rights(&view);
                rights = Some(Asked { at: Instant::now(), generation: view.generation, well });
            }
            if stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn look_at_envoy(&self, view: &View) {
        let set = |name, result| self.readiness.set(name, result, &self.metrics);
        let numbers = self.admin.numbers();
        let answer = self.admin.ready();
        let (envoy, filter, issuers) = match numbers {
            // In its words, which name a socket, it would be new each time.
            Err(_) => {
                let silent = || Err("Envoy does not answer".to_owned());
                (silent(), silent(), silent())
            }
            Ok(numbers) => (
                answer.and_then(|()| {
                    if numbers.serves { Ok(()) } else { Err("it has no certificate".to_owned()) }
                }),
                // Envoy calls itself ready with a filter that refused its configuration, too.
                if numbers.taken > 0 {
                    Ok(())
                } else {
                    Err("the filter has no configuration".to_owned())
                },
                issuers(&view.issuers, &numbers, self.all_issuers),
            ),
        };
        set("envoy", envoy);
        set("filter", filter);
        set("issuers", issuers);
    }

    /// Whether no right is missing.
    fn look_at_rights(&self, view: &View) -> bool {
        let missing = match missing(&view.rights, |right| view.apiserver.allows(&self.probe, right))
        {
            Ok(missing) => missing,
            Err(error) => {
                self.readiness.set("rights", Err(error.to_string()), &self.metrics);
                return false;
            }
        };
        let count = i64::try_from(missing.len()).unwrap_or(i64::MAX);
        self.metrics.set(Metric::MissingRights, ["", ""], count);
        let needed: Vec<_> =
            missing.iter().filter(|right| right.needed == Needed::Always).collect();
        for right in missing.iter().filter(|right| right.needed == Needed::ToImpersonate) {
            warn!("kubectl --as does not work in full: no right {right}");
        }
        let result = if needed.is_empty() {
            Ok(())
        } else {
            let rules: Vec<_> = needed.iter().map(ToString::to_string).collect();
            Err(format!("the gateway's ClusterRole lacks {}", rules.join(", ")))
        };
        if !self.require_rights
            && let Err(fault) = &result
        {
            warn!("{fault}");
        }
        let fault = if self.require_rights { result } else { Ok(()) };
        self.readiness.set("rights", fault, &self.metrics);
        missing.is_empty()
    }
}

/// The rights that are not granted, of the form that is: the constrained one counts where it is granted as far as every
/// request needs it, or in part while nothing of the plain one is.
pub(crate) fn missing<E>(
    rights: &Rights,
    allows: impl Fn(&Right) -> Result<bool, E>,
) -> Result<Vec<&Right>, E> {
    let of = |rights: &'_ [Right]| -> Result<Vec<usize>, E> {
        let mut missing = Vec::new();
        for (index, right) in rights.iter().enumerate() {
            if !allows(right)? {
                missing.push(index);
            }
        }
        Ok(missing)
    };
    let impersonates = |right: &Right| right.verb.starts_with("impersonate");
    let pick = |rights: &'_ [Right], of: &[usize], when: &dyn Fn(&Right) -> bool| {
        of.iter().filter(|index| rights.get(**index).is_some_and(when)).count()
    };
    let always = |right: &Right| right.needed == Needed::Always;
    let plain = of(&rights.plain)?;
    let chosen = if pick(&rights.plain, &plain, &always) == 0 {
        (&rights.plain, plain)
    } else {
        let constrained = of(&rights.constrained)?;
        let holds = pick(&rights.constrained, &constrained, &always) == 0;
        let all = |rights: &[Right]| rights.iter().filter(|right| impersonates(right)).count();
        let nothing = pick(&rights.plain, &plain, &impersonates) == all(&rights.plain);
        let some =
            pick(&rights.constrained, &constrained, &impersonates) < all(&rights.constrained);
        if holds || (nothing && some) {
            (&rights.constrained, constrained)
        } else {
            (&rights.plain, plain)
        }
    };
    Ok(chosen.1.iter().filter_map(|index| chosen.0.get(*index)).collect())
}

/// Whether all issuers have usable keys, or one.
fn issuers(urls: &[String], numbers: &Numbers, all: bool) -> Result<(), String> {
    let has_keys = |url: &&String| {
        let name = stat_value(url);
        numbers.keys.iter().any(|(issuer, count)| *issuer == name && *count > 0)
    };
    let with_cause = |url: &String| {
        let name = stat_value(url);
        let failing = numbers.failing.iter().find(|(issuer, _)| *issuer == name);
        match failing.and_then(|(_, reason)| Cause::of_keyword(reason)) {
            Some(cause) => format!("{url} ({}: {})", cause.keyword(), cause.words()),
            None => url.clone(),
        }
    };
    let without: Vec<_> = urls.iter().filter(|url| !has_keys(url)).map(with_cause).collect();
    let some = without.len() < urls.len() || urls.is_empty();
    if without.is_empty() || (some && !all) {
        Ok(())
    } else {
        Err(format!("no keys of {} yet", without.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_issuer_will_do_unless_all_are_asked_for() {
        let (a, b) = ("https://a.example".to_owned(), "https://b.example/x".to_owned());
        let both = [a, b];
        let keys = |a, b| vec![("a_example".to_owned(), a), ("b_example_x".to_owned(), b)];
        let failing = vec![("b_example_x".to_owned(), "refused".to_owned())];
        for (urls, keys, all, want) in [
            (&both[..], keys(1, 1), true, Ok(())),
            (&both[..], keys(1, 0), false, Ok(())),
            (
                &both[..],
                keys(1, 0),
                true,
                Err(
                    "no keys of https://b.example/x (refused: its host refuses the connection) yet",
                ),
            ),
            (
                &both[..],
                vec![],
                false,
                Err(
                    "no keys of https://a.example, https://b.example/x (refused: its host refuses the connection) yet",
                ),
            ),
            (&both[..0], vec![], true, Ok(())),
        ] {
            let numbers = Numbers { keys, failing: failing.clone(), ..Numbers::default() };
            let got = issuers(urls, &numbers, all);
            assert_eq!(got, want.map_err(str::to_owned), "{numbers:?} {all}");
        }
    }

    #[test]
    fn one_form_of_the_rights_is_enough() {
        let right = |verb: &str, resource: &str, needed| Right {
            group: String::new(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
            name: None,
            needed,
        };
        let (always, to_impersonate) = (Needed::Always, Needed::ToImpersonate);
        let of = |verb: &str| {
            vec![
                right(verb, "users", always),
                right(verb, "groups", always),
                right("create", "subjectaccessreviews", to_impersonate),
            ]
        };
        let rights = Rights { plain: of("impersonate"), constrained: of("impersonate:user-info") };
        let review = "create subjectaccessreviews";
        for (granted, want) in [
            (&["impersonate users", "impersonate groups", review][..], &[][..]),
            (&["impersonate users", "impersonate groups"], &[review]),
            (&["impersonate:user-info users", "impersonate:user-info groups", review], &[]),
            (&["impersonate:user-info users", "impersonate:user-info groups"], &[review]),
            // Told in the form that is there in part; in the plain one if none is.
            (&["impersonate:user-info users", review], &["impersonate:user-info groups"]),
            (&["impersonate users", review], &["impersonate groups"]),
            (&[review], &["impersonate users", "impersonate groups"]),
        ] {
            let name = |right: &Right| format!("{} {}", right.verb, right.resource);
            let got = missing(&rights, |right| Ok::<_, ()>(granted.contains(&&*name(right))));
            let got: Vec<_> = got.unwrap().into_iter().map(name).collect();
            assert_eq!(got, want, "{granted:?}");
        }
    }

    #[test]
    fn the_report_names_what_fails() {
        let (readiness, metrics) = (Readiness::default(), Metrics::default());
        assert!(!readiness.report().0);
        for name in CHECKS {
            readiness.set(name, Ok(()), &metrics);
        }
        assert!(readiness.report().0);
        readiness.set("apiserver", Err("down".to_owned()), &metrics);
        let (ready, text) = readiness.report();
        assert!(!ready && text.contains("[-]apiserver failed: down\n"), "{text}");
        readiness.set("apiserver", Ok(()), &metrics);
        readiness.warn_of("tokens", vec!["groupSources/a has no token: down".to_owned()]);
        let (ready, text) = readiness.report();
        assert!(ready && text.contains("[!]tokens: groupSources/a has no token: down\n"), "{text}");
        readiness.end();
        let (ready, text) = readiness.report();
        assert!(!ready && text.ends_with("readyz check failed\n"), "{text}");
    }
}
