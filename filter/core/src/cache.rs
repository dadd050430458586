//! The cache of verified tokens: from a token straight to its headers.
//!
//! A token itself is never kept, only a keyed hash of it under a secret of this process, so that neither a memory dump
//! nor a crafted token can bring another's identity out. Nothing that failed is ever cached: what a client without a
//! valid token sends cannot take room (kubernetes-sigs/kueue#12536).

use std::{
    hash::{BuildHasherDefault, Hasher},
    num::NonZeroUsize,
    rc::Rc,
    time::Duration,
};

use go_compat::json;
use kube_authn::Identity;
use lru::LruCache;

use crate::{
    access::Login, clock::is_ahead, config::GatewayConfiguration, elevation::Loan,
    lookups::LookupId, plan::HeaderPlan, token_hash::TokenHash,
};

/// The identity that a verified token gives.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The identity's headers.
    pub plan: Rc<HeaderPlan>,
    /// The identity itself, where it will be needed beside its headers.
    pub identity: Option<Rc<Identity>>,
    /// What conditions read of the token's claims, if anything.
    pub claims: Option<Rc<json::Object>>,
    /// What documents are matched with, where there are any.
    pub login: Option<Rc<Login>>,
    /// What is lent to the user, if that is a part of this. What the cache holds has nothing lent.
    pub loan: Option<Rc<Loan>>,
    /// What the logs say of the user.
    pub record: Rc<str>,
    /// What the user is told with each answer.
    pub warning: Option<Rc<str>>,
    /// Whose key signed the token.
    pub signer: Signer,
    /// Whose key signed the token that the groups came from, if they came from another.
    pub groups_signer: Option<Signer>,
    /// Where the groups came from, if a group source was asked.
    pub sourced: Option<Sourced>,
    /// When the first of these tokens expires; the grant is good up to and including this instant.
    pub expires_at: Duration,
    /// Until when what somebody said of the token counts, if it was not verified alone.
    pub fresh_until: Option<Duration>,
}

/// Groups of a group source, and how old they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced {
    /// Under what the source's answer is kept.
    pub id: LookupId,
    /// The source's index.
    pub source: usize,
    /// When they were fetched.
    pub at: Duration,
    /// When they are to be asked for again.
    pub refresh_at: Duration,
    /// Until when they count.
    pub until: Duration,
}

/// Whose key signed a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// A configured issuer's.
    Issuer {
        /// Its index.
        index: usize,
        /// Its key epoch under which the token was verified.
        epoch: u64,
    },
    /// The shared secret, which holds as long as the configuration does.
    SharedSecret,
    /// Nobody's: its issuer says that it is good.
    Introspected {
        /// The issuer's index.
        index: usize,
    },
}

/// Verified tokens, the least recently used leaving first.
pub struct TokenCache {
    hash: Rc<dyn TokenHash>,
    entries: LruCache<u128, Entry, BuildHasherDefault<HashedKeys>>,
    bytes: usize,
    evictions: usize,
    maximum_bytes: usize,
    time_to_live: Duration,
    groups_lifetime: Duration,
}

/// A token's place in the cache. No two are compared: tokens without a hash would all have the same.
#[derive(Debug, Clone, Copy)]
pub struct CacheKey(Option<u128>);

impl CacheKey {
    /// What the token is known by, if it has a hash.
    #[must_use]
    pub fn hash(self) -> Option<u128> {
        self.0
    }
}

struct Entry {
    grant: Grant,
    since: Duration,
    until: Duration,
}

impl TokenCache {
    /// An empty cache.
    #[must_use]
    pub fn new(hash: Rc<dyn TokenHash>, gateway: &GatewayConfiguration) -> Self {
        let policy = &gateway.token_cache;
        let entries = NonZeroUsize::new(policy.maximum_entries as usize);
        Self {
            hash,
            entries: LruCache::with_hasher(
                entries.unwrap_or(NonZeroUsize::MIN),
                BuildHasherDefault::default(),
            ),
            bytes: 0,
            evictions: 0,
            maximum_bytes: policy.maximum_bytes as usize,
            time_to_live: Duration::from_secs(policy.time_to_live_seconds.into()),
            groups_lifetime: Duration::from_secs(
                gateway.distributed_groups.lifetime_seconds.into(),
            ),
        }
    }

    /// Where a token stands, if it is there.
    #[must_use]
    pub fn key(&self, token: &[u8]) -> CacheKey {
        CacheKey(self.hash.hash(token))
    }

    /// The grant of a token that was verified before, if it still holds at `now` and under the issuers' present keys.
    pub fn get(
        &mut self,
        CacheKey(key): CacheKey,
        now: Duration,
        epoch: impl Fn(usize) -> u64,
    ) -> Option<&Grant> {
        let key = key?;
        let entry = self.entries.peek(&key)?;
        let Grant { signer, groups_signer, .. } = &entry.grant;
        let holds = |signer: &Signer| match *signer {
            Signer::Issuer { index, epoch: under } => under == epoch(index),
            Signer::SharedSecret | Signer::Introspected { .. } => true,
        };
        let is_over = entry.until < now || is_ahead(entry.since, now);
        if is_over || !holds(signer) || !groups_signer.iter().all(holds) {
            self.remove(key);
            return None;
        }
        self.entries.get(&key).map(|entry| &entry.grant)
    }

