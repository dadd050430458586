//! Takes programs out of an archive that their project publishes, pinned by its checksum.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use ring::digest;
use ureq::{Agent, Error as HttpError, Proxy, http::Uri};

use super::{
    progress::Progress,
    recipe::Recipe,
    tool::{self, Tool},
    workplace::Workplace,
};
use crate::error::{Context, Error, Result};

/// How long a server may take to be found and to answer: a machine without a way out is to know soon.
const CONNECT: Duration = Duration::from_secs(5);

/// How long nothing may arrive.
const SILENCE: Duration = Duration::from_secs(30);

/// More than any archive has.
const LARGEST: u64 = 4 << 30;

/// A published archive, `.tar.gz`.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    pub url: String,
    /// Its SHA-512 in hexadecimal digits.
    pub sha512: String,
    /// The folder in it that holds the recipe's programs.
    pub folder: &'static str,
    /// The environment variable that names another place for it; empty, it turns archives off.
    pub variable: &'static str,
}

/// Downloads the archive and unpacks the recipe's programs. `false` if it cannot be had, which is told in one line.
///
/// # Errors
/// If what the server has is not the archive that is pinned. Nothing is built then: somebody is to look at it.
pub(super) fn take(
    recipe: &Recipe,
    archive: &Archive,
    place: &Workplace,
    progress: &Progress,
) -> Result<bool> {
    let Archive { url, sha512, folder, variable } = archive;
    let subject = format!("{} {}", recipe.name, recipe.pin.version);
    let file = place.folder.join("archive.tar.gz");
    progress.line(&format!("{subject}: downloading {url}"));
    let got = match download(url, &file, |text| {
        progress.update(|| format!("{subject}: downloading, {}", text()));
    })? {
        Ok(got) => got,
        Err(Unreachable(reason)) => {
            let text = format!("{subject}: {url} cannot be had ({reason}), so it is compiled");
            progress.line(&text);
            return Ok(false);
        }
    };
    if got != *sha512 {
        return Err(Error::Invalid(format!(
            "{url} is not the archive that was released: its SHA-512 is {got}, not {sha512}. Nothing of it is used. See \
             what answers there, a proxy perhaps; {variable} names another place, or nothing to compile instead"
        )));
    }
    let members = recipe.programs.iter().map(|program| format!("{folder}/{}", program.name));
    let depth = folder.split('/').count();
    let words = [
        "-xzf".to_owned(),
        file.display().to_string(),
        "-C".to_owned(),
        place.output.display().to_string(),
        format!("--strip-components={depth}"),
    ];
    let tar = tool::find("tar", "install tar and gzip")?;
    let tool = Tool {
        subject: &subject,
        program: &tar,
        arguments: words.into_iter().chain(members).collect(),
        environment: vec![],
        doing: "unpacking",
    };
    tool::run(tool, place, progress, |_| String::new())?;
    fs::remove_file(&file).context(|| format!("remove {}", file.display()))?;
    Ok(true)
}

/// Why there is no archive: no way to the server, an answer that is none, a connection that broke.
struct Unreachable(String);

/// Writes what `url` has to a file; its SHA-512. `tell` is called again and again with how far it is.
fn download(
    url: &str,
    file: &Path,
    tell: impl Fn(&dyn Fn() -> String),
) -> Result<Result<String, Unreachable>> {
    let start = Instant::now();
    let unreachable = |error: HttpError| Ok(Err(Unreachable(error.to_string())));
    let mut answer = match agent(url).get(url).call() {
        Ok(answer) => answer,
        Err(error) => return unreachable(error),
    };
    let length = answer.body().content_length();
    let mut body = answer.body_mut().with_config().limit(LARGEST).reader();
    let context = || format!("write {}", file.display());
    let mut output = File::create(file).context(context)?;
    // ring, because it is fast in a debug build too: sha2 would need a minute for an archive of 400 MB.
    let mut hash = digest::Context::new(&digest::SHA512);
    let mut buffer = vec![0; 1 << 16];
    let mut count = 0_u64;
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let text = format!("it broke off after {} MB: {error}", count / 1_000_000);
                return Ok(Err(Unreachable(text)));
            }
        };
        hash.update(read);
        output.write_all(read).context(context)?;
        count += read.len() as u64;
        tell(&|| {
            let of = length.map(|all| format!(" of {}", all / 1_000_000)).unwrap_or_default();
            format!("{}{of} MB, {} s", count / 1_000_000, start.elapsed().as_secs())
        });
    }
    Ok(Ok(hexadecimal(hash.finish().as_ref())))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// Proxies of the environment count, but for a mirror on this machine.
