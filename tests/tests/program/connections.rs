//! What a client may hold on whom nobody knows: connections, by address. And whose word counts for an address.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{net::TcpSocket, runtime};

use crate::{
    behaviour::whoami,
    harness::{Rig, Setup, until},
};

/// Another client of this machine.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Opens connections from one address that say nothing, or `first`.
struct Opener {
    runtime: runtime::Runtime,
    from: Ipv4Addr,
    to: SocketAddr,
    first: &'static [u8],
}

impl Opener {
    fn new(rig: &Rig, from: Ipv4Addr, first: &'static [u8]) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, from, to: rig.address(), first }
    }

    fn open(&self) -> TcpStream {
        let connect = async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((self.from, 0).into()).unwrap();
            socket.connect(self.to).await.unwrap().into_std().unwrap()
        };
        let mut stream = self.runtime.block_on(connect);
        let _ = stream.write_all(self.first);
        stream
    }
}

/// Whether the other side has not closed it yet.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0]) {
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        Ok(read) => read > 0,
    }
}

fn open_of(streams: &[TcpStream]) -> usize {
    streams.iter().filter(|stream| is_open(stream)).count()
}

/// Break-in row 8: 20,100 idle connections of one host in about a second locked everybody out.
#[test]
fn break_in_8_idle_connections_of_one_address_leave_room_for_others() {
    let rig = Rig::new(&["--max-connections=5000"]);
    let token = rig.token().mint();
    let opener = Opener::new(&rig, OTHER, b"");
    let mut held: Vec<TcpStream> = Vec::new();
    let mut asked = Duration::ZERO;
    for round in 0..20 {
        held.extend((0..1_000).map(|_| opener.open()));
        // Both workers have seen the last ones.
        until("the address has what it may have", || (open_of(&held) <= 1_000).then_some(()));
        held.retain(is_open);
        let started = Instant::now();
        let (status, user) = whoami(&rig, &token, &[]);
        assert_eq!((status, &user["username"]), (201, &json!(rig.user())), "{round}: {user}");
        asked = asked.max(started.elapsed());
    }
    // The workers share connections by chance: each lets its half in.
    assert!((900..=1_000).contains(&held.len()), "{}", held.len());
    assert!(asked < Duration::from_secs(5), "{asked:?}");
    until("it is counted", || {
        let closed = rig.metric("gateway_connections_closed_total{reason=\"limit\"");
        (closed >= 18_900.0).then_some(())
    });
    // Places come back.
    drop(held);
    until("the address gets a place again", || is_open_for_a_while(&opener.open()).then_some(()));
}

