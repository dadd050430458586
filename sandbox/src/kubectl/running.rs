//! A kubectl that goes on, with its output as it comes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::ChildStdin,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Context, Error, Result},
    group::Group,
};

/// A running kubectl. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    group: Group,
    lines: Receiver<String>,
    stdin: Option<ChildStdin>,
}

impl Running {
    pub(super) fn new(mut group: Group) -> Self {
        let (stdout, stderr) = group.output();
        let (sender, lines) = mpsc::channel();
        let stdout = stdout.map(|out| Box::new(out) as Box<dyn Read + Send>);
        let stderr = stderr.map(|err| Box::new(err) as Box<dyn Read + Send>);
        for stream in [stdout, stderr].into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                for line in lines {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stdin = group.stdin();
        Self { group, lines, stdin }
    }

    /// The next line of its output or error output for which `wanted` holds; those before are skipped.
    ///
    /// # Errors
    /// If it ends, or `limit` passes, before there is one.
    pub fn line(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let start = Instant::now();
        let mut seen = String::from("nothing");
        loop {
            let left = limit.saturating_sub(start.elapsed());
            let reason = match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(line) => {
                    seen = line;
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => format!("its last line is {seen:?}"),
                Err(RecvTimeoutError::Disconnected) => format!("it ended after {seen:?}"),
            };
            let what = "a line of kubectl's output".to_owned();
            return Err(Error::Timeout { what, after: start.elapsed(), reason });
        }
    }

    /// Writes to its standard input.
    pub fn write(&mut self, text: &str) -> Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Err(Error::Invalid("kubectl's standard input is closed already".to_owned()));
        };
        stdin.write_all(text.as_bytes()).context(|| "write to kubectl".to_owned())
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Its exit code, if it ended by itself; `None` inside if a signal ended it.
    pub fn ended(&mut self) -> Result<Option<Option<i32>>> {
        Ok(self.group.ended()?.map(|status| status.code()))
    }

    /// Waits for its end; `None` if a signal ended it.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<i32>> {
        self.group.wait(limit).map(|status| status.code())
    }
}
