//! The handle by which tests change an issuer at work and look into it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    config::{ClientConfig, User},
    encoding::random_secret,
    endpoint::Endpoint,
    endpoints::{
        device,
        token::issue::{self, Tokens},
    },
    keys::{Algorithm, Rotation, SigningKey},
    logins::{ClaimsSource, Login, Scope},
    mint::{SignWith, TokenBuilder},
    misbehaviour::{InForce, Misbehaviour},
    state::IssuerShared,
};

/// A handle on one issuer of a running provider. Its methods can be called from any thread; they take effect with the
/// next request.
#[derive(Clone)]
pub struct Issuer {
    pub(crate) shared: Arc<IssuerShared>,
}

/// The issuer has no user of this name.
#[derive(Debug, thiserror::Error)]
#[error("issuer {issuer} has no user {user:?}")]
pub struct UnknownUser {
    issuer: String,
    user: String,
}

/// A misbehaviour that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMisbehaviour(&'static str);

impl Issuer {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// Its URL, as tokens and configurations have it.
    #[must_use]
    pub fn url(&self) -> &str {
        self.shared.url()
    }

    /// The URL of one of its endpoints.
    #[must_use]
    pub fn endpoint(&self, endpoint: Endpoint) -> String {
        self.shared.endpoint(endpoint)
    }

    /// A token with exactly these claims, signed by the default key.
    #[must_use]
    pub fn mint(&self, claims: &Value) -> String {
        self.token_of(claims).mint()
    }

    /// A token with exactly these claims, signed as told.
    ///
    /// # Panics
    /// If the issuer has no such key.
    #[must_use]
    pub fn mint_with(&self, claims: &Value, with: SignWith) -> String {
        self.token_of(claims).sign(with).mint()
    }

    /// A token in the making with exactly these claims (an object; anything else gives an empty one).
    pub fn token_of(&self, claims: &Value) -> TokenBuilder {
        let claims = claims.as_object().cloned().unwrap_or_default();
        TokenBuilder::new(Arc::clone(&self.shared), claims)
    }

    /// A token in the making, as `user` would get it at `client` with all scopes that the issuer knows.
    ///
    /// # Panics
    /// If there is no such user. The client need not exist.
    pub fn token(&self, user: &str, client: &str) -> TokenBuilder {
        self.try_token(user, client).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for a user that may not exist.
    pub fn try_token(&self, user: &str, client: &str) -> Result<TokenBuilder, UnknownUser> {
        let now = self.shared.now();
        let state = self.shared.lock();
        if state.user(user).is_none() {
            return Err(self.unknown(user));
        }
        let mut scope = Scope::default();
        scope.add(state.config.scopes.iter().map(String::as_str));
        let login = Login::new(client, Some(user), scope, now);
        let claims = crate::claims::id_token(&state, self.url(), &login, now);
        drop(state);
        Ok(TokenBuilder::new(Arc::clone(&self.shared), claims))
    }

    /// What a login of `user` at `client` gives, without the login: a refresh token that works, too. The client's default
    /// scopes are added to `scope`.
    ///
    /// # Errors
    /// If there is no such user. A client that does not exist gets no refresh token.
    pub fn log_in(&self, user: &str, client: &str, scope: &str) -> Result<Tokens, UnknownUser> {
        let now = self.shared.now();
        let mut scope = Scope::parse(scope);
        {
            let state = self.shared.lock();
            if state.user(user).is_none() {
                return Err(self.unknown(user));
            }
            let client = state.client(client);
            scope.add(client.iter().flat_map(|client| &client.default_scopes).map(String::as_str));
        }
        let login = Login::new(client, Some(user), scope, now);
        Ok(issue::of_login(&self.shared, login))
    }

    /// The key set as it is published now.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.shared.lock().keys.jwks()
    }

    /// The key that signs with `algorithm` now, if the issuer has one.
    #[must_use]
    pub fn key(&self, algorithm: Algorithm) -> Option<Arc<SigningKey>> {
        self.shared.lock().keys.by_algorithm(algorithm)
    }

    /// New keys for all algorithms.
    pub fn rotate(&self, rotation: Rotation) {
        self.shared.lock().keys.rotate(rotation);
    }

    /// Takes every key that no longer signs out of the key set: the end of an overlap.
    pub fn retire_old_keys(&self) {
        self.shared.lock().keys.retire_old();
    }

    /// A new key, which is not published.
    #[must_use]
    pub fn new_key(&self, algorithm: Algorithm) -> SigningKey {
        self.shared.lock().keys.new_key(algorithm)
    }

    /// Publishes one key more, which signs only by [`SignWith::Kid`].
    pub fn publish(&self, key: SigningKey) {
        self.shared.lock().keys.publish(key);
    }

    /// Adds a user, or replaces the one of this name.
    pub fn put_user(&self, user: User) {
        self.shared.lock().put_user(user);
    }

    /// Removes a user and ends his logins.
    pub fn remove_user(&self, user: &str) {
        let mut state = self.shared.lock();
        state.config.users.retain(|known| known.name != user);
        state.logins.end_user(user, None);
    }

