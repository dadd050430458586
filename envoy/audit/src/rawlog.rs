//! Envoy's raw access log lines on their way through the program.
//!
//! Envoy writes one line a request, and for long-running ones more, to its standard output, which is a pipe to this
//! program. One thread reads the lines and hands each to every [`Sink`], in the order in which they stand in the pipe. A sink
//! must not block for long: while it does, Envoy holds the lines in memory.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::atomic::{AtomicU64, Ordering},
};

/// The longest line that is read as one, in bytes. What Envoy writes is shorter: its template bounds every field.
pub const LONGEST: usize = 1 << 20;

/// A line as Envoy wrote it, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine<'a> {
    bytes: &'a [u8],
    whole: bool,
}

impl<'a> RawLine<'a> {
    /// A line of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, whole: true }
    }

    /// The beginning of a line whose end is not known.
    #[must_use]
    pub fn begun(bytes: &'a [u8]) -> Self {
        Self { bytes, whole: false }
    }

    /// Its bytes: JSON by the templates of this program, and whatever a client put into the strings of it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is all of the line.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
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

/// What becomes of a log's lines, counted as it happens.
#[derive(Debug, Default)]
pub struct LineCounts {
    dropped: AtomicU64,
    truncated: AtomicU64,
}

impl LineCounts {
    /// Lines that could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lines of which something was cut.
    #[must_use]
    pub fn truncations(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// Counts a line that was to be written.
    pub fn written(&self, result: &io::Result<()>) {
        self.dropped.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
    }

    /// Counts a line if something of it was cut.
    pub fn truncated(&self, is_cut: bool) {
        self.truncated.fetch_add(u64::from(is_cut), Ordering::Relaxed);
    }
}

/// Reads lines to the end of the pipe, hands each to all sinks, and flushes these.
///
/// None is dropped: of a line beyond [`LONGEST`] its beginning is handed on, and so is what there is of a last line without an end,
/// such as an Envoy that was killed leaves behind.
///
/// # Errors
/// If the pipe cannot be read. What was read before is handed on and flushed.
pub fn pump(pipe: impl Read, sinks: &mut [Box<dyn Sink>]) -> io::Result<()> {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    let result = loop {
        line.clear();
        let read = pipe.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line);
        let ends = line.pop_if(|last| *last == b'\n').is_some();
        if !ends && line.is_empty() {
            break read.map(drop);
        }
        let line = if ends { RawLine::new(&line) } else { RawLine::begun(&line) };
        for sink in sinks.iter_mut() {
            sink.take(line);
        }
        if let Err(error) = read {
            break Err(error);
        }
        if !ends && let Err(error) = pipe.skip_until(b'\n') {
            break Err(error);
        }
    };
    for sink in sinks {
        sink.flush();
    }
    result
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
    fn take(&mut self, line: RawLine<'_>) {
        // A log that cannot be written must not end the gateway; nobody is left to tell.
        let _ = self.0.write_all(line.bytes()).and_then(|()| self.0.write_all(b"\n"));
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
            let mut text = String::from_utf8_lossy(line.bytes()).into_owned();
            if !line.is_whole() {
                text.push_str("(begun)");
            }
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
        pump(&b"{\"a\":1}\n\n\xff\nlast"[..], &mut sinks).unwrap();
        let want = ["{\"a\":1}", "", "\u{fffd}", "last(begun)", "(flush)"];
        assert_eq!(*first.0.lock().unwrap(), want);
        assert_eq!(*second.0.lock().unwrap(), want);
    }

    /// A client that makes lines long enough must not be able to act unseen.
    #[test]
    fn break_in_3_a_line_beyond_all_bounds_is_handed_on_cut_and_the_next_is_whole() {
        let seen = Seen::default();
        let mut text = vec![b'x'; LONGEST + 5];
        text.extend_from_slice(b"\nnext\n");
        pump(&text[..], &mut [Box::new(seen.clone())]).unwrap();
        let seen = seen.0.lock().unwrap();
        assert_eq!(seen[0].len(), LONGEST + "(begun)".len());
        assert_eq!(seen[1..], ["next", "(flush)"]);
    }

    #[test]
    fn a_pipe_that_breaks_is_told_of_and_what_came_is_kept() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let seen = Seen::default();
        let pipe = (&b"one\ntw"[..]).chain(Broken);
        assert!(pump(pipe, &mut [Box::new(seen.clone())]).is_err());
        assert_eq!(*seen.0.lock().unwrap(), ["one", "tw(begun)", "(flush)"]);
    }
}
