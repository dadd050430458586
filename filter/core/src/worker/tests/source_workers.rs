//! Group sources and several workers of a proxy: who asks, what the others learn of it, and for how long they may differ.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::json;

// Under Node, `#[test]` is wasm-bindgen's.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    sources::{JANE, ask, authorization, beside, groups, of, pair, path, serve},
    *,
};

const FEW: &str = r#"{"value": ["a"]}"#;
const OTHERS: &str = r#"{"value": ["b"]}"#;

/// Fills the places that the workers share with other users, and leaves this worker's own memory alone.
fn crowd_out(rig: &mut Rig) {
    for number in 0..16 {
        let user = format!("crowd{number}");
        assert_eq!(groups(ask(rig, &of(&user), &[(&path(&user), 200, FEW)])), ["a"]);
    }
}

/// The groups change in the directory while a worker has the old ones, and the workers' common places have been taken by others: this one
/// learns of it before its own answer's lifetime is over, and asks nobody if another worker knows already.
#[test]
fn workers_have_different_groups_for_less_than_one_lifetime() {
    let cache = json!({"groupCache": {"lifetimeSeconds": 100, "maximumEntries": 2}});
    let (mut first, mut second) = pair(&json!({}), &cache);
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    assert_eq!(groups(ask(&mut first, &of("jane"), &[(JANE, 200, FEW)])), ["a"]);
    crowd_out(&mut second);
    for rig in [&mut first, &mut second] {
        rig.now += Duration::from_secs(10);
    }
    assert_eq!(groups(ask(&mut second, &of("jane"), &[(JANE, 200, OTHERS)])), ["b"]);
    assert_eq!(groups(first.decide(&asked, Attempt::default())), ["a"], "not old enough");
    first.now += Duration::from_secs(64);
    assert_eq!(groups(first.decide(&asked, Attempt::default())), ["a"], "74 s");
    first.now += Duration::from_secs(2);
    assert_eq!(groups(first.decide(&asked, Attempt::default())), ["b"], "76 s, and nobody waits");
    assert!(first.lookups().is_empty(), "the other worker knew");
}

/// An answer that took long was as good as new: its user kept a group for the answer's time and the lifetime.
#[test]
fn groups_are_as_old_as_their_question() {
    let (mut first, mut second) = pair(
        &json!({"timeoutSeconds": 40}),
        &json!({"groupCache": {"lifetimeSeconds": 100}, "limits": {"waitSeconds": 14}}),
    );
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    first.waits(&asked, Attempt::default());
    let callouts = first.lookups();
    for rig in [&mut first, &mut second] {
        rig.now += Duration::from_secs(13);
    }
    first.answer(&callouts[0], Ok((200, FEW.as_bytes())));
    let attempt = first.settled();
    assert_eq!(groups(first.decide(&asked, attempt)), ["a"]);
    second.now += Duration::from_secs(1);
    assert_eq!(groups(second.decide(&asked, Attempt::default())), ["a"], "what the other knows");
    for rig in [&mut first, &mut second] {
        rig.now = NOW + Duration::from_secs(101);
        assert!(matches!(rig.waits(&asked, Attempt::default()), Wait::GroupSource(_)));
    }
}

/// A lifetime bounds how long an answer may take: an older one would be of no use.
#[test]
fn no_answer_takes_longer_than_its_lifetime() {
    let (mut first, _) = pair(&json!({}), &json!({"groupCache": {"lifetimeSeconds": 7}}));
    let asked = authorization(&of("jane"));
    first.waits(&bearer(&asked, &[]), Attempt::default());
    assert_eq!(first.lookups()[0].timeout, Duration::from_secs(7));
}

/// A worker that asked in vain took from the others what they could have known.
#[test]
fn a_question_in_vain_takes_nothing_from_the_others() {
    for count in [2, 900] {
        let cache = json!({"groupCache": {"lifetimeSeconds": 100}});
        let (mut first, mut second) = pair(&json!({}), &cache);
        let names: Vec<_> = (0..count).map(|n| format!("{n:036}")).collect();
        let body = json!({"value": names}).to_string();
        let asked = authorization(&of("jane"));
        let asked = bearer(&asked, &[]);
        assert_eq!(groups(ask(&mut first, &of("jane"), &[(JANE, 200, &body)])), names);
        // The first asks again before the end, and then in vain.
        first.now += Duration::from_secs(80);
        assert_eq!(groups(first.decide(&asked, Attempt::default())), names);
        let callouts = first.lookups();
        assert_eq!(callouts.len(), 1);
        second.now += Duration::from_secs(80);
        assert_eq!(groups(second.decide(&asked, Attempt::default())), names, "while it asks");
        first.answer(&callouts[0], Ok((500, b"")));
        // Who meets the user for the first time during the outage has the last answer, too.
        let mut third = beside(&first.memory, 3, &json!({}), &cache);
        third.now += Duration::from_secs(150);
        let decision = ask(&mut third, &of("jane"), &[(JANE, 500, "")]);
        assert_eq!(groups(decision), names, "{count}");
    }
}

