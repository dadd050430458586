//! The way to this machine's listener from the machine at which the person sits.

use std::net::IpAddr;

use url::Url;

/// The command that leads the port of `start` here, if the person came by SSH (`SSH_CONNECTION`: the client's address and port, and
/// ours). `env` looks a variable up.
#[must_use]
pub fn forward(start: &str, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let connection = env("SSH_CONNECTION")?;
    let mut words = connection.split(' ').skip(2);
    let host: IpAddr = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok()?;
    let plain = |name: &String| {
        !name.is_empty()
            && !name.starts_with('-')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let user = ["USER", "LOGNAME"].iter().find_map(|name| env(name)).filter(plain);
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let at = if port == 22 { String::new() } else { format!("-p {port} ") };
    let listener = Url::parse(start).ok()?.port()?;
    Some(format!("ssh {at}-L {listener}:localhost:{listener} {user}{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_led_here() {
        for (connection, user, want) in [
            (
                "192.0.2.1 50000 192.0.2.9 22",
                "ada",
                Some("ssh -L 8000:localhost:8000 ada@192.0.2.9"),
            ),
            (
                "192.0.2.1 50000 192.0.2.9 2222",
                "",
                Some("ssh -p 2222 -L 8000:localhost:8000 192.0.2.9"),
            ),
            ("2001:db8::1 5 2001:db8::9 22", "-x", Some("ssh -L 8000:localhost:8000 2001:db8::9")),
            ("192.0.2.1 50000 $(touch) 22", "ada", None),
            ("", "ada", None),
        ] {
            let env = |name: &str| match name {
                "SSH_CONNECTION" => Some(connection.to_owned()),
                "USER" => Some(user.to_owned()),
                _ => None,
            };
            assert_eq!(
                forward("http://localhost:8000/login/x", env).as_deref(),
                want,
                "{connection}"
            );
        }
        assert_eq!(forward("http://localhost:8000/", |_| None), None);
    }
}
