//! Envoy's raw access log lines on their way through the program.
//!
//! Envoy writes one line a request, and for long-running ones more, to its standard output, which is a pipe to this
//! program. One thread reads the lines and hands each to every [`Sink`], in the order in which they stand in the pipe. A sink
//! must not block for long: while it does, Envoy holds the lines in memory.

use std::io::{self, BufRead, BufReader, Read, Write};

/// The longest line that is kept, in bytes. Envoy's own limit for headers, from which all of a line comes, is below.
const LONGEST: u64 = 1 << 20;

/// A line as Envoy wrote it, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine<'a>(&'a [u8]);

impl<'a> RawLine<'a> {
    /// A line of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Its bytes: JSON by the templates of this program, and whatever a client put into the strings of it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Takes raw lines: writes them, or makes something of them.
///
/// A sink lives as long as the program, across restarts of Envoy.
pub trait Sink: Send {
    /// Takes a line. What goes wrong is the sink's own to tell of: a line is never offered twice.
    fn take(&mut self, line: RawLine<'_>);

    /// Puts out whatever is still held back. Called when Envoy has ended: at the end of the program, or before a restart.
    fn flush(&mut self);
}

/// Reads lines to the end of the pipe, hands each to all sinks, and flushes these.
///
/// Lines beyond a megabyte are dropped; how many is returned.
///
/// # Errors
/// If the pipe cannot be read.
pub fn pump(pipe: impl Read, sinks: &mut [Box<dyn Sink>]) -> io::Result<u64> {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    let mut dropped = 0;
    loop {
        line.clear();
        if pipe.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() as u64 == LONGEST {
            pipe.skip_until(b'\n')?;
            dropped += 1;
            continue;
        }
        for sink in sinks.iter_mut() {
            sink.take(RawLine(&line));
        }
    }
    for sink in sinks {
        sink.flush();
    }
    Ok(dropped)
}

/// Writes every line as it is, such as to standard output.
#[derive(Debug)]
pub struct Copy<W>(W);

impl<W: Write + Send> Copy<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> Sink for Copy<W> {
    fn take(&mut self, RawLine(line): RawLine<'_>) {
        // A log that cannot be written must not end the gateway; nobody is left to tell.
        let _ = self.0.write_all(line).and_then(|()| self.0.write_all(b"\n"));
    }

    fn flush(&mut self) {
        let _ = self.0.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Sink for Seen {
        fn take(&mut self, line: RawLine<'_>) {
            let text = String::from_utf8_lossy(line.bytes()).into_owned();
            self.0.lock().unwrap().push(text);
        }

        fn flush(&mut self) {
            self.0.lock().unwrap().push("(flush)".to_owned());
        }
    }

    #[test]
    fn every_sink_gets_every_line_in_order() {
        let (first, second) = (Seen::default(), Seen::default());
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(first.clone()), Box::new(second.clone())];
        let dropped = pump(&b"{\"a\":1}\n\n\xff\nlast"[..], &mut sinks).unwrap();
        let want = ["{\"a\":1}", "", "\u{fffd}", "last", "(flush)"];
        assert_eq!(*first.0.lock().unwrap(), want);
        assert_eq!(*second.0.lock().unwrap(), want);
        assert_eq!(dropped, 0);
    }

    #[test]
    fn a_line_without_end_is_dropped_and_the_next_is_whole() {
        let seen = Seen::default();
        let mut text = vec![b'x'; (LONGEST + 5).try_into().unwrap()];
        text.extend_from_slice(b"\nnext\n");
        let dropped = pump(&text[..], &mut [Box::new(seen.clone())]).unwrap();
        assert_eq!((dropped, &*seen.0.lock().unwrap().join(",")), (1, "next,(flush)"));
    }
}
