//! The one thread of the module: it wakes configurations and who waits, since Envoy has no timers for a module of this kind.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::Config,
    connections::Counting,
    guard::{guard, release},
    host,
    shared::lock,
};

/// The first tick after a configuration: callouts cannot be made before the event loop runs.
const FIRST_TICK: Duration = Duration::from_millis(1);
/// The tick while requests wait: bounds what a lost wake-up costs.
const BUSY_TICK: Duration = Duration::from_millis(50);
/// The tick otherwise: bounds how late a refresh starts.
const IDLE_TICK: Duration = Duration::from_secs(1);

static STATE: Mutex<State> =
    Mutex::new(State { configs: Vec::new(), countings: Vec::new(), next: None });
static CHANGED: Condvar = Condvar::new();

struct State {
    configs: Vec<Weak<Config>>,
    countings: Vec<Weak<Counting>>,
    /// When the next tick is; none while there is no thread.
    next: Option<Instant>,
}

/// Wakes the configuration from now on, for as long as it is there. False if there can be no thread.
#[must_use]
pub fn add(config: &Arc<Config>) -> bool {
    let mut state = lock(&STATE);
    state.configs.retain(|known| known.strong_count() > 0);
    state.configs.push(Arc::downgrade(config));
    start(state)
}

/// Has the counter look once a second whose time is over. False if there can be no thread.
#[must_use]
pub fn add_counting(counting: &Arc<Counting>) -> bool {
    let mut state = lock(&STATE);
    state.countings.retain(|known| known.strong_count() > 0);
    state.countings.push(Arc::downgrade(counting));
    start(state)
}

fn start(mut state: MutexGuard<'_, State>) -> bool {
    if state.next.is_none() {
        let thread = thread::Builder::new().name("kube-oidc-gw".to_owned());
        if let Err(error) = thread.spawn(run) {
            host::error(&format!("no thread: {error}"));
            return false;
        }
    }
    state.next = Instant::now().checked_add(FIRST_TICK);
    CHANGED.notify_one();
    true
}

/// A request waits: the next tick is a busy one.
pub fn hurry() {
    let Some(soon) = Instant::now().checked_add(BUSY_TICK) else { return };
    let mut state = lock(&STATE);
    if state.next.is_some_and(|next| next > soon) {
        state.next = Some(soon);
        CHANGED.notify_one();
    }
}

/// All configurations that are there.
#[must_use]
pub fn configs() -> Vec<Arc<Config>> {
    lock(&STATE).configs.iter().filter_map(Weak::upgrade).collect()
}

/// Whether no younger configuration has this one's name.
#[must_use]
pub fn is_youngest(config: &Config) -> bool {
    let of_name = |known: &Arc<Config>| known.label() == config.label();
    configs()
        .iter()
        .rev()
        .find(|known| of_name(known))
        .is_none_or(|known| std::ptr::eq(Arc::as_ptr(known), config))
}

fn run() {
    loop {
        let mut state = lock(&STATE);
        loop {
            let now = Instant::now();
            let left = state.next.map_or(IDLE_TICK, |next| next.saturating_duration_since(now));
            if left.is_zero() {
                break;
            }
            state = match CHANGED.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        // A tick that takes long, and those who hurry meanwhile, find the next one set.
        state.next = Instant::now().checked_add(IDLE_TICK);
        drop(state);
        let configs = configs();
        if configs.iter().fold(false, |busy, config| tick(config) | busy) {
            hurry();
        }
        release(configs);
        let countings: Vec<_> = lock(&STATE).countings.iter().filter_map(Weak::upgrade).collect();
        for counting in &countings {
            if guard(|| counting.tick()).is_none() {
                counting.panicked();
            }
        }
        release(countings);
    }
}

/// Wakes one configuration. True if somebody waits. A panic must not be the end of the thread: nobody would be woken any more.
fn tick(config: &Config) -> bool {
    let busy = guard(|| {
        #[cfg(any(test, feature = "mock"))]
        crate::guard::on_demand::tick(config.label());
        config.tick()
    });
    busy.unwrap_or_else(|| {
        config.panicked();
        true
    })
}