fn is_open_for_a_while(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    matches!(stream.peek(&mut [0]), Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

/// Whose user is known may have any number of connections, and keep them.
#[test]
fn signed_in_connections_do_not_count_and_stay() {
    let rig = Rig::new(&[
        "--max-undecided-connections-per-address=8",
        "--undecided-connection-timeout=2s",
    ]);
    let token = rig.token().mint();
    let url = format!("{}/api/v1/namespaces", rig.url());
    let get = |agent: &ureq::Agent, token: &str| {
        let request = agent.get(&url).header("authorization", format!("Bearer {token}"));
        let mut answer = request.call()?;
        answer.body_mut().read_to_vec()?;
        Ok::<_, ureq::Error>(answer.status().as_u16())
    };
    // Each agent keeps its connection.
    let agents: Vec<_> = (0..40).map(|_| rig.agent()).collect();
    for agent in &agents {
        assert_eq!(get(agent, &token).unwrap(), 200);
    }
    let connections =
        || rig.metric("envoy_listener_downstream_cx_total{envoy_listener_address=\"127.0.0.1_");
    let before = connections();
    let own = Opener::new(&rig, Ipv4Addr::LOCALHOST, b"");
    let idle: Vec<_> = (0..40).map(|_| own.open()).collect();
    until("the address has no more than it may", || (open_of(&idle) <= 8).then_some(()));
    // A refused request makes nobody known.
    let refused = rig.agent();
    until("there is a place", || get(&refused, "none").ok().filter(|status| *status == 401));
    until("nobody is let in without a login for long", || (open_of(&idle) == 0).then_some(()));
    until("they are counted", || {
        let late = rig.metric("gateway_connections_closed_total{reason=\"undecided\"");
        (late >= 1.0).then_some(())
    });
    let begun = connections();
    assert!(begun > before, "{begun}");
    thread::sleep(Duration::from_secs(3)); // longer than anybody may stay who did not sign in
    for agent in &agents {
        assert_eq!(get(agent, &token).unwrap(), 200);
    }
    assert!((connections() - begun).abs() < 2.0, "a known user's connection was closed");
}

/// curl from an address, with a PROXY header that names `client`.
fn proxied(rig: &Rig, from: &str, client: Option<&str>) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let (ca, headers) = (folder.path().join("ca.pem"), folder.path().join("headers"));
    fs::write(&ca, rig.authority.pem()).unwrap();
    fs::write(&headers, format!("authorization: Bearer {}\n", rig.token().mint())).unwrap();
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let relay = client.map(|client| relay(rig, from.parse().unwrap(), client));
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(ca);
    command.arg("--header").arg(format!("@{}", headers.display()));
    command.args(["--header", "content-type: application/json", "--data", &review.to_string()]);
    if let Some(address) = relay {
        command.arg("--connect-to").arg(format!("::{}:{}", address.ip(), address.port()));
    } else {
        command.args(["--interface", from]);
    }
    command.arg(format!("{}/apis/authentication.k8s.io/v1/selfsubjectreviews", rig.url()));
    let output = command.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let body: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    Ok(body.pointer("/status/userInfo").cloned().unwrap_or(body))
}

/// A balancer for one connection: begins with a PROXY header and hands on what comes.
fn relay(rig: &Rig, from: Ipv4Addr, client: &str) -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let opener = Opener::new(rig, from, b"");
    let family = if client.parse::<IpAddr>().unwrap().is_ipv4() { "TCP4" } else { "TCP6" };
    let own = if family == "TCP4" { "192.0.2.1" } else { "2001:db8::1" };
    let header = format!("PROXY {family} {client} {own} 4711 6443\r\n");
    thread::spawn(move || {
        let Ok((client, _)) = listener.accept() else { return };
        let mut server = opener.open();
        server.set_nonblocking(false).unwrap();
        server.write_all(header.as_bytes()).unwrap();
        let copy = |mut from: TcpStream, mut to: TcpStream| {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        };
        let (back, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || copy(back, to));
        copy(client, server);
    });
    address
}

#[test]
fn the_proxy_protocol_names_clients_from_its_balancers_only() {
    let rig = Rig::ready(&Setup::default(), |_| {
        [
            "--proxy-protocol=127.0.0.1,fd00::/8",
            "--extra-user-header-client-ip",
            "--max-undecided-connections-per-address=8",
        ]
        .map(str::to_owned)
        .to_vec()
    });
    let address = |answer: Result<Value, String>| {
        answer.map(|user| user["extra"]["remote-client-ip"][0].clone())
    };
    for client in ["203.0.113.9", "2001:db8:1:2::3"] {
        assert_eq!(address(proxied(&rig, "127.0.0.1", Some(client))), Ok(json!(client)));
    }
    // Without the header, and from somebody else with it, there is no handshake.
    assert!(proxied(&rig, "127.0.0.1", None).is_err());
    assert!(proxied(&rig, "127.0.0.2", Some("203.0.113.9")).is_err());
    assert!(proxied(&rig, "127.0.0.2", None).is_err());
    // The limit counts the header's addresses, not the balancer's.
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 6443\r\n";
    let opener = Opener::new(&rig, Ipv4Addr::LOCALHOST, header);
    let idle: Vec<_> = (0..60).map(|_| opener.open()).collect();
    until("the client has no more than it may", || (open_of(&idle) <= 8).then_some(()));
    assert!(open_of(&idle) > 0);
    for last in 1..20 {
        let client = format!("198.51.100.{last}");
        assert_eq!(address(proxied(&rig, "127.0.0.1", Some(&client))), Ok(json!(client)));
    }
}

/// Break-in rows 4 and 13: nobody else reads what the program writes, and no crash leaves it behind.
#[test]
fn break_in_13_files_are_private_and_nothing_leaves_a_core() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new(&[]);
    for process in [rig.program.id(), rig.envoy()] {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<_> = core.split_whitespace().collect();
        assert_eq!(words.get(4..6), Some(&["0", "0"][..]), "{core}");
    }
    let mut folders = vec![rig.run_directory()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::symlink_metadata(&path).unwrap();
            if data.is_symlink() {
                continue;
            }
            assert_eq!(data.permissions().mode() & 0o077, 0, "{}", path.display());
            files += 1;
            if data.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(files > 10, "{files}");
}
