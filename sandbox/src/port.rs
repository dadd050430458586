//! Free ports on loopback that stay ours until a server has them, and after.
//!
//! The usual way, to bind port 0, read the number and close, lets another process take the port before the server binds
//! it. Here the socket stays bound and never listens. On Linux two sockets may share a port if both set `SO_REUSEADDR`
//! and neither listens when the other binds; Go's listeners and Envoy's set it. A port asked from the system (bind to 0, or
//! the source of an outgoing connection) is never one that a socket is bound to. So a server can be restarted on
//! its port too, and any number of sandboxes can start at once.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::error::{Context, Result};

/// A port on 127.0.0.1, reserved as long as this value lives.
#[derive(Debug)]
pub struct Port {
    _socket: Socket,
    address: SocketAddr,
}

impl Port {
    /// Reserves a port that nobody uses.
    pub fn reserve() -> Result<Self> {
        Self::bind(0)
    }

    /// Reserves a certain port.
    ///
    /// # Errors
    /// If another process listens on it.
    pub fn reserve_number(number: u16) -> Result<Self> {
        Self::bind(number)
    }

    fn bind(number: u16) -> Result<Self> {
        let reserve = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, number)).into())?;
            let address = socket
                .local_addr()?
                .as_socket()
                .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, number)));
            Ok(Self { _socket: socket, address })
        };
        reserve().context(|| match number {
            0 => "reserve a free port on 127.0.0.1".to_owned(),
            _ => format!("use port {number} on 127.0.0.1"),
        })
    }

    /// The address, as `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::TcpListener};

    use super::*;

    /// std's listener sets `SO_REUSEADDR`, as Go's and Envoy's do.
    #[test]
    fn a_server_can_take_a_reserved_port_again_and_again() {
        let port = Port::reserve().unwrap();
        for _ in 0..3 {
            let server = TcpListener::bind(port.address()).unwrap();
            assert!(TcpListener::bind(port.address()).is_err(), "two servers on one port");
            drop(server);
        }
    }

    #[test]
    fn a_reserved_port_is_given_to_nobody_else() {
        let mut ports: Vec<Port> = (0..200).map(|_| Port::reserve().unwrap()).collect();
        let mut numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        let listeners: Vec<_> =
            (0..200).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        numbers.extend(listeners.iter().map(|l| l.local_addr().unwrap().port()));
        assert_eq!(numbers.len(), 400);
        ports.clear();
    }

    #[test]
    fn a_port_in_use_gives_one_clear_line() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = server.local_addr().unwrap().port();
        let error = Port::reserve_number(number).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot use port {number} on 127.0.0.1: ")), "{error}");
    }
}