/// `Retry-After` held for the one worker that was told.
#[test]
fn a_directory_that_asks_one_worker_for_quiet_has_it_from_all() {
    let (mut first, mut second) = pair(&json!({}), &json!({}));
    let asked = authorization(&of("jane"));
    first.waits(&bearer(&asked, &[]), Attempt::default());
    let callouts = first.lookups();
    let headers = [("retry-after".to_owned(), b"17".to_vec())];
    let response = Response { status: 429, headers: &headers, body: b"" };
    first.worker.answered(callouts[0].purpose, Ok(response), first.now, 0.0);
    for (after, want) in [(0, Some(17)), (16, Some(1)), (17, None)] {
        second.now = NOW + Duration::from_secs(after);
        let decision = second.present(&token("a", &of("bob")));
        match want {
            Some(_) => {
                let Decision::Refuse(refusal) = decision else { panic!("{after}: {decision:?}") };
                assert_eq!(refusal.reply().retry_after, want, "{after}");
                assert!(second.lookups().is_empty(), "{after}");
            }
            None => assert!(matches!(decision, Decision::Wait(_)), "{after}: {decision:?}"),
        }
    }
    assert_eq!(second.lookups().len(), 1);
}

/// Two workers, and a directory that hangs for a user who is known: who waited for one worker's question does not wait for another one.
#[test]
fn a_question_in_vain_is_not_asked_again_at_once_by_another_worker() {
    let cache = json!({"groupCache": {"lifetimeSeconds": 60}});
    let (mut first, mut second) = pair(&json!({"timeoutSeconds": 4}), &cache);
    assert_eq!(groups(ask(&mut first, &of("jane"), &[(JANE, 200, FEW)])), ["a"]);
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    assert_eq!(groups(second.decide(&asked, Attempt::default())), ["a"]);
    first.now += Duration::from_secs(58);
    groups(first.decide(&asked, Attempt::default()));
    let callouts = first.lookups();
    second.now += Duration::from_secs(61);
    second.waits(&asked, Attempt::default());
    first.now += Duration::from_secs(4);
    second.now = first.now;
    first.worker.answered(callouts[0].purpose, Err(Fault::timeout()), first.now, 0.0);
    assert!(second.lookups().is_empty(), "not again at once");
    let attempt = second.settled();
    assert_eq!(groups(second.decide(&asked, attempt)), ["a"]);
    for _ in 0..20 {
        second.now += Duration::from_secs(1);
        assert_eq!(groups(second.decide(&asked, Attempt::default())), ["a"], "nobody waits");
        second.lookups();
    }
}

/// Time passes in steps, users come again when they were told to, and a directory answers after a while.
struct Storm {
    workers: Vec<Rig>,
    /// What each user presents.
    users: Vec<String>,
    /// When each comes, by user and worker.
    coming: BTreeMap<Duration, Vec<(usize, usize)>>,
    /// By worker and stream: the user.
    waiting: HashMap<(usize, u32), usize>,
    stream: u32,
    /// When which answer is there.
    answers: VecDeque<(Duration, usize, Callout)>,
    /// How often each path was asked for, and when.
    asked: BTreeMap<String, usize>,
    sent: Vec<Duration>,
    /// Which users are in, and what those were told who were not.
    inside: Vec<bool>,
    told: BTreeMap<&'static str, usize>,
}

const STEP: Duration = Duration::from_millis(50);

impl Storm {
    fn new(users: usize, more: &Value, gateway: &Value) -> Self {
        let (first, second) = pair(more, gateway);
        let all = (0..users).map(|n| (n, n % 2)).collect();
        Self {
            workers: vec![first, second],
            users: (0..users).map(|n| authorization(&of(&format!("u{n}")))).collect(),
            coming: BTreeMap::from([(NOW, all)]),
            waiting: HashMap::new(),
            stream: 0,
            answers: VecDeque::new(),
            asked: BTreeMap::new(),
            sent: Vec::new(),
            inside: vec![false; users],
            told: BTreeMap::new(),
        }
    }

