//! TLS and proxies as Go's programs have them: an issuer that kubectl can reach is reached, whatever its certificate is made of.
//!
//! The servers are OpenSSL's, which has what the provider's library lacks.

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use common::{Outcome, World};

/// Runs openssl, which must succeed.
fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder);
    let output = command.output().expect("openssl (make unit installs it)");
    assert!(output.status.success(), "{arguments}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A server with a certificate and OpenSSL's options.
struct Server {
    child: Child,
    port: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// `make` leaves `cert.pem` and `key.pem` in the folder, and `ca.pem` for whoever should believe them.
    fn start(world: &World, make: impl Fn(&Path), options: &[&str]) -> (Self, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let documents = folder.path().join(".well-known");
        fs::create_dir(&documents).unwrap();
        fs::write(
            documents.join("openid-configuration"),
            "{\"issuer\": \"https://reached.example\"}",
        )
        .unwrap();
        let ca = world.path("server-ca.pem");
        fs::copy(folder.path().join("ca.pem"), &ca).unwrap();
        let mut command = Command::new("openssl");
        command
            .args([
                "s_server",
                "-WWW",
                "-accept",
                "127.0.0.1:0",
                "-cert",
                "cert.pem",
                "-key",
                "key.pem",
            ])
            .args(options)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl (make unit installs it)");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let accepts = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("ACCEPT ")?.rsplit(':').next()?.to_owned()));
        let port = accepts.expect("it listens");
        (Self { child, port, _folder: folder }, ca)
    }

    /// `get-token` there. An answer is known by the issuer that the document names.
    fn get_token(&self, world: &World, host: &str, more: &[&str]) -> Outcome {
        let issuer = format!("--oidc-issuer-url=https://{host}:{}", self.port);
        let plugin = world.plugin().args(["get-token", "--oidc-client-id=kube", &issuer]);
        plugin.args(["--token-store=none"]).args(more).run()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const REACHED: &str = "calls itself https://reached.example";

/// A certificate that signs itself, made as `openssl req -x509` makes it: it says that it is one of an authority.
fn self_signed(folder: &Path) {
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -days 1 -keyout key.pem -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost",
    );
    fs::copy(folder.join("cert.pem"), folder.join("ca.pem")).unwrap();
}

/// What homelabs have: it was `Other(OtherError(CaUsedAsEndEntity))`.
#[test]
fn a_self_signed_certificate_is_its_own_authority() {
    let world = World::new();
    let (server, ca) = Server::start(&world, self_signed, &[]);
    let flag = format!("--certificate-authority={}", ca.display());
    server.get_token(&world, "localhost", &[&flag]).fails_with(REACHED);
    // For its own names alone, and not without being given.
    let outcome = server.get_token(&world, "127.0.0.1", &[&flag]);
    outcome.fails_with("it is for other names than this one");
    let outcome = server.get_token(&world, "localhost", &[]);
    outcome.fails_with("is not trusted");
    outcome.fails_with("--certificate-authority");
    // Another's certificate of the same kind does not help.
    let other = tempfile::tempdir().unwrap();
    self_signed(other.path());
    let other = format!("--certificate-authority={}", other.path().join("ca.pem").display());
    server.get_token(&world, "localhost", &[&other]).fails_with("is not trusted");
}

#[test]
fn a_self_signed_certificate_that_expired_is_refused() {
    let world = World::new();
    let make = |folder: &Path| {
        openssl(
            folder,
            "req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost",
        );
        fs::write(
            folder.join("ext"),
            "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:TRUE\n",
        )
        .unwrap();
        openssl(
            folder,
            "x509 -req -in csr.pem -signkey key.pem -days -1 -extfile ext -out cert.pem",
        );
        fs::copy(folder.join("cert.pem"), folder.join("ca.pem")).unwrap();
    };
    let (server, ca) = Server::start(&world, make, &[]);
    let flag = format!("--certificate-authority={}", ca.display());
    server
        .get_token(&world, "localhost", &[&flag])
        .fails_with("it has expired, or this machine's clock is wrong");
}

/// An authority and a server with keys on P-521.
#[test]
fn p521_is_verified() {
    let world = World::new();
    let make = |curve: &'static str| {
        move |folder: &Path| {
            for (name, curve) in [("ca-key.pem", "secp521r1"), ("key.pem", curve)] {
                openssl(folder, &format!("ecparam -name {curve} -genkey -noout -out {name}"));
            }
            openssl(
                folder,
                "req -x509 -new -sha512 -key ca-key.pem -days 1 -out ca.pem -subj /CN=Authority",
            );
            openssl(folder, "req -new -sha384 -key key.pem -out csr.pem -subj /CN=localhost");
            fs::write(folder.join("ext"), "subjectAltName=DNS:localhost\n").unwrap();
            openssl(
                folder,
                "x509 -req -sha384 -in csr.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 1 -extfile ext -out cert.pem",
            );
        }
    };
    let (server, ca) = Server::start(&world, make("secp521r1"), &["-tls1_3"]);
    let flag = format!("--certificate-authority={}", ca.display());
    server.get_token(&world, "localhost", &[&flag]).fails_with(REACHED);
    server.get_token(&world, "localhost", &[]).fails_with("is not trusted");
    // In 1.2 a server's key must be on a curve that is also there for the exchange of keys.
    let (server, ca) = Server::start(&world, make("prime256v1"), &["-tls1_2"]);
    let flag = format!("--certificate-authority={}", ca.display());
    server.get_token(&world, "localhost", &[&flag]).fails_with(REACHED);
    // Another authority of the same name and kind.
    let (server, _) = Server::start(&world, make("secp521r1"), &[]);
    let (_other, ca) = Server::start(&world, make("secp521r1"), &[]);
    let flag = format!("--certificate-authority={}", ca.display());
    server.get_token(&world, "localhost", &[&flag]).fails_with("is not trusted");
}

/// What has no TLS in common is named as that.
#[test]
fn a_server_with_old_ciphers_alone_is_named() {
    let world = World::new();
    let options = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"];
    let (server, ca) = Server::start(&world, self_signed, &options);
    let flag = format!("--certificate-authority={}", ca.display());
    server
        .get_token(&world, "localhost", &[&flag])
        .fails_with("it has no TLS in common with this program");
}

/// A proxy that takes what is said to it, one connection after the other, and leads nowhere.
fn proxy(answer: &'static [u8]) -> (String, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if sender.send(converse(&stream, answer)).is_err() {
                return;
            }
        }
    });
    (address, said)
}

