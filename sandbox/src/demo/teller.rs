//! Prints commands with what they said, and holds them to what was told of them.

use sandbox::{Error, Kubectl, Output, Result};

/// The beginning of a part of the story.
pub fn heading(text: &str) {
    println!("\n== {text}");
}

/// A remark on what follows.
pub fn say(text: &str) {
    println!("{text}");
}

/// A person with a kubectl.
pub struct Person {
    pub name: &'static str,
    pub kubectl: Kubectl,
}

impl Person {
    /// Runs a command line of kubectl, prints it with its output, and holds it to what was told.
    pub fn runs(&self, line: &str, told: &Told<'_>) -> Result<Output> {
        self.runs_with_input(line, "", told)
    }

    /// The same with a text on standard input.
    pub fn runs_with_input(&self, line: &str, input: &str, told: &Told<'_>) -> Result<Output> {
        let pipe = if input.is_empty() { String::new() } else { format!("echo '{input}' | ") };
        self.prompt(&format!("{pipe}kubectl {line}"));
        let output = self.kubectl.run_with_input(words(line), input)?;
        print!("{}{}", output.stdout, output.stderr);
        told.holds(&output).map_err(|wrong| {
            Error::Invalid(format!("not as told: {} kubectl {line}: {wrong}", self.name))
        })?;
        Ok(output)
    }

    /// Prints a command line as this person's.
    pub fn prompt(&self, line: &str) {
        println!("\n{} $ {line}", self.name);
    }
}

/// What is told of a command.
pub enum Told<'a> {
    /// It succeeds and says all of this.
    Says(&'a [&'a str]),
    /// It fails and says all of this.
    Fails(&'a [&'a str]),
}

impl Told<'_> {
    fn holds(&self, output: &Output) -> Result<(), String> {
        let (success, texts) = match self {
            Self::Says(texts) => (true, texts),
            Self::Fails(texts) => (false, texts),
        };
        if output.success() != success {
            return Err(format!("its exit code is {:?}", output.code));
        }
        let said = format!("{}{}", output.stdout, output.stderr);
        match texts.iter().find(|text| !said.contains(**text)) {
            Some(missing) => Err(format!("it does not say {missing:?}")),
            None => Ok(()),
        }
    }
}

/// The words of a command line. The story's lines quote nothing.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_that_is_not_true_is_noticed() {
        let output = |code, stdout: &str, stderr: &str| Output {
            code: Some(code),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        for (told, output, want) in [
            (Told::Says(&["a", "b"]), output(0, "a", "b"), Ok(())),
            (Told::Says(&["a"]), output(1, "a", ""), Err("its exit code is Some(1)")),
            (Told::Says(&["a"]), output(0, "b", ""), Err("it does not say \"a\"")),
            (Told::Fails(&["a"]), output(1, "", "a"), Ok(())),
            (Told::Fails(&["a"]), output(0, "", "a"), Err("its exit code is Some(0)")),
            (Told::Fails(&["a"]), output(1, "", "b"), Err("it does not say \"a\"")),
        ] {
            assert_eq!(told.holds(&output), want.map_err(str::to_owned), "{output:?}");
        }
    }
}
