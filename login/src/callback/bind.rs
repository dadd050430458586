//! Sockets on this machine, on both of its addresses where a name means both.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _},
};

/// Listens on `address` (`host:port`), and on its twin of the other family if `both`.
pub(super) fn bind(address: &str, both: bool) -> io::Result<Vec<TcpListener>> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in address.to_socket_addrs()? {
        // A port that is free on one address may be taken on the other; any port (0) has more chances.
        for _ in 0..if address.port() == 0 { 16 } else { 1 } {
            match bind_one(address, both) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr, both: bool) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind(address)?;
    let port = first.local_addr()?.port();
    let twin: Option<IpAddr> = match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_loopback() => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    };
    let Some(twin) = twin.filter(|_| both) else { return Ok(vec![first]) };
    match TcpListener::bind((twin, port)) {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // A machine without IPv6: nobody can stand there either.
        Err(_) => Ok(vec![first]),
    }
}
