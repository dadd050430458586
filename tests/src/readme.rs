//! What a page tells the reader to run: its blocks of shell commands.

/// A block of shell commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of the page on which its first command stands, from 1.
    pub line: usize,
    /// The commands, each line ended.
    pub text: String,
}

/// The shell blocks of a Markdown page, in their order: those that are fenced with three backticks and `sh`. Other blocks,
/// such as output or a file's text, have another word there, or none.
///
/// # Panics
/// If a block is not ended: what follows it would be run as commands.
#[must_use]
pub fn shell_blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((start, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        loop {
            let (_, line) =
                lines.next().unwrap_or_else(|| panic!("line {}: a block without end", start + 1));
            if line.starts_with("```") {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        if language.trim() == "sh" {
            blocks.push(Block { line: start + 2, text });
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_sh_are_commands_and_others_are_not() {
        let block = |line, text: &str| Block { line, text: text.to_owned() };
        for (page, want) in [
            ("", vec![]),
            ("a `b` c\n", vec![]),
            ("```sh\na\nb\n```\n\n```sh\nc\n```\n", vec![block(2, "a\nb\n"), block(7, "c\n")]),
            ("text\n```yaml\n```\n```\nout\n```\n```sh\na\n```", vec![block(8, "a\n")]),
            // What a block shows is no block: the fence of another language hides it.
            ("```text\n  ```sh\n  a\n```\n", vec![]),
            ("```shell\na\n```\n", vec![]),
        ] {
            assert_eq!(shell_blocks(page), want, "{page:?}");
        }
    }

    #[test]
    #[should_panic(expected = "line 2: a block without end")]
    fn a_block_without_end_is_an_error() {
        let _ = shell_blocks("a\n```sh\nrm\n");
    }
}
