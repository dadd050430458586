//! What a person types in.
//!
//! A terminal's own lines end after 4,095 characters, and an interrupt while it does not echo leaves it so. So it is read by
//! character here: up to 64 KiB, with ^C as an answer, and it is always left as it was found.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

/// Codes and addresses are some kilobytes at most.
const LIMIT: usize = 64 * 1024;

/// Reads a line after `prompt`, which goes to standard error.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] for ^C, [`io::ErrorKind::UnexpectedEof`] if nothing comes.
pub fn line(prompt: &str) -> io::Result<String> {
    read(prompt, true)
}

/// The same, unseen.
///
/// # Errors
/// As [`line`].
pub fn secret(prompt: &str) -> io::Result<String> {
    read(prompt, false)
}

fn read(prompt: &str, seen: bool) -> io::Result<String> {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{prompt}");
    let _ = stderr.flush();
    if io::stdin().is_terminal() {
        return typed(seen);
    }
    let mut text = String::new();
    let mut stdin = io::stdin().lock().take(LIMIT as u64);
    if stdin.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(unix)]
fn typed(seen: bool) -> io::Result<String> {
    let _raw = Raw::set()?;
    let (mut stdin, mut stderr) = (io::stdin().lock(), io::stderr());
    let mut line = Vec::new();
    let mut byte = [0];
    let mut ended = false;
    while !ended {
        if stdin.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let [byte] = byte;
        let mut echo: Vec<u8> = Vec::new();
        match byte {
            b'\n' | b'\r' => ended = true,
            // ^C, and ^D at the beginning.
            3 => return end(&mut stderr, Err(io::ErrorKind::Interrupted.into())),
            4 if line.is_empty() => {
                return end(&mut stderr, Err(io::ErrorKind::UnexpectedEof.into()));
            }
            // Backspace, over the whole character.
            8 | 127 => {
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
                echo.extend(b"\x08 \x08");
            }
            // ^U
            21 => line.clear(),
            byte if byte >= 32 && line.len() < LIMIT => {
                line.push(byte);
                echo.push(byte);
            }
            _ => {}
        }
        if seen {
            let _ = stderr.write_all(&echo);
            let _ = stderr.flush();
        }
    }
    end(&mut stderr, String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into()))
}

#[cfg(unix)]
fn end(stderr: &mut io::Stderr, result: io::Result<String>) -> io::Result<String> {
    let _ = writeln!(stderr);
    result
}

#[cfg(not(unix))]
fn typed(seen: bool) -> io::Result<String> {
    if !seen {
        return rpassword::read_password();
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that hands on each character, unseen. It is set back at the end, and by [`restore`] if the end comes elsewhere.
#[cfg(unix)]
struct Raw;

#[cfg(unix)]
static BEFORE: std::sync::Mutex<Option<rustix::termios::Termios>> = std::sync::Mutex::new(None);

#[cfg(unix)]
impl Raw {
    fn set() -> io::Result<Self> {
        use rustix::termios::{
            LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr,
        };
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut raw = before.clone();
        let lines = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        raw.local_modes.remove(lines);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        if let Ok(mut kept) = BEFORE.lock() {
            kept.get_or_insert(before);
        }
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self)
    }
}

#[cfg(unix)]
impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Sets the terminal back, if somebody is still asked something while the program ends.
pub fn restore() {
    #[cfg(unix)]
    if let Some(before) = BEFORE.lock().ok().and_then(|mut kept| kept.take()) {
        use rustix::termios::{OptionalActions, tcsetattr};
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
    }
}