fn agent(url: &str) -> Agent {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let local = host.is_some_and(|host| ["127.0.0.1", "[::1]", "localhost"].contains(&&*host));
    Agent::config_builder()
        .proxy(if local { None } else { Proxy::try_from_env() })
        .accept_encoding("identity")
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::fs::PermissionsExt,
        path::PathBuf,
        process::Command,
        thread,
    };

    use super::*;
    use crate::assets::{
        cache,
        recipe::{Pin, Program, Source},
    };

    /// What a server on loopback answers with, once.
    fn mirror(answer: impl FnOnce(TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            answer(stream);
        });
        format!("http://127.0.0.1:{port}/v1/server.tar.gz")
    }

    fn serve(status: &'static str, body: Vec<u8>, announced: usize) -> String {
        mirror(move |mut stream| {
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {announced}\r\n\r\n").unwrap();
            stream.write_all(&body).unwrap();
        })
    }

    /// An archive as Kubernetes' own: more in it than is wanted.
    fn archive() -> Vec<u8> {
        let tree = tempfile::tempdir().unwrap();
        let folder = tree.path().join("kubernetes/server/bin");
        fs::create_dir_all(&folder).unwrap();
        for name in ["program", "other"] {
            let file = folder.join(name);
            fs::write(&file, format!("#!/bin/sh\necho the published {name}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let words = ["-C", &tree.path().display().to_string(), "-cz", "kubernetes"];
        let made = Command::new("tar").args(words).output().unwrap();
        assert!(made.status.success());
        made.stdout
    }

    fn sum(bytes: &[u8]) -> String {
        hexadecimal(digest::digest(&digest::SHA512, bytes).as_ref())
    }

    /// A program that is built in a second, and says so.
    const SOURCE: &str = "package main\nfunc main() { println(\"compiled\") }\n";

    /// The folder that a recipe comes to, with an archive at `url`, in a cache of its own.
    fn entry(cache: &Path, url: &str, sha512: &str) -> Result<PathBuf> {
        let recipe = Recipe {
            name: "thing",
            pin: Pin { version: "1".to_owned(), accepts: vec![] },
            programs: vec![Program { name: "program", version_arguments: &[] }],
            source: Source::Go {
                module: vec![("go.mod", "module thing\ngo 1.25\n"), ("main.go", SOURCE)],
                packages: vec!["."],
                ldflags: String::new(),
                patch: None,
                archive: Some(Archive {
                    url: url.to_owned(),
                    sha512: sha512.to_owned(),
                    folder: "kubernetes/server/bin",
                    variable: "MIRROR",
                }),
            },
        };
        cache::entry_in(cache, &recipe, &Progress::quiet(), cache::make)
    }

    fn says(program: &Path) -> String {
        let output = Command::new(program).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_published_archive_is_taken() {
        let cache = tempfile::tempdir().unwrap();
        let bytes = archive();
        let (sum, length) = (sum(&bytes), bytes.len());
        let folder = entry(cache.path(), &serve("200 OK", bytes, length), &sum).unwrap();
        assert_eq!(says(&folder.join("program")), "the published program");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "only what is wanted");
    }

    /// Whatever it is, a forged archive or a proxy's page: building would hide it.
    #[test]
    fn another_archive_is_refused_and_not_built_around() {
        let right = sum(&archive());
        let forged = archive().into_iter().chain(*b"x").collect::<Vec<_>>();
        for bytes in [forged, b"<html>log in first</html>".to_vec(), Vec::new()] {
            let cache = tempfile::tempdir().unwrap();
            let (got, length) = (sum(&bytes), bytes.len());
            let url = serve("200 OK", bytes, length);
            let refused = entry(cache.path(), &url, &right).unwrap_err().to_string();
            let want = format!(
                "{url} is not the archive that was released: its SHA-512 is {got}, not {right}. Nothing of it is used. See what \
                 answers there, a proxy perhaps; MIRROR names another place, or nothing to compile instead"
            );
            assert_eq!(refused, want);
            let left: Vec<_> =
                fs::read_dir(cache.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
            assert_eq!(left, ["lock"]);
        }
    }

    #[test]
    fn without_an_archive_the_programs_are_compiled() {
        let bytes = archive();
        let (sum, length) = (sum(&bytes), bytes.len());
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let half = bytes.get(..length / 2).unwrap().to_vec();
        for (what, url) in [
            ("nobody listens", format!("http://{closed}/v1/server.tar.gz")),
            ("no such name", "http://no-such-name.invalid/v1/server.tar.gz".to_owned()),
            ("not there", serve("404 Not Found", bytes, length)),
            ("half of it", serve("200 OK", half, length)),
            ("no HTTP", mirror(|mut stream| stream.write_all(b"220 hello\r\n").unwrap())),
        ] {
            let cache = tempfile::tempdir().unwrap();
            let folder = entry(cache.path(), &url, &sum).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(says(&folder.join("program")), "compiled", "{what}");
        }
    }
}
