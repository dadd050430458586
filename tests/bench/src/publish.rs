//! Results in the documentation: what they were measured on, and the place of a page where they stand.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};

/// The machine, in a line: what the figures were measured on.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown CPU".into());
    let kib = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores of {model}, {} GiB, Linux {}, {}",
        kib >> 20,
        kernel.trim(),
        env::consts::ARCH
    )
}

/// Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` of a file.
pub fn replace_section(path: &Path, name: &str, text: &str) -> Result<()> {
    let old =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let parts =
        old.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = parts.with_context(|| format!("{} has no {begin}", path.display()))?;
    put(path, &format!("{head}{begin}\n\n{}\n\n{end}{tail}", text.trim()))
}

/// Writes a file; an error names it.
pub fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.md");
        fs::write(&path, "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n").unwrap();
        replace_section(&path, "x", "new\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n");
        assert!(replace_section(&path, "y", "").is_err());
    }
}
