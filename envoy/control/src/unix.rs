//! HTTP over a Unix socket, as a transport of the HTTP client's own.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use ureq::{
    Agent, Error,
    config::Config,
    unversioned::{
        resolver::DefaultResolver,
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

/// Asks a program at its Unix socket: a path and a JSON document. Gives the status and the body of the answer.
///
/// # Errors
/// If there is no answer.
pub fn ask_program(socket: &Path, path: &str, json: &str) -> Result<(u16, Vec<u8>), Error> {
    const TIMEOUT: Duration = Duration::from_secs(30);
    /// A document that fits a `ConfigMap`, with each byte escaped.
    const MOST: u64 = 16 << 20;
    let config =
        Config::builder().proxy(None).http_status_as_error(false).timeout_global(Some(TIMEOUT));
    let connector = UnixConnector { socket: socket.to_owned() };
    let agent = Agent::with_parts(config.build(), connector, DefaultResolver::default());
    let request = agent.post(format!("http://127.0.0.1{path}")).content_type("application/json");
    let mut answer = request.send(json)?;
    let body = answer.body_mut().with_config().limit(MOST).read_to_vec()?;
    Ok((answer.status().as_u16(), body))
}

/// Connects to a Unix socket, whatever host a URL names.
#[derive(Debug)]
pub struct UnixConnector {
    /// The socket.
    pub socket: PathBuf,
}

impl Connector for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<UnixTransport>, Error> {
        let stream = UnixStream::connect(&self.socket)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

/// A connected Unix socket.
#[derive(Debug)]
pub struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(timeout.not_zero().map(|t| *t))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(timeout.not_zero().map(|t| *t))?;
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Envoy's administration is asked seldom: a connection is not kept.
    fn is_open(&mut self) -> bool {
        false
    }
}
