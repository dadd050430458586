//! A provider that is not there, comes back on the same port, and leaves nothing behind.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    time::Duration,
};

use oidc_provider::{Config, IssuerConfig, Provider, StartError};

use crate::client::{start, start_with};

#[test]
fn down_and_up_on_the_same_port() {
    let (provider, issuer, http) = start();
    let url = format!("{}/.well-known/openid-configuration", issuer.url());
    let keys = issuer.jwks();
    let mut open = TcpStream::connect(provider.address()).unwrap();
    for _ in 0..3 {
        assert_eq!(http.get(&url).status, 200);
        provider.go_down().unwrap();
        let refused = TcpStream::connect(provider.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(http.try_get(&url).is_err());
        provider.go_down().unwrap();
        provider.come_up().unwrap();
        provider.come_up().unwrap();
    }
    assert_eq!(http.get(&url).json()["issuer"], issuer.url());
    assert_eq!(issuer.jwks(), keys, "the same keys");
    // Shorter than the server's patience with a silent client.
    open.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let cut = open.read(&mut [0]);
    assert!(
        matches!(&cut, Ok(0)) || matches!(&cut, Err(e) if e.kind() == ErrorKind::ConnectionReset),
        "open connections are cut: {cut:?}"
    );
}

#[test]
fn dropping_it_frees_the_port() {
    let (provider, ..) = start();
    let address = provider.address();
    drop(provider);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let config = Config { listen: address, ..Config::of(IssuerConfig::new("a", "")) };
    let again = Provider::start(config.clone()).unwrap();
    assert_eq!(again.address(), address);
    let taken = Provider::start(config);
    assert!(matches!(taken, Err(StartError::Listen { .. })));
}

#[test]
fn it_starts_and_stops_inside_an_asynchronous_test() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (provider, issuer, _) = start_with(crate::client::issuer());
        provider.go_down().unwrap();
        provider.come_up().unwrap();
        assert!(issuer.token("alice", "cli").mint().contains('.'));
    });
}

#[test]
fn issuers_are_added_while_it_runs() {
    let (provider, _, http) = start();
    let added = provider.add_issuer(IssuerConfig::new("second", "/second")).unwrap();
    let url = format!("{}/.well-known/openid-configuration", added.url());
    assert_eq!(http.get(&url).json()["issuer"], added.url());
    assert!(provider.add_issuer(IssuerConfig::new("second", "/third")).is_err());
    assert!(provider.add_issuer(IssuerConfig::new("third", "/second")).is_err());
}