    /// Changes a user; the next token shows it.
    pub fn change_user(
        &self,
        user: &str,
        change: impl FnOnce(&mut User),
    ) -> Result<(), UnknownUser> {
        let mut state = self.shared.lock();
        let found = state.config.users.iter_mut().find(|known| known.name == user);
        change(found.ok_or_else(|| self.unknown(user))?);
        Ok(())
    }

    /// Sets a user's groups.
    pub fn set_groups<G: Into<String>>(
        &self,
        user: &str,
        groups: impl IntoIterator<Item = G>,
    ) -> Result<(), UnknownUser> {
        self.change_user(user, |user| user.groups = groups.into_iter().map(Into::into).collect())
    }

    /// Puts a user into a group.
    pub fn add_group(&self, user: &str, group: &str) -> Result<(), UnknownUser> {
        self.change_user(user, |user| {
            if !user.groups.iter().any(|known| known == group) {
                user.groups.push(group.to_owned());
            }
        })
    }

    /// Takes a user out of a group.
    pub fn remove_group(&self, user: &str, group: &str) -> Result<(), UnknownUser> {
        self.change_user(user, |user| user.groups.retain(|known| known != group))
    }

    /// Adds a client, or replaces the one of this id.
    pub fn put_client(&self, client: ClientConfig) {
        let mut state = self.shared.lock();
        state.config.clients.retain(|known| known.id != client.id);
        state.config.clients.push(client);
    }

    /// Ends all logins of a user: his refresh and access tokens are refused from now on.
    pub fn end_logins(&self, user: &str) {
        self.shared.lock().logins.end_user(user, None);
    }

    /// Lets the device with this user code in as `user`, as if the user had done so on its page; whether such a device
    /// waits.
    pub fn approve_device(&self, user_code: &str, user: &str) -> Result<bool, UnknownUser> {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        if state.user(user).is_none() {
            return Err(self.unknown(user));
        }
        Ok(device::decide(&mut state, user_code, Some(user), now))
    }

    /// Refuses the device with this user code; whether such a device waits.
    #[must_use]
    pub fn deny_device(&self, user_code: &str) -> bool {
        let now = self.shared.now();
        device::decide(&mut self.shared.lock(), user_code, None, now)
    }

    /// How long the next tokens live. Clients with a lifetime of their own are not touched.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        self.shared.lock().config.token_lifetime_seconds = seconds;
    }

    /// Whether the next ID tokens carry a `jti`.
    pub fn set_jti(&self, jti: bool) {
        self.shared.lock().config.jti = jti;
    }

    /// Sets the issuer's clock ahead of (or, below zero, behind) this machine's.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.lock().clock_offset = seconds;
    }

    /// The `Cache-Control` value of discovery document and key set.
    pub fn set_cache_control(&self, value: Option<&str>) {
        self.shared.lock().config.cache_control = value.map(str::to_owned);
    }

    /// A distributed-claims source (OpenID Connect Core, section 5.6.2) for `_claim_sources`: `endpoint` and
    /// `access_token`. What it answers is a JWT of this issuer with the user's `groups`.
    #[must_use]
    pub fn claims_source(&self, user: &str, audience: &str) -> Value {
        let now = self.shared.now();
        let access_token = random_secret();
        let source = ClaimsSource { user: user.to_owned(), audience: audience.to_owned() };
        self.shared.lock().logins.claims_sources.insert(&access_token, source, i64::MAX, now);
        json!({"endpoint": self.endpoint(Endpoint::Claims), "access_token": access_token})
    }

    /// Makes an endpoint misbehave until [`Self::behave`], in the place of what it did before.
    ///
    /// # Errors
    /// If it asks for something that cannot be sent, such as a header with a line break.
    pub fn misbehave(
        &self,
        endpoint: Endpoint,
        misbehaviour: Misbehaviour,
    ) -> Result<(), InvalidMisbehaviour> {
        misbehaviour.check().map_err(InvalidMisbehaviour)?;
        self.shared.lock().misbehaviours.insert(endpoint, InForce::new(misbehaviour));
        Ok(())
    }

    /// Makes all endpoints good again.
    pub fn behave(&self) {
        self.shared.lock().misbehaviours.clear();
    }

    /// Makes one endpoint good again.
    pub fn behave_at(&self, endpoint: Endpoint) {
        self.shared.lock().misbehaviours.remove(&endpoint);
    }

    /// The last assertions that clients have sent, good or bad, in their order.
    #[must_use]
    pub fn assertions(&self) -> Vec<String> {
        self.shared.lock().came.borrow().iter().cloned().collect()
    }

    /// How many requests an endpoint got, bad answers included.
    #[must_use]
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.shared.requests.of(endpoint)
    }

    /// How many requests each endpoint got.
    #[must_use]
    pub fn all_requests(&self) -> BTreeMap<Endpoint, u64> {
        self.shared.requests.all()
    }

    /// Sets all counts to zero.
    pub fn reset_requests(&self) {
        self.shared.requests.reset();
    }

    /// Waits until an endpoint has had `count` requests; whether it had them in time.
    #[must_use]
    pub fn wait_for_requests(&self, endpoint: Endpoint, count: u64, at_most: Duration) -> bool {
        self.shared.requests.wait_for(endpoint, count, at_most)
    }

    fn unknown(&self, user: &str) -> UnknownUser {
        UnknownUser { issuer: self.name().to_owned(), user: user.to_owned() }
    }
}