fn converse(stream: &TcpStream, answer: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    let more = |said: &mut Vec<u8>| {
        let mut chunk = [0; 4096];
        let read = (&mut &*stream).read(&mut chunk).unwrap_or_default();
        said.extend_from_slice(&chunk[..read]);
        read > 0
    };
    while more(&mut said) && said.first() != Some(&5) && !said.ends_with(b"\r\n\r\n") {}
    let socks = said.first() == Some(&5);
    (&mut &*stream).write_all(answer).unwrap();
    if socks {
        // The method was chosen; the request follows.
        said.clear();
        more(&mut said);
    }
    said
}

#[test]
fn proxies_are_chosen_as_go_chooses_them() {
    let world = World::new();
    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let (address, said) = proxy(refusal);
    let run = |variables: &[(&str, &str)]| {
        let mut plugin =
            world.plugin().args(["get-token", "--oidc-client-id=kube", "--token-store=none"]);
        plugin = plugin.arg("--oidc-issuer-url=https://issuer.invalid");
        for (name, value) in variables {
            plugin = plugin.env(name, value.replace("PROXY", &address));
        }
        plugin.run()
    };
    let outcome = run(&[("HTTPS_PROXY", "http://ada:pa%40ss@PROXY")]);
    outcome.fails_with("HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT");
    assert!(!outcome.stderr.contains("pa%40ss"), "{}", outcome.stderr);
    let request = String::from_utf8(said.recv().unwrap()).unwrap();
    assert!(request.starts_with("CONNECT issuer.invalid:443 HTTP/1.1\r\n"), "{request}");
    // ada:pa@ss
    assert!(request.contains("Proxy-Authorization: Basic YWRhOnBhQHNz\r\n"), "{request}");
    for variables in [
        &[("HTTP_PROXY", "http://PROXY")][..], // for http alone
        &[("ALL_PROXY", "http://PROXY")],
        &[("HTTPS_PROXY", "http://PROXY"), ("NO_PROXY", "x.example, invalid")],
    ] {
        run(variables).fails_with("there is no host of this name here");
    }
    assert!(said.try_recv().is_err(), "nothing was asked of the proxy");
    run(&[("HTTPS_PROXY", "ftp://PROXY")]).fails_with("is not a URL of a proxy");
}

/// The name goes to the proxy, which may know what this machine does not.
#[test]
fn names_behind_socks5_are_resolved_there() {
    let world = World::new();
    let (address, said) = proxy(&[5, 0]);
    let plugin = world.plugin().args(["get-token", "--oidc-client-id=kube", "--token-store=none"]);
    let plugin = plugin.arg("--oidc-issuer-url=https://issuer.invalid");
    let outcome = plugin.env("HTTPS_PROXY", format!("socks5://{address}")).run();
    outcome.fails_with("cannot be reached");
    let request = said.recv().unwrap();
    let name = b"issuer.invalid";
    assert_eq!(request.get(..5), Some(&[5, 1, 0, 3, 14][..]), "{request:?}");
    assert_eq!(request.get(5..19), Some(&name[..]), "{request:?}");
}
