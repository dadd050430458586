//! Events into a file that is rotated as kube-apiserver's is (`--audit-log-*`; gopkg.in/natefinch/lumberjack.v2): the full file
//! is renamed to `NAME-TIME.EXT`, old ones are compressed and removed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use flate2::{Compression, write::GzEncoder};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{Counts, EventSink};
use crate::{event::Event, legacy};

const BACKUP_TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";
/// The same, to be read.
const READ_TIME: &str = "%Y-%m-%dT%H-%M-%S%.f";

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// One line of text, kube-apiserver's old form.
    Legacy,
}

/// Where events are written, and how the file is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// The file; `-` is standard output, which is not rotated.
    pub path: PathBuf,
    /// How events are written.
    pub format: Format,
    /// Days after which a rotated file is removed; 0 for never.
    pub max_age_days: u32,
    /// Rotated files that are kept; 0 for all.
    pub max_backups: u32,
    /// Megabytes that a file may have; 0 for 100.
    pub max_size_mb: u32,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// Bytes that an event may have; a longer one is cut. `None` for any.
    pub max_event_bytes: Option<usize>,
}

/// The clock, for the names of rotated files and their age.
pub type Clock = Box<dyn Fn() -> Timestamp + Send>;

/// A sink into a file.
pub struct File {
    options: FileOptions,
    max_bytes: u64,
    out: Out,
    counts: Arc<Counts>,
    clock: Clock,
    tidying: Option<JoinHandle<()>>,
}

enum Out {
    Stdout,
    File { file: fs::File, bytes: u64 },
}

