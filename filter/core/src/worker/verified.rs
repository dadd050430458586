//! Tokens that were found good, and whose users' groups are being asked for. The requests that wait for these are decided on anew, but the
//! tokens are not verified anew: that would be a part of what a first request takes.

use std::{collections::VecDeque, time::Duration};

use kube_authn::VerifiedToken;

use super::{Worker, decide::Request};
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

/// Those that wait, the newest last, with the time at which they were found good.
#[derive(Default)]
pub(super) struct VerifiedTokens(VecDeque<(CacheKey, Verified, Duration)>);

impl Worker {
    /// Keeps a token whose request waits, for the next decision on it. What an issuer said of a token is asked for again in its own time.
    pub(super) fn keep_verified(&mut self, key: CacheKey, verified: Verified, now: Duration) {
        let is_by_key = matches!(verified.signer, Signer::Issuer { .. });
        if !is_by_key || verified.fresh_until.is_some() {
            return;
        }
        let VerifiedTokens(tokens) = &mut self.verified;
        tokens.retain(|(known, ..)| *known != key);
        if tokens.len() >= MOST {
            tokens.pop_front();
        }
        tokens.push_back((key, verified, now));
    }

    /// The token of a request that has waited, if it holds: its time is not over, and its issuer's keys are those by which it was verified.
    pub(super) fn take_verified(
        &mut self,
        key: CacheKey,
        request: Request<'_>,
    ) -> Option<Verified> {
        if !request.attempt.groups {
            return None;
        }
        let VerifiedTokens(tokens) = &mut self.verified;
        let place = tokens.iter().position(|(known, ..)| *known == key)?;
        let (_, verified, since) = tokens.remove(place)?;
        let is_over = verified.token.expires_at() < request.now || is_ahead(since, request.now);
        (!is_over && verified.signer == self.signer(verified.index)).then_some(verified)
    }
}