    /// One step. `answer` is what the directory says to a path, after `time`.
    fn step(&mut self, now: Duration, time: Duration, answer: impl Fn(&str) -> String) {
        while let Some(due) = self.coming.first_entry().filter(|due| *due.key() <= now) {
            for (user, worker) in due.remove() {
                self.decide(user, worker, Attempt::default(), now);
            }
        }
        while self.answers.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, worker, callout) = self.answers.pop_front().unwrap();
            self.workers[worker].now = now;
            let body = answer(&callout.path);
            self.workers[worker].answer(&callout, Ok((200, body.as_bytes())));
        }
        for worker in 0..self.workers.len() {
            self.workers[worker].now = now;
            for callout in self.workers[worker].lookups() {
                *self.asked.entry(callout.path.clone()).or_default() += 1;
                self.sent.push(now);
                self.answers.push_back((now + time, worker, callout));
            }
            for waiter in self.workers[worker].ready() {
                let user = self.waiting.remove(&(worker, waiter.stream)).unwrap();
                self.decide(user, worker, waiter.attempt, now);
            }
        }
    }

    fn decide(&mut self, user: usize, worker: usize, attempt: Attempt, now: Duration) {
        let rig = &mut self.workers[worker];
        rig.now = now;
        let refusal = match rig.decide(&bearer(&self.users[user], &[]), attempt) {
            decision @ Decision::Forward(_) => {
                assert!(!groups(decision).is_empty(), "never without groups");
                self.inside[user] = true;
                return;
            }
            Decision::Wait(wait) => {
                self.stream += 1;
                match rig.worker.wait(self.stream, wait, attempt, now) {
                    Ok(()) => {
                        self.waiting.insert((worker, self.stream), user);
                        return;
                    }
                    Err(refusal) => refusal,
                }
            }
            Decision::Refuse(refusal) => refusal,
            other => panic!("{other:?}"),
        };
        let reply = refusal.reply();
        assert_eq!(reply.code, 503, "{refusal:?}");
        let word = match &refusal {
            Refusal::GroupSource { failure, .. } => failure.cause.keyword(),
            refusal => refusal.keyword(),
        };
        *self.told.entry(word).or_default() += 1;
        let again = now + Duration::from_secs(reply.retry_after.unwrap());
        // A new connection may find another worker.
        self.coming.entry(again).or_default().push((user, 1 - worker));
    }

    /// The most calls within a second.
    fn most_in_a_second(&self) -> usize {
        let until = |from: Duration| from + Duration::from_secs(1);
        let in_second = |from: &Duration| {
            self.sent.iter().filter(|at| *from <= **at && **at < until(*from)).count()
        };
        self.sent.iter().step_by(50).map(in_second).max().unwrap_or_default()
    }
}

/// 2,000 users at a cold start: all get in in the end, each is asked about once for all workers, no faster than configured, and what waits is
/// bounded.
#[test]
fn a_cold_start_is_paced_and_each_user_asked_about_once() {
    const RATE: usize = 100;
    let users = 2_000;
    // So many places that hardly two users share one.
    let cache = json!({"groupCache": {"maximumEntries": 1_000_000}});
    let mut storm = Storm::new(users, &json!({"requestsPerSecond": RATE}), &cache);
    let (mut now, mut most) = (NOW, 0);
    while storm.inside.contains(&false) {
        assert!(now < NOW + Duration::from_secs(60), "{:?}", storm.told);
        storm.step(now, Duration::from_millis(120), |_| FEW.to_owned());
        most = most.max(storm.workers.iter().map(|rig| rig.worker.groups.pending()).sum());
        now += STEP;
    }
    // Nobody took the server for sick because of a queue.
    let known = ["overflow", "timeout", "too_many_waiting"];
    assert!(storm.told.keys().all(|word| known.contains(word)), "{:?}", storm.told);
    let twice = storm.asked.values().filter(|times| **times > 1).count();
    assert!(storm.asked.len() == users && twice < users / 100, "{twice} asked about twice");
    // A second's worth at once, and then one after the other.
    let seconds = usize::try_from((now - NOW).as_secs()).unwrap();
    assert!(storm.most_in_a_second() <= 2 * RATE + 1, "{}", storm.most_in_a_second());
    assert!(storm.sent.len() <= RATE * (seconds + 2), "{} in {seconds} s", storm.sent.len());
    // As much as may wait for a turn in half of the time, and for an answer.
    assert!(most <= 2 * 11 * RATE, "{most}");
    for rig in &storm.workers {
        assert!(rig.worker.groups.bytes() <= 16 << 20, "{}", rig.worker.groups.bytes());
    }
    // Both workers know those of the other.
    let asked = storm.sent.len();
    for user in 0..users {
        for worker in 0..2 {
            storm.decide(user, worker, Attempt::default(), now);
        }
    }
    storm.step(now, STEP, |_| FEW.to_owned());
    assert!(storm.sent.len() - asked < users / 100, "{}", storm.sent.len() - asked);
}

