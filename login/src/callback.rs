//! The listener on this machine that the issuer sends the browser back to (RFC 8252, section 7.3).
//!
//! It lives for one login and is the only thing of this program that others can reach: any page in any browser, any user
//! of the machine. So it answers two addresses, to the one browser that navigates there first, under its own name, with the
//! secret of this login; everything else is refused and changes nothing.

mod bind;
mod connection;
mod peer;
mod request;
mod response;
mod rules;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use oauth2::CsrfToken;

use crate::{
    console::plain,
    settings::{Login, Redirect},
};

pub use connection::ListenerTls;
pub use response::Page;
pub use rules::{Answer, Cookie, Rules};

/// How long to wait for the browser to have its last page.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// All addresses are in use.
    #[error(
        "{} in use by another program (another login?); free the port or give --listen-address=127.0.0.1:PORT{}",
        taken(.0), if *.1 { "" } else { ", with a port whose redirect URI is registered at the issuer" }
    )]
    Taken(Vec<String>, bool),
    /// No address that can be listened on.
    #[error("cannot listen on {}; give another with --listen-address=127.0.0.1:PORT", failures(.0))]
    Address(Vec<(String, io::Error)>),
    /// No address at all.
    #[error("--listen-address is empty")]
    NoAddress,
}

fn failures(failed: &[(String, io::Error)]) -> String {
    let failed = failed.iter().map(|(address, error)| format!("{address}: {}", plain(error)));
    failed.collect::<Vec<_>>().join(", nor on ")
}

fn taken(addresses: &[String]) -> String {
    match addresses {
        [one] => format!("{one} is"),
        many => format!("{} are", many.join(" and ")),
    }
}

/// Bound sockets, not yet answering.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    redirect: String,
    origin: String,
    callback_path: String,
    hosts: Vec<String>,
    /// How many of the hosts, from the first, are names of the redirect URI.
    own_hosts: usize,
    tls: Option<ListenerTls>,
}

/// What a login begins with.
#[derive(Debug)]
pub struct Begin<'a> {
    /// Where the start leads.
    pub authorization_url: String,
    /// What a callback must bring.
    pub state: &'a CsrfToken,
    /// The issuer, for `iss` (RFC 9207).
    pub issuer: String,
    /// The issuer says that it always sends `iss`.
    pub issuer_required: bool,
    /// The start is `/`, as kubekey has it.
    pub at_root: bool,
    /// How long the person may take.
    pub timeout: Duration,
}

/// A listener that answers. Dropping it ends it.
#[derive(Debug)]
pub struct Serving {
    events: Mutex<Option<mpsc::Receiver<Event>>>,
    rules: Arc<Rules>,
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    start_url: String,
}

/// What a listener tells of.
#[derive(Debug)]
pub enum Event {
    /// The issuer's answer.
    Callback(Callback),
    /// Two browsers wanted to start: none of them is believed.
    Contested,
}

/// The issuer's answer to our authorization request, brought by a browser that now waits for its page.
#[derive(Debug)]
pub struct Callback {
    /// What the issuer says.
    pub answer: Answer,
    page: mpsc::Sender<(Page, bool)>,
    done: mpsc::Receiver<()>,
}

impl Listener {
    /// Listens on the first address that is free.
    ///
    /// Where the redirect URI says `localhost`, both of its addresses are taken: a browser may try `::1` first, and nobody
    /// else must stand there.
    pub fn bind(login: &Login, tls: Option<ListenerTls>) -> Result<Self, ListenError> {
        let both = match &login.redirect {
            Redirect::Host(host) => host == "localhost",
            Redirect::Whole(url, _) => url.host_str() == Some("localhost"),
        };
        let mut in_use = Vec::new();
        let mut failed = Vec::new();
        for address in &login.listen {
            match bind::bind(address, both) {
                Ok(sockets) => return Ok(Self::new(sockets, login, tls)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    in_use.push(address.clone());
                }
                Err(error) => failed.push((address.clone(), error)),
            }
        }
        match (in_use.is_empty(), failed.is_empty()) {
            (true, true) => Err(ListenError::NoAddress),
            (_, false) => {
                let in_use =
                    in_use.into_iter().map(|address| (address, io::ErrorKind::AddrInUse.into()));
                failed.extend(in_use);
                Err(ListenError::Address(failed))
            }
            (false, true) => Err(ListenError::Taken(in_use, login.start_at_root)),
        }
    }

    fn new(sockets: Vec<TcpListener>, login: &Login, tls: Option<ListenerTls>) -> Self {
        let port = sockets
            .first()
            .and_then(|socket| socket.local_addr().ok())
            .map_or(0, |address| address.port());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (redirect, host, callback_path) = match &login.redirect {
            Redirect::Host(host) => {
                (format!("{scheme}://{host}:{port}"), host.clone(), "/".to_owned())
            }
            Redirect::Whole(url, text) => {
                let host = url.host_str().unwrap_or("localhost").to_owned();
                let whole = if url.port() == Some(0) {
                    text.replacen(":0", &format!(":{port}"), 1)
                } else {
                    text.clone()
                };
                (whole, host, url.path().to_owned())
            }
        };
        let mut hosts = vec![format!("{host}:{port}")];
        // A redirect URI with a port of its own is somebody's forwarding to this listener.
        if let Redirect::Whole(url, _) = &login.redirect {
            hosts.push(match url.port().filter(|&port| port != 0) {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            });
        }
        let own_hosts = hosts.len();
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{port}")));
        let origin = format!("{scheme}://{host}:{port}");
        Self { sockets, redirect, origin, callback_path, hosts, own_hosts, tls }
    }

