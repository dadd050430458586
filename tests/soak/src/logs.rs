//! Logs, read as they grow, however long they get: a file that is renamed when it is full, and a pipe.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

const POLL: Duration = Duration::from_millis(20);

/// Reads a log file line by line until `stop`, also what comes when it has been renamed and begun anew. A line that
/// is not ended is waited for.
pub fn follow(path: &PathBuf, stop: &AtomicBool, mut take: impl FnMut(&[u8])) -> Result<()> {
    let mut rest = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let mut file: Option<File> = None;
    loop {
        let last = stop.load(Ordering::Relaxed);
        // Whether there is a new file is asked before the old one is read to its end: whoever renames has written all.
        let renamed = match (&file, path.metadata()) {
            (Some(file), Ok(data)) => file.metadata()?.ino() != data.ino(),
            _ => false,
        };
        if let Some(file) = &mut file {
            loop {
                let read = file.read(&mut buffer).with_context(|| path.display().to_string())?;
                if read == 0 {
                    break;
                }
                rest.extend_from_slice(&buffer[..read]);
                let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
                rest[..whole]
                    .split(|&byte| byte == b'\n')
                    .filter(|l| !l.is_empty())
                    .for_each(&mut take);
                rest.drain(..whole);
            }
        }
        if renamed || file.is_none() {
            file = File::open(path).ok();
            if file.is_some() {
                continue;
            }
        }
        if last {
            return Ok(());
        }
        thread::sleep(POLL);
    }
}

/// A pipe that has a reader, this value, and never ends: it is open for writing too.
pub struct Pipe(File);

impl Pipe {
    /// Opens it; whoever writes to it then finds a reader.
    pub fn open(path: &PathBuf) -> Result<Self> {
        let open = File::options().read(true).write(true).open(path);
        Ok(Self(open.with_context(|| format!("cannot open {}", path.display()))?))
    }

    /// Reads it line by line. It returns with the process.
    pub fn follow(self, mut take: impl FnMut(&[u8])) {
        let mut reader = BufReader::with_capacity(1 << 16, self.0);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            take(line.trim_ascii_end());
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, sync::mpsc};

    use super::*;

    #[test]
    fn a_renamed_log_is_read_to_its_end_and_the_new_one_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let stop = AtomicBool::new(false);
        let (lines, read) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let take = |line: &[u8]| lines.send(String::from_utf8_lossy(line).into_owned());
                follow(&path, &stop, |line| take(line).unwrap()).unwrap();
            });
            let mut file = File::create(&path).unwrap();
            write!(file, "one\ntw").unwrap();
            assert_eq!(read.recv().unwrap(), "one");
            fs::rename(&path, folder.path().join("old")).unwrap();
            writeln!(file, "o").unwrap();
            fs::write(&path, "three\n").unwrap();
            assert_eq!(read.recv().unwrap(), "two");
            assert_eq!(read.recv().unwrap(), "three");
            stop.store(true, Ordering::Relaxed);
        });
    }
}
