//! Who a token is of: `cargo run -p kube-authn --features yaml --example identity -- CONFIGURATION JWKS TOKEN [UNIX-SECONDS]`.
//!
//! The configuration is a file as kube-apiserver takes it with --authentication-config, the JWKS the keys of the token's issuer. Reading
//! files and the clock is the caller's part, not the library's.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program around the library"
)]

use std::{
    env,
    error::Error,
    fs,
    time::{Duration, SystemTime},
};

use kube_authn::{
    Rules, UnverifiedToken,
    config::{self, LoadOptions},
    crypto::{Algorithm, SoftwareVerifier},
    jwks::{KeySet, KeySetLimits},
    token::TokenLimits,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [configuration, keys, token, time @ ..] = arguments.as_slice() else {
        return Err("CONFIGURATION JWKS TOKEN [UNIX-SECONDS]".into());
    };
    let configuration = config::load_yaml(&fs::read(configuration)?, &LoadOptions::default())?;
    let keys = KeySet::parse(&fs::read(keys)?, KeySetLimits::default(), Rules::default())?;
    let token = fs::read(token)?;
    let token = UnverifiedToken::parse(token.trim_ascii(), &TokenLimits::default())?;
    let now = match time.first() {
        Some(seconds) => Duration::from_secs(seconds.parse()?),
        None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?,
    };
    let (_, jwt) = configuration.authenticator_for(&token).ok_or("no such issuer")?;
    let verified = jwt.verify(&token, &keys, &SoftwareVerifier, now, &Algorithm::ALL)?;
    let identity = jwt.identity(&verified)?;
    println!("user    {}", identity.username);
    println!("uid     {}", identity.uid);
    println!("groups  {}", identity.groups.join(", "));
    for (key, values) in &identity.extra {
        println!("extra   {key}={}", values.join(","));
    }
    Ok(())
}