impl File {
    /// Opens the file, or makes it with its folder, for the owner alone.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn open(options: FileOptions, clock: Clock) -> io::Result<Self> {
        let megabytes = if options.max_size_mb == 0 { 100 } else { options.max_size_mb };
        let out = if options.path.as_os_str() == "-" { Out::Stdout } else { open(&options.path)? };
        Ok(Self {
            max_bytes: u64::from(megabytes) << 20,
            options,
            out,
            counts: Arc::default(),
            clock,
            tidying: None,
        })
    }

    /// What has become of events.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let event = event.within(self.options.max_event_bytes.unwrap_or(usize::MAX));
        let event = event.ok_or_else(|| io::Error::other("longer than an event may be"))?;
        let mut line = match self.options.format {
            Format::Json => serde_json::to_string(&event)?,
            Format::Legacy => legacy::line(&event),
        };
        line.push('\n');
        let length = line.len() as u64;
        if matches!(&self.out, Out::File { bytes, .. } if *bytes > 0 && bytes + length > self.max_bytes)
        {
            self.rotate()?;
        }
        match &mut self.out {
            Out::Stdout => io::stdout().write_all(line.as_bytes()),
            Out::File { file, bytes } => {
                append(file, line.as_bytes(), |file, part| {
                    file.set_len(file.metadata()?.len().saturating_sub(part))
                })?;
                *bytes += length;
                Ok(())
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.options.path;
        let now = (self.clock)();
        match fs::rename(path, backup(path, now)) {
            // Somebody else has moved it, or the last rotation could not open a new one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        self.out = open(path)?;
        // Compressing a hundred megabytes must not hold up Envoy's lines.
        self.wait_for_tidying();
        let options = self.options.clone();
        self.tidying = Some(thread::spawn(move || {
            // What cannot be tidied now is tidied next time.
            let _ = tidy(&options, now);
        }));
        Ok(())
    }

    fn wait_for_tidying(&mut self) {
        if let Some(tidying) = self.tidying.take() {
            let _ = tidying.join();
        }
    }
}

impl EventSink for File {
    fn take(&mut self, events: &[Event]) {
        for event in events {
            let written = self.write(event).is_ok();
            self.counts.count(1, written);
        }
    }

    fn flush(&mut self) {
        self.wait_for_tidying();
        let _ = io::stdout().flush();
    }
}

/// Writes a line whole or not at all: on a disk that is full, half an event would spoil the next one, too.
fn append<W: Write>(
    out: &mut W,
    mut line: &[u8],
    take_back: impl FnOnce(&mut W, u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut part = 0;
    let failed = loop {
        match out.write(line) {
            Ok(0) if !line.is_empty() => break io::ErrorKind::WriteZero.into(),
            Ok(written) => {
                part += written as u64;
                line = line.get(written..).unwrap_or_default();
                if line.is_empty() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break error,
        }
    };
    if part > 0 {
        // A pipe or a device takes nothing back.
        let _ = take_back(out, part);
    }
    Err(failed)
}

fn open(path: &Path) -> io::Result<Out> {
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Out::File { file, bytes })
}

/// Name and extension, `audit` and `.log`.
fn halves(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let extension = match text(path.extension()) {
        empty if empty.is_empty() => empty,
        extension => format!(".{extension}"),
    };
    (text(path.file_stem()), extension)
}

fn backup(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, extension) = halves(path);
    path.with_file_name(format!("{stem}-{}{extension}", now.strftime(BACKUP_TIME)))
}

/// Compresses rotated files, and removes those that are too many or too old.
fn tidy(options: &FileOptions, now: Timestamp) -> io::Result<()> {
    let (stem, extension) = halves(&options.path);
    let folder = match options.path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut backups = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let time =
            plain.strip_prefix(&format!("{stem}-")).and_then(|it| it.strip_suffix(&extension));
        let time = time.and_then(|it| DateTime::strptime(READ_TIME, it).ok());
        let Some(time) = time.and_then(|it| it.to_zoned(TimeZone::UTC).ok()) else { continue };
        backups.push((time.timestamp(), path));
    }
    backups.sort_by(|a, b| b.cmp(a));
    let oldest = now - SignedDuration::from_hours(24 * i64::from(options.max_age_days));
    for (index, (time, path)) in backups.iter().enumerate() {
        let many = options.max_backups > 0 && index >= options.max_backups as usize;
        let old = options.max_age_days > 0 && *time < oldest;
        if many || old {
            fs::remove_file(path)?;
        } else if options.compress && path.extension().is_none_or(|it| it != "gz") {
            compress(path)?;
        }
    }
    Ok(())
}

