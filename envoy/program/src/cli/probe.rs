//! `kube-oidc-gateway probe`

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use clap::Args;
use gateway_client::{Client, Trust};

use super::{error::Error, files::read};

/// The answer is made of what is known already.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Ask the gateway on this machine whether it is ready, and fail if it is not.
///
/// For health checks in a container that has no other program to ask with. With --server it asks a gateway as a client without
/// a token does. It fails if the gateway's TLS cannot be trusted, or if the answer is not that a token is missing.
#[derive(Debug, Args)]
pub struct Probe {
    /// The gateway's port for probes
    #[arg(long, short = 'P', value_name = "PORT", default_value_t = 8080)]
    readiness_probe_port: u16,
    /// What to ask for: /readyz, or /livez for whether it works at all
    #[arg(long, value_name = "PATH", default_value = "/readyz", value_parser = path)]
    path: String,
    /// A gateway to ask as its clients do, instead of the port for probes
    #[arg(long, value_name = "https://HOST[:PORT]", value_parser = server, conflicts_with_all = ["readiness_probe_port", "path"])]
    server: Option<String>,
    /// The CA of the gateway's certificate [default: the system's CAs]
    #[arg(long, value_name = "FILE", requires = "server")]
    certificate_authority: Option<PathBuf>,
    /// Accept any certificate of the gateway
    #[arg(long, requires = "server", conflicts_with = "certificate_authority")]
    insecure_skip_tls_verify: bool,
}

impl Probe {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<(), Error> {
        match &self.server {
            Some(server) => self.ask_as_a_client(server),
            None => self.ask_for_readiness(),
        }
    }

    /// A request without a token, which a gateway answers by itself: 401. Where anonymous requests are configured, the API
    /// server answers it.
    fn ask_as_a_client(&self, server: &str) -> Result<(), Error> {
        let url = format!("{}/version", server.trim_end_matches('/'));
        let failed = |reason: String| Error::Usage(format!("{url}: {}", reason.trim()));
        let bundle = self.certificate_authority.as_deref().map(read).transpose()?;
        let trust = match &bundle {
            Some(pem) => Trust::Bundle(pem),
            None if self.insecure_skip_tls_verify => Trust::Anybody,
            None => Trust::System,
        };
        let client = Client { trust, identity: None, to: None, proxy: None, timeout: TIMEOUT };
        let agent = client.agent().map_err(failed)?;
        let mut answer = agent.get(&url).call().map_err(|error| failed(error.to_string()))?;
        let body = answer.body_mut().read_to_string().unwrap_or_default();
        match answer.status().as_u16() {
            200 | 401 | 403 if body.trim_start().starts_with('{') => Ok(()),
            _ => Err(failed(format!("{} {}", answer.status(), body.trim().replace('\n', "; ")))),
        }
    }

    fn ask_for_readiness(&self) -> Result<(), Error> {
        let url =
            format!("http://{}:{}{}", Ipv4Addr::LOCALHOST, self.readiness_probe_port, self.path);
        let failed = |reason: String| Error::Usage(format!("{url}: {}", reason.trim()));
        let trust = Trust::Anybody;
        let client = Client { trust, identity: None, to: None, proxy: None, timeout: TIMEOUT };
        let agent = client.agent().map_err(failed)?;
        let mut answer = agent.get(&url).call().map_err(|error| failed(error.to_string()))?;
        if answer.status().is_success() {
            return Ok(());
        }
        // It tells what is missing, in a line or a few.
        let reason = answer.body_mut().read_to_string().unwrap_or_default();
        Err(failed(format!("{} {}", answer.status(), reason.trim().replace('\n', "; "))))
    }
}

fn server(text: &str) -> Result<String, &'static str> {
    if text.starts_with("https://") {
        Ok(text.to_owned())
    } else {
        Err("it must begin with https://")
    }
}

fn path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("it must begin with /") }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    fn probe(readiness_probe_port: u16, path: &str) -> Probe {
        Probe {
            readiness_probe_port,
            path: path.to_owned(),
            server: None,
            certificate_authority: None,
            insecure_skip_tls_verify: false,
        }
    }

    /// Answers one request and returns what was asked.
    fn serve(answer: &'static str) -> (u16, thread::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
        });
        (port, asked)
    }

    #[test]
    fn only_a_good_answer_is_ready() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None),
            (
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\nno issuer\n",
                Some("503 Service Unavailable no issuer"),
            ),
            ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /livez\r\n\r\n", Some("302")),
        ] {
            let (readiness_probe_port, asked) = serve(answer);
            let probe = probe(readiness_probe_port, "/readyz");
            let got = probe.run().map_err(|error| error.to_string());
            match want {
                None => got.unwrap(),
                Some(want) => assert!(got.unwrap_err().contains(want), "{answer}"),
            }
            assert_eq!(asked.join().unwrap(), "GET /readyz HTTP/1.1");
        }
    }

    #[test]
    fn nobody_who_listens_is_not_ready() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let readiness_probe_port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(probe(readiness_probe_port, "/livez").run().is_err());
    }
}
