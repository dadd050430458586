//! Questions to a person, where there is one.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::cli::error::Error;

/// Asks on standard error, so that standard output has the answer of the command alone.
pub struct Asker {
    input: Option<Box<dyn BufRead>>,
    output: Box<dyn Write>,
}

impl Asker {
    /// Of the person at the terminal, if there is one and `silent` is not wanted.
    pub fn new(silent: bool) -> Self {
        let stdin = io::stdin();
        let asks = !silent && stdin.is_terminal();
        let input = asks.then(|| Box::new(stdin.lock()) as Box<dyn BufRead>);
        Self { input, output: Box::new(io::stderr()) }
    }

    /// Whether somebody is there.
    pub fn asks(&self) -> bool {
        self.input.is_some()
    }

    /// The answer to a question, or the default. `flag` is how else it can be given.
    pub fn ask(
        &mut self,
        question: &str,
        default: Option<&str>,
        flag: &str,
    ) -> Result<String, Error> {
        let needed = || Error::Usage(format!("{flag} is needed: nobody is there to be asked"));
        if self.input.is_none() {
            return default.map(str::to_owned).ok_or_else(needed);
        }
        loop {
            let hint = default.filter(|text| !text.is_empty());
            let hint = hint.map_or(String::new(), |text| format!(" [{text}]"));
            match self.line(&format!("{question}{hint}: "))? {
                None => return Err(needed()),
                Some(line) if !line.is_empty() => return Ok(line),
                Some(_) => match default {
                    Some(default) => return Ok(default.to_owned()),
                    None => self.tell(&format!("It has no default; {flag} says the same.")),
                },
            }
        }
    }

    /// The same, until `parse` takes the answer.
    pub fn ask_for<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        flag: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        loop {
            match parse(&self.ask(question, default, flag)?) {
                Ok(value) => return Ok(value),
                Err(reason) if self.asks() => self.tell(&reason),
                Err(reason) => return Err(Error::Usage(format!("{flag}: {reason}"))),
            }
        }
    }

    /// Yes or no; without anybody there, no.
    pub fn agrees(&mut self, question: &str) -> Result<bool, Error> {
        if self.input.is_none() {
            return Ok(false);
        }
        let answer = self.line(&format!("{question} [y/N]: "))?.unwrap_or_default();
        Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    fn tell(&mut self, text: &str) {
        // Nobody reads it, or somebody does.
        let _ = writeln!(self.output, "{text}");
    }

    fn line(&mut self, prompt: &str) -> Result<Option<String>, Error> {
        let Some(input) = &mut self.input else { return Ok(None) };
        let _ = write!(self.output, "{prompt}").and_then(|()| self.output.flush());
        let mut line = String::new();
        let read = input.read_line(&mut line);
        let read = read.map_err(|source| Error::Read { path: "standard input".into(), source })?;
        Ok((read > 0).then(|| line.trim().to_owned()))
    }
}

#[cfg(test)]
pub fn answering(lines: &str) -> Asker {
    let input: Box<dyn BufRead> = Box::new(io::Cursor::new(lines.to_owned()));
    Asker { input: Some(input), output: Box::new(io::sink()) }
}

#[cfg(test)]
pub fn nobody() -> Asker {
    Asker { input: None, output: Box::new(io::sink()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_or_has_a_default() {
        let number = |text: &str| text.parse::<u8>().map_err(|error| error.to_string());
        assert_eq!(answering("x\n7\n").ask_for("n", None, "--n", number).unwrap(), 7);
        assert_eq!(answering("\n").ask_for("n", Some("5"), "--n", number).unwrap(), 5);
        assert_eq!(answering("\n8\n").ask_for("n", None, "--n", number).unwrap(), 8);
        for asker in [&mut nobody(), &mut answering("")] {
            let error = asker.ask("n", None, "--n").unwrap_err().to_string();
            assert_eq!(error, "--n is needed: nobody is there to be asked");
        }
        assert!(answering("yes\n").agrees("?").unwrap());
        for mut asker in [answering("\n"), answering("no\n"), answering(""), nobody()] {
            assert!(!asker.agrees("?").unwrap());
        }
    }
}