    /// The redirect URI, exactly as it is sent and must be registered.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect
    }

    /// Begins to answer.
    #[must_use]
    pub fn serve(self, begin: Begin<'_>) -> Serving {
        // Whoever can fetch the start learns the state, so the start is a secret too, unless kubekey's way is asked for.
        let start_path = if begin.at_root {
            "/".to_owned()
        } else {
            format!("/login/{}", CsrfToken::new_random().secret())
        };
        let start_url = format!("{}{start_path}", self.origin);
        let port = self.sockets.first().and_then(|socket| socket.local_addr().ok());
        let rules = Arc::new(Rules::new(rules::Expected {
            start_hosts: self.hosts.iter().take(self.own_hosts).cloned().collect(),
            hosts: self.hosts,
            start_path,
            start_url: start_url.clone(),
            cookie: Cookie {
                name: format!("kubectl-oidc-{}", port.map_or(0, |address| address.port())),
                value: CsrfToken::new_random_len(32).into_secret(),
                seconds: begin.timeout.as_secs(),
                secure: self.tls.is_some(),
            },
            callback_path: self.callback_path,
            authorization_url: begin.authorization_url,
            state: begin.state.secret().clone(),
            issuer: begin.issuer,
            issuer_required: begin.issuer_required,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, events) = mpsc::channel();
        let mut addresses = Vec::new();
        for socket in self.sockets {
            addresses.extend(socket.local_addr());
            let shared = connection::Shared {
                rules: Arc::clone(&rules),
                events: sender.clone(),
                tls: self.tls.clone(),
                stop: Arc::clone(&stop),
            };
            thread::spawn(move || connection::accept(&socket, &shared));
        }
        Serving { events: Mutex::new(Some(events)), rules, addresses, stop, start_url }
    }
}

impl Serving {
    /// Where the person's browser begins the login.
    #[must_use]
    pub fn start_url(&self) -> &str {
        &self.start_url
    }

    /// Hands all events on to `take`, until it wants no more.
    pub fn hand_on(&self, take: impl Fn(Event) -> bool + Send + 'static) {
        let events = self.events.lock().ok().and_then(|mut events| events.take());
        if let Some(events) = events {
            thread::spawn(move || while events.recv().is_ok_and(&take) {});
        }
    }

    /// Two browsers wanted to start, even if one of them has brought an answer.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        self.rules.is_contested()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for address in &self.addresses {
            // Wakes the thread that waits in accept.
            let mut address = *address;
            if address.ip().is_unspecified() {
                address.set_ip(match address.ip() {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                });
            }
            let _ = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        }
    }
}

impl Callback {
    /// Shows the last page and waits until the browser has it.
    pub fn finish(self, page: Page) {
        if self.page.send((page, false)).is_ok() {
            let _ = self.done.recv_timeout(FAREWELL);
        }
    }

    /// Shows a page, and lets the next callback come.
    pub fn refuse(self, page: Page) {
        let _ = self.page.send((page, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    fn login(flags: &[&str]) -> Login {
        let base = ["--oidc-issuer-url=https://i.example", "--oidc-client-id=c"];
        settings(&[&base, flags].concat()).unwrap().login
    }

    #[test]
    fn redirect_uri_is_kubelogins_or_the_given_one() {
        let any = "--listen-address=127.0.0.1:0";
        for (flags, want) in [
            (vec![any], "http://localhost:PORT"), // no slash at the end: issuers compare bytes
            (vec![any, "--oidc-redirect-url-hostname=127.0.0.1"], "http://127.0.0.1:PORT"),
            (
                vec![any, "--oidc-redirect-url=http://127.0.0.1:0/callback"],
                "http://127.0.0.1:PORT/callback",
            ),
            (vec![any, "--oidc-redirect-url=https://login.example/cb"], "https://login.example/cb"),
            (vec![any, "--oidc-redirect-url=http://[::1]:0/cb"], "http://[::1]:PORT/cb"),
        ] {
            let listener = Listener::bind(&login(&flags), None).unwrap();
            let port = listener.sockets[0].local_addr().unwrap().port().to_string();
            assert_eq!(listener.redirect_uri(), want.replace("PORT", &port), "{flags:?}");
        }
    }

    #[test]
    fn the_second_address_is_used_if_the_first_is_taken() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        let listen = format!("--listen-address={taken},127.0.0.1:0");
        assert!(Listener::bind(&login(&[&listen]), None).is_ok());
        let error = Listener::bind(&login(&[&format!("--listen-address={taken}")]), None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("is in use"), "{error}");
        // As kubelogin does: what cannot be listened on for another reason is passed over too.
        let foreign = "--listen-address=192.0.2.1:8000,nowhere.invalid:1,127.0.0.1:0";
        assert!(Listener::bind(&login(&[foreign]), None).is_ok());
        let foreign = "--listen-address=192.0.2.1:8000,127.0.0.1";
        let error = Listener::bind(&login(&[foreign]), None).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:8000: ") && error.contains("127.0.0.1: "), "{error}");
    }

    /// The browser of a redirect URI with `localhost` may go to `::1`, where another user of the machine could wait for the code.
    #[test]
    fn a_port_whose_twin_is_taken_is_not_used() {
        let Ok(other) = TcpListener::bind("[::1]:0") else {
            return; // no IPv6 on this machine, so no twin
        };
        let port = other.local_addr().unwrap().port();
        let listen = format!("--listen-address=127.0.0.1:{port}");
        assert!(matches!(Listener::bind(&login(&[&listen]), None), Err(ListenError::Taken(..))));
    }
}