fn compress(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let target = PathBuf::from(name);
    let out =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&target)?;
    let mut encoder = GzEncoder::new(out, Compression::default());
    io::copy(&mut fs::File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        sync::atomic::{AtomicI64, Ordering},
    };

    use super::*;
    use crate::event::Stage;

    const START: &str = "2026-01-01T00:00:00Z";

    fn options(path: PathBuf) -> FileOptions {
        FileOptions {
            path,
            format: Format::Json,
            max_age_days: 0,
            max_backups: 0,
            max_size_mb: 1,
            compress: false,
            max_event_bytes: None,
        }
    }

    /// Some 300 KiB.
    fn event(number: usize) -> Event {
        let now = START.parse().unwrap();
        let mut event = Event::new(format!("id-{number}"), Stage::ResponseComplete, now, now);
        event.user_agent = "x".repeat(300 << 10);
        event
    }

    /// Each look at the clock is a day later.
    fn clock() -> Clock {
        let days = AtomicI64::new(0);
        Box::new(move || {
            let hours = 24 * days.fetch_add(1, Ordering::Relaxed);
            START.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
        })
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A disk with so much room.
    struct Disk(Vec<u8>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Self(held, room) = self;
            // Never all at once, as a kernel may do.
            let taken = bytes.len().min(*room - held.len()).min(3);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            held.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_half_line_stays_on_a_full_disk() {
        let mut disk = Disk(Vec::new(), 12);
        let mut write = |line: &[u8]| {
            append(&mut disk, line, |Disk(held, _), part| {
                held.truncate(held.len() - usize::try_from(part).unwrap());
                Ok(())
            })
        };
        write(b"first\n").unwrap();
        assert_eq!(write(b"second\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        write(b"third\n").unwrap();
        assert_eq!(disk.0, b"first\nthird\n");
    }

    /// Somebody tidies the folder, or the new file could not be opened for a moment: events go on all the same.
    #[test]
    fn a_file_that_is_gone_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::open(options(folder.path().join("audit.log")), clock()).unwrap();
        file.take(&[event(0), event(1), event(2)]);
        fs::remove_file(folder.path().join("audit.log")).unwrap();
        file.take(&[event(3), event(4)]);
        file.flush();
        assert_eq!((file.counts().written(), file.counts().dropped()), (5, 0));
        let text = fs::read_to_string(folder.path().join("audit.log")).unwrap();
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn full_files_are_renamed_and_old_ones_go() {
        for (change, want) in [
            (
                (|_| {}) as fn(&mut FileOptions),
                &[
                    "audit-2026-01-01T00-00-00.000.log",
                    "audit-2026-01-02T00-00-00.000.log",
                    "audit-2026-01-03T00-00-00.000.log",
                    "audit.log",
                ][..],
            ),
            (|it| it.max_backups = 1, &["audit-2026-01-03T00-00-00.000.log", "audit.log"]),
            (
                |it| it.max_age_days = 1,
                &[
                    "audit-2026-01-02T00-00-00.000.log",
                    "audit-2026-01-03T00-00-00.000.log",
                    "audit.log",
                ],
            ),
            (
                |it| (it.compress, it.max_backups) = (true, 2),
                &[
                    "audit-2026-01-02T00-00-00.000.log.gz",
                    "audit-2026-01-03T00-00-00.000.log.gz",
                    "audit.log",
                ],
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut options = options(folder.path().join("audit.log"));
            change(&mut options);
            let mut file = File::open(options, clock()).unwrap();
            // Three to a file, so that the tenth begins the fourth.
            let events: Vec<_> = (0..10).map(event).collect();
            file.take(&events);
            file.flush();
            assert_eq!(names(folder.path()), want);
            assert_eq!((file.counts().written(), file.counts().dropped()), (10, 0));
        }
    }

    #[test]
    fn what_is_compressed_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let options = FileOptions { compress: true, ..options(folder.path().join("audit.log")) };
        let mut file = File::open(options, clock()).unwrap();
        file.take(&(0..4).map(event).collect::<Vec<_>>());
        file.flush();
        let packed = folder.path().join("audit-2026-01-01T00-00-00.000.log.gz");
        let mut text = String::new();
        flate2::read::GzDecoder::new(fs::File::open(packed).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn a_file_that_is_there_goes_on_and_long_events_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/audit.log");
        let options = FileOptions {
            max_event_bytes: Some(1000),
            format: Format::Legacy,
            ..options(path.clone())
        };
        let now: Timestamp = START.parse().unwrap();
        let short = Event::new("short".to_owned(), Stage::RequestReceived, now, now);
        for round in 1..=2 {
            let mut file = File::open(options.clone(), clock()).unwrap();
            file.take(&[short.clone(), event(1)]);
            assert_eq!((file.counts().written(), file.counts().dropped()), (2, 0));
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), 2 * round);
            assert!(text.lines().all(|line| line.len() < 1000), "{text}");
            assert!(
                text.ends_with(" truncated=\"requestURI,user,userAgent\"\n")
                    || text.ends_with(" truncated=\"user,userAgent\"\n"),
                "{text}"
            );
        }
        // Not even an event of nothing has room: it is lost, and counted.
        let mut file =
            File::open(FileOptions { max_event_bytes: Some(10), ..options }, clock()).unwrap();
        file.take(&[short]);
        assert_eq!((file.counts().written(), file.counts().dropped()), (0, 1));
    }
}
