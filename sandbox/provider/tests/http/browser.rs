//! The stand-in for a browser.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use oidc_provider::{BrowserError, Endpoint};

use crate::client::start;

#[test]
fn it_logs_in_and_follows_back_to_the_program() {
    let (provider, issuer, _) = start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let redirect = format!("http://{}/callback", listener.local_addr().unwrap());
    let program = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbye\n";
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let url = format!(
        "{}?client_id=cli&response_type=code&scope=openid&state=s&redirect_uri={redirect}",
        issuer.endpoint(Endpoint::Authorization)
    );
    let browser = provider.browser();
    let wrong = browser.sign_in(&url, "alice", "wrong");
    assert!(matches!(wrong, Err(BrowserError::WrongPassword)), "{wrong:?}");
    let page = browser.sign_in(&url, "alice", "wonderland").unwrap();
    assert_eq!((page.status, page.text.as_str()), (200, "bye\n"));
    assert!(page.url.starts_with(&redirect), "{}", page.url);
    let request = program.join().unwrap();
    assert!(request.starts_with("GET /callback?code="), "{request}");
    assert!(request.contains("state=s"), "{request}");
}

#[test]
fn it_lets_a_device_in() {
    let (provider, issuer, http) = start();
    let form = [("client_id", "cli"), ("scope", "openid")];
    let device = http.post(&issuer.endpoint(Endpoint::DeviceAuthorization), &form).json();
    let url = device["verification_uri_complete"].as_str().unwrap();
    let page = provider.browser().sign_in(url, "alice", "wonderland").unwrap();
    assert!(page.text.contains("The device is connected"), "{}", page.text);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "cli"),
        ("device_code", device["device_code"].as_str().unwrap()),
    ];
    assert_eq!(http.post(&issuer.endpoint(Endpoint::Token), &form).status, 200);
}

#[test]
fn errors_are_pages_too() {
    let (provider, issuer, _) = start();
    let url = format!("{}?client_id=nobody", issuer.endpoint(Endpoint::Authorization));
    assert_eq!(provider.browser().sign_in(&url, "alice", "wonderland").unwrap().status, 400);
    provider.go_down().unwrap();
    assert!(provider.browser().sign_in(&url, "alice", "wonderland").is_err());
}