    /// Keeps the grant of a token that has just been verified.
    pub fn insert(&mut self, CacheKey(key): CacheKey, grant: Grant, now: Duration) {
        let Some(key) = key else { return };
        let groups = grant.groups_signer.map_or(self.time_to_live, |_| self.groups_lifetime);
        let end = grant.sourced.as_ref().map_or(grant.expires_at, |it| it.until);
        let until =
            grant.expires_at.min(end).min(now.saturating_add(self.time_to_live.min(groups)));
        let until = grant.fresh_until.map_or(until, |fresh| until.min(fresh));
        let size = size(&grant);
        if size > self.maximum_bytes {
            return;
        }
        self.remove(key);
        while self.bytes.saturating_add(size) > self.maximum_bytes {
            let Some((_, evicted)) = self.entries.pop_lru() else { break };
            self.evicted(&evicted);
        }
        if let Some((_, evicted)) = self.entries.push(key, Entry { grant, since: now, until }) {
            self.evicted(&evicted);
        }
        self.bytes = self.bytes.saturating_add(size);
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that the entries hold, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries that left to make room, since the cache was made.
    #[must_use]
    pub fn evictions(&self) -> usize {
        self.evictions
    }

    fn evicted(&mut self, entry: &Entry) {
        self.bytes = self.bytes.saturating_sub(size(&entry.grant));
        self.evictions = self.evictions.saturating_add(1);
    }

    fn remove(&mut self, key: u128) {
        if let Some(entry) = self.entries.pop(&key) {
            self.bytes = self.bytes.saturating_sub(size(&entry.grant));
        }
    }
}

/// Keys are hashes already, under a secret: half of one is as good a place in the table as any.
#[derive(Default)]
struct HashedKeys(u64);

impl Hasher for HashedKeys {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, &byte| sum.rotate_left(8) ^ u64::from(byte));
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of it is wanted")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

fn size(grant: &Grant) -> usize {
    /// The entry, its links and its place in the table.
    const ENTRY: usize = 160;
    // The identity holds about what the plan holds.
    let copies = if grant.identity.is_some() { 2 } else { 1 };
    let claims = grant.claims.as_deref().map_or(0, object_size);
    let login = grant.login.as_deref().map_or(0, Login::size);
    let more = claims.saturating_add(login).saturating_add(ENTRY);
    grant.plan.size().saturating_mul(copies).saturating_add(more)
}

/// Bytes of memory that it holds, roughly.
pub(crate) fn object_size(object: &json::Object) -> usize {
    /// A name and a value, apart from their bytes.
    const MEMBER: usize = size_of::<(String, json::Value)>();
    object.members().fold(0, |sum: usize, (name, value)| {
        sum.saturating_add(MEMBER).saturating_add(name.len()).saturating_add(value_size(value))
    })
}

/// What it holds on the heap. Its nesting is bounded where the token is read.
fn value_size(value: &json::Value) -> usize {
    match value {
        json::Value::Null | json::Value::Bool(_) => 0,
        json::Value::Number(number) => number.as_str().len(),
        json::Value::String(text) => text.len(),
        json::Value::Array(items) => items.iter().fold(0, |sum: usize, item| {
            sum.saturating_add(size_of::<json::Value>()).saturating_add(value_size(item))
        }),
        json::Value::Object(object) => object_size(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Limits, TokenCachePolicy},
        token_hash::SipHash,
    };

    const NOW: Duration = Duration::from_secs(1_000);

    fn grant(user: &str, expires_at: u64) -> Grant {
        let identity = Identity { username: user.to_owned(), ..Identity::default() };
        let plan = Rc::new(HeaderPlan::new(&identity, &Limits::default(), "").unwrap());
        Grant {
            record: user.into(),
            plan,
            claims: None,
            identity: None,
            login: None,
            loan: None,
            warning: None,
            signer: Signer::Issuer { index: 0, epoch: 1 },
            groups_signer: None,
            sourced: None,
            expires_at: Duration::from_secs(expires_at),
            fresh_until: None,
        }
    }

    fn cache(maximum_entries: u32, maximum_bytes: u32) -> TokenCache {
        let token_cache =
            TokenCachePolicy { maximum_entries, maximum_bytes, time_to_live_seconds: 60 };
        let gateway = GatewayConfiguration { token_cache, ..GatewayConfiguration::default() };
        TokenCache::new(Rc::new(SipHash::new([7; 16])), &gateway)
    }

    fn insert(cache: &mut TokenCache, token: &[u8], grant: Grant, now: Duration) {
        cache.insert(cache.key(token), grant, now);
    }

    fn user<'a>(cache: &'a mut TokenCache, token: &[u8], now: u64) -> Option<&'a str> {
        cache.get(cache.key(token), Duration::from_secs(now), |_| 1).map(|grant| grant.plan.user())
    }

    #[test]
    fn an_entry_lives_until_exp_or_ttl_whichever_is_first() {
        let mut cache = cache(10, 10_000);
        insert(&mut cache, b"short", grant("a", 1_010), NOW);
        insert(&mut cache, b"long", grant("b", 9_999), NOW);
        assert_eq!(user(&mut cache, b"short", 1_010), Some("a"), "exp itself is still good");
        assert_eq!(user(&mut cache, b"short", 1_011), None);
        assert_eq!(user(&mut cache, b"long", 1_060), Some("b"));
        assert_eq!(user(&mut cache, b"long", 1_061), None);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn what_somebody_said_of_a_token_ends_its_entry() {
        let mut cache = cache(10, 10_000);
        let fresh_until = Some(NOW + Duration::from_secs(5));
        insert(&mut cache, b"t", Grant { fresh_until, ..grant("a", 9_999) }, NOW);
        assert_eq!(user(&mut cache, b"t", 1_005), Some("a"));
        assert_eq!(user(&mut cache, b"t", 1_006), None);
    }

    /// A user whose token was revoked, or who was taken out of a group, would have stayed in for as long as the clock was put back.
    #[test]
    fn a_clock_that_was_put_back_makes_no_entry_last_longer() {
        let mut cache = cache(10, 10_000);
        insert(&mut cache, b"t", grant("a", 9_999), NOW);
        assert_eq!(user(&mut cache, b"t", 995), Some("a"), "workers' clocks differ a little");
        assert_eq!(user(&mut cache, b"t", 500), None);
        assert!(cache.is_empty());
    }

    #[test]
    fn a_new_epoch_of_the_issuer_ends_its_entries() {
        let mut cache = cache(10, 10_000);
        insert(&mut cache, b"t", grant("a", 9_999), NOW);
        assert!(cache.get(cache.key(b"t"), NOW, |_| 2).is_none());
        assert!(cache.is_empty());
    }

    /// Groups that another issuer had signed outlived that issuer's key.
    #[test]
    fn break_in_9_a_new_epoch_of_the_groups_issuer_ends_it_too() {
        let mut cache = cache(10, 10_000);
        let groups_signer = Some(Signer::Issuer { index: 1, epoch: 5 });
        let with_groups = Grant { groups_signer, ..grant("a", 9_999) };
        let epochs = |of_groups| move |issuer| if issuer == 1 { of_groups } else { 1 };
        insert(&mut cache, b"t", with_groups, NOW);
        assert!(cache.get(cache.key(b"t"), NOW, epochs(5)).is_some());
        assert!(cache.get(cache.key(b"t"), NOW, epochs(6)).is_none());
        assert!(cache.is_empty());
    }

    #[test]
    fn another_token_is_never_a_hit() {
        let mut cache = cache(10, 10_000);
        insert(&mut cache, b"token", grant("a", 9_999), NOW);
        for other in [&b"tokem"[..], b"token ", b"toke", b""] {
            assert_eq!(user(&mut cache, other, 1_000), None);
        }
    }

    #[test]
    fn a_token_without_a_hash_is_not_kept() {
        struct Broken;
        impl TokenHash for Broken {
            fn hash(&self, _token: &[u8]) -> Option<u128> {
                None
            }
        }
        let mut cache = TokenCache::new(Rc::new(Broken), &GatewayConfiguration::default());
        insert(&mut cache, b"token", grant("a", 9_999), NOW);
        assert_eq!(user(&mut cache, b"token", 1_000), None);
        assert!(cache.is_empty());
    }

    #[test]
    fn a_flood_of_valid_tokens_stays_within_both_bounds() {
        for (entries, bytes, most) in [(100, 1 << 30, 100), (1_000_000, 50_000, 220)] {
            let mut cache = cache(entries, bytes);
            for n in 0..5_000_u32 {
                insert(&mut cache, &n.to_be_bytes(), grant("somebody", 9_999), NOW);
                assert!(cache.bytes() <= bytes as usize);
            }
            assert!(cache.len() <= most && cache.len() > most / 3, "{}", cache.len());
            assert_eq!(user(&mut cache, &4_999_u32.to_be_bytes(), 1_000), Some("somebody"));
            assert_eq!(user(&mut cache, &0_u32.to_be_bytes(), 1_000), None);
        }
    }

    #[test]
    fn what_is_used_stays() {
        let mut cache = cache(2, 10_000);
        insert(&mut cache, b"a", grant("a", 9_999), NOW);
        insert(&mut cache, b"b", grant("b", 9_999), NOW);
        assert_eq!(user(&mut cache, b"a", 1_000), Some("a"));
        insert(&mut cache, b"c", grant("c", 9_999), NOW);
        assert_eq!(user(&mut cache, b"a", 1_000), Some("a"));
        assert_eq!(user(&mut cache, b"b", 1_000), None);
    }

    #[test]
    fn inserting_twice_counts_once() {
        let mut cache = cache(10, 10_000);
        insert(&mut cache, b"a", grant("a", 9_999), NOW);
        let bytes = cache.bytes();
        insert(&mut cache, b"a", grant("a", 9_999), NOW);
        assert_eq!((cache.len(), cache.bytes()), (1, bytes));
    }
}