/// A queue was full of first pages, none of whose questions came to an end; and what was sent at the end of its time let the server pass for
/// one that does not answer.
#[test]
fn questions_of_many_pages_come_to_an_end_in_a_storm() {
    const PAGES: usize = 5;
    let answer = |path: &str| {
        let (user, page) = path.split_once("&skip=").unwrap_or((path, "1"));
        let page: usize = page.parse().unwrap();
        let next = format!("https://directory.example{user}&skip={}", page + 1);
        match page {
            PAGES => FEW.to_owned(),
            _ => json!({"value": ["x"], "next": next}).to_string(),
        }
    };
    let rate = 20;
    let mut storm = Storm::new(200, &json!({"requestsPerSecond": rate}), &json!({}));
    let mut now = NOW;
    while storm.inside.contains(&false) {
        assert!(now < NOW + Duration::from_secs(80), "{:?}", storm.told);
        storm.step(now, Duration::from_millis(120), answer);
        now += STEP;
    }
    assert!(!storm.told.contains_key("too_many_waiting"), "{:?}", storm.told);
    // Nothing is asked in vain, apart from users whose ids share a place.
    assert!(storm.sent.len() <= 200 * PAGES * 11 / 10, "{}", storm.sent.len());
    assert!(storm.most_in_a_second() <= 2 * rate + 1, "{}", storm.most_in_a_second());
}

/// Questions that waited for their turn were sent to a server that was known to be down.
#[test]
fn what_is_queued_for_a_server_that_fails_is_given_up() {
    let (mut first, mut second) = pair(&json!({"requestsPerSecond": 1}), &json!({}));
    let users: Vec<_> = (0..6).map(|n| authorization(&of(&format!("u{n}")))).collect();
    for (stream, user) in (1..).zip(&users) {
        let attempt = Attempt::default();
        let Decision::Wait(wait) = first.decide(&bearer(user, &[]), attempt) else { panic!() };
        first.worker.wait(stream, wait, attempt, first.now).unwrap();
    }
    let callouts = first.lookups();
    assert_eq!(callouts.len(), 2, "a second's worth, and one");
    first.answer(&callouts[0], Ok((500, b"")));
    assert!(first.lookups().is_empty());
    assert_eq!(first.ready().len(), 5, "only one is asked for still");
    first.answer(&callouts[1], Ok((200, FEW.as_bytes())));
    // The other worker does not wait for turns that nobody will use.
    second.now += Duration::from_secs(2);
    second.waits(&bearer(&authorization(&of("another")), &[]), Attempt::default());
    assert_eq!(second.lookups().len(), 1);
}

/// Another worker's question is waited for, and asked again if that worker died.
#[test]
fn a_worker_that_died_holds_nobody_up_for_long() {
    let (mut first, mut second) = pair(&json!({}), &json!({}));
    let asked = authorization(&of("jane"));
    let asked = bearer(&asked, &[]);
    first.waits(&asked, Attempt::default());
    assert_eq!(first.lookups().len(), 1);
    second.waits(&asked, Attempt::default());
    assert!(second.lookups().is_empty(), "the first asks");
    second.now += Duration::from_secs(11);
    assert_eq!(second.lookups().len(), 1, "the first is gone");
}

/// A worker that has left a sick directory alone still knows what another worker knew before.
#[test]
fn what_another_worker_knows_counts_while_the_directory_is_left_alone() {
    let (mut first, mut second) = pair(&json!({}), &json!({}));
    // Few groups, and as many as have no room in a place of their own.
    for (user, count) in [("few", 2), ("many", 900)] {
        let names: Vec<_> = (0..count).map(|n| format!("{n:036}")).collect();
        let body = json!({"value": names}).to_string();
        assert_eq!(groups(ask(&mut first, &of(user), &[(&path(user), 200, &body)])), names);
    }
    let decision = ask(&mut second, &of("bob"), &[(&path("bob"), 500, "")]);
    assert_eq!(refused(decision), (503, "group_source"));
    for (user, count) in [("few", 2), ("many", 900)] {
        assert_eq!(groups(second.present(&token("a", &of(user)))).len(), count, "{user}");
    }
    assert!(serve(&mut second, &[]).is_empty());
}
