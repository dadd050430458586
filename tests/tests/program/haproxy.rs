//! `HAProxy`, which takes TLS away in front of something else.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command},
};

use sandbox::{Authority, Port};

use crate::harness::until;

/// One that runs, until it is dropped.
pub struct Haproxy {
    child: Child,
    port: Port,
}

impl Haproxy {
    /// Serves with a certificate of `authority`. `bind` stands behind the listener's certificate, `server` behind the address that it leads to.
    pub fn start(
        folder: &Path,
        authority: &Authority,
        bind: &str,
        to: SocketAddr,
        server: &str,
    ) -> Self {
        let port = Port::reserve().unwrap();
        let identity = authority.server(&[]).unwrap();
        let pair = folder.join("haproxy.pem");
        std::fs::write(&pair, format!("{}{}", identity.certificate, identity.key)).unwrap();
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend f\n  bind {} ssl crt {} {bind}\n  default_backend b\n\
             backend b\n  server s {to} {server}\n",
            port.address(),
            pair.display(),
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let child = Command::new("haproxy").arg("-db").arg("-f").arg(&file).spawn().unwrap();
        until("HAProxy listens", || TcpStream::connect(port.address()).ok());
        Self { child, port }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
