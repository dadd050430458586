//! Tells a webhook of each event, so that a chat has it. What it does with that changes nothing here, and nobody waits for it.

use std::{
    fmt::Write,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
    time::Duration,
};

use gateway_client::Remote;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tracing::warn;

/// Events that wait to be told; those beyond are dropped, with a line in the log.
const WAITING: usize = 256;
/// The pauses before another try.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];
/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The header that holds the signature: `sha256=`, and the HMAC of the body in lower-case hexadecimal digits.
const SIGNATURE: &str = "x-gateway-signature";

/// Where events are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A kubeconfig that names the server, as those of audit webhooks do.
    pub kubeconfig: PathBuf,
    /// A file with the key of the signature.
    pub secret: PathBuf,
}

/// A thread that tells them.
pub(super) struct Webhook(SyncSender<String>);

impl Webhook {
    /// Begins.
    ///
    /// # Errors
    /// If a file of the target says nothing usable; in one line.
    pub(super) fn start(target: &Target) -> Result<Self, String> {
        /// As short as the hash's own output (RFC 2104, section 3).
        const SHORTEST: usize = 32;
        let Target { kubeconfig, secret } = target;
        let remote = Remote::read(kubeconfig, TIMEOUT)
            .map_err(|error| format!("{}: {error}", kubeconfig.display()))?;
        let key =
            std::fs::read(secret).map_err(|error| format!("{}: {error}", secret.display()))?;
        let key = key.trim_ascii_end().to_vec();
        if key.len() < SHORTEST {
            return Err(format!(
                "{}: the secret must have at least {SHORTEST} bytes",
                secret.display()
            ));
        }
        let (sender, received) = sync_channel(WAITING);
        thread::spawn(move || run(&remote, &key, &received));
        Ok(Self(sender))
    }

    /// Has an event told.
    pub(super) fn tell(&self, event: &Value) {
        match self.0.try_send(event.to_string()) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                warn!("the elevation webhook is behind: an event is not told");
            }
            Err(TrySendError::Disconnected(_)) => warn!("the elevation webhook has ended"),
        }
    }
}

fn run(remote: &Remote, key: &[u8], received: &Receiver<String>) {
    for event in received {
        let signature = signature(key, event.as_bytes());
        let mut pauses = PAUSES.iter();
        while let Err(error) = remote.post_with(&event, &[(SIGNATURE, &signature)]) {
            let Some(pause) = pauses.next() else {
                warn!("the elevation webhook does not take an event: {error}");
                break;
            };
            thread::sleep(*pause);
        }
    }
}

/// The value of [`SIGNATURE`].
fn signature(key: &[u8], body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    hmac.update(body);
    hmac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{BufRead, BufReader, Read, Write as _},
        net::TcpListener,
    };

    use serde_json::json;

    use super::*;

    /// RFC 4231, section 4.3.
    #[test]
    fn the_signature_is_hmac_sha_256() {
        assert_eq!(
            signature(b"Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn an_event_is_told_with_its_signature_and_again_if_it_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target =
            Target { kubeconfig: folder.path().join("k"), secret: folder.path().join("s") };
        let cluster =
            format!("{{clusters: [{{name: a, cluster: {{server: 'http://{address}/hook'}}}}]}}");
        fs::write(&target.kubeconfig, cluster).unwrap();
        fs::write(&target.secret, "short\n").unwrap();
        assert!(Webhook::start(&target).is_err());
        let key = "k".repeat(32);
        fs::write(&target.secret, format!("{key}\n")).unwrap();
        let webhook = Webhook::start(&target).unwrap();
        let event = json!({"event": "elevation.asked"});
        webhook.tell(&event);
        for status in ["500 No", "200 OK"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head += &line;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            assert_eq!(body, event.to_string().as_bytes());
            let want = format!("{SIGNATURE}: {}", signature(key.as_bytes(), &body));
            assert!(head.contains(&want), "{head}");
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
        }
    }
}
