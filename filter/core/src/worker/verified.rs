//! Tokens that were found good, and whose users' groups are being asked for. The requests that wait for these are decided on anew, but the
//! tokens are not verified anew: that would be a part of what a first request takes.

use std::{collections::VecDeque, time::Duration};

use kube_authn::VerifiedToken;

use crate::{
    cache::{CacheKey, Signer},
    clock::is_ahead,
};

/// So many are remembered. Who waits among more has the token verified once more.
const MOST: usize = 64;

/// A token that has been found good.
pub(super) struct Verified {
    /// The issuer's index.
    pub(super) index: usize,
    pub(super) signer: Signer,
    pub(super) token: VerifiedToken,
    /// Until when its issuer need not be asked again, if it was.
    pub(super) fresh_until: Option<Duration>,
}

/// Those whose requests wait, the newest last, with the time at which they were found good.
#[derive(Default)]
pub(super) struct VerifiedTokens(VecDeque<(u128, Verified, Duration)>);

impl VerifiedTokens {
    /// Keeps a token for the next decision on it. What an issuer said of a token is asked for again in its own time.
    pub(super) fn keep(&mut self, key: CacheKey, verified: Verified, now: Duration) {
        let Some(key) = key.hash() else { return };
        let is_by_key = matches!(verified.signer, Signer::Issuer { .. });
        if !is_by_key || verified.fresh_until.is_some() {
            return;
        }
        self.0.retain(|(known, ..)| *known != key);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((key, verified, now));
    }

    /// Takes out a token that holds: its time is not over, and its issuer's keys, which `signer` gives by the issuer's index, are those by
    /// which it was verified.
    pub(super) fn take(
        &mut self,
        key: CacheKey,
        now: Duration,
        signer: impl Fn(usize) -> Signer,
    ) -> Option<Verified> {
        let key = key.hash()?;
        let place = self.0.iter().position(|(known, ..)| *known == key)?;
        let (_, verified, since) = self.0.remove(place)?;
        let is_over = verified.token.expires_at() < now || is_ahead(since, now);
        (!is_over && verified.signer == signer(verified.index)).then_some(verified)
    }
}
