//! PEM blocks as Go's `encoding/pem` finds them: laxer than RFC 7468, with text allowed around the blocks. A PEM library
//! would find others. Source: Go 1.26, `encoding/pem/pem.go`.

use crate::base64;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// What stands between `BEGIN` and `END`.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What stands behind `BEGIN`.
    pub label: &'a [u8],
    /// Whether `Key: value` lines stand before the data.
    pub has_headers: bool,
    /// The decoded data.
    pub bytes: Vec<u8>,
}

/// The blocks in `data`, in order.
pub fn blocks(data: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        loop {
            let end = find(rest, END)?;
            let (before, trailer) = rest.split_at_checked(end + END.len())?;
            let block = before.get(..end).and_then(last_begin);
            let found = block.and_then(|start| read(rest, start, end, trailer));
            rest = trailer;
            if let Some(found) = found {
                rest = line(trailer).1;
                return Some(found);
            }
        }
    })
}

/// Where the label of the last `BEGIN` starts, if that stands at the start of a line.
fn last_begin(before: &[u8]) -> Option<usize> {
    let begin = before.windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
    let at_line_start = begin.checked_sub(1).is_none_or(|at| before.get(at) == Some(&b'\n'));
    at_line_start.then_some(begin + BEGIN.len())
}

/// The block whose label starts at `label` and whose `END` line begins at `end`, behind which `trailer` follows.
fn read<'a>(data: &'a [u8], label: usize, end: usize, trailer: &[u8]) -> Option<Block<'a>> {
    let (label, mut rest) = line(data.get(label..)?);
    let label = label.strip_suffix(DASHES)?;
    let mut has_headers = false;
    while !rest.is_empty() && line(rest).0.contains(&b':') {
        has_headers = true;
        rest = line(rest).1;
    }
    let body_start = data.len() - rest.len();
    if has_headers && end < body_start {
        return None;
    }
    let after = trailer.strip_prefix(label)?.strip_prefix(DASHES)?;
    if !line(after).0.is_empty() {
        return None;
    }
    let body = data.get(body_start..end).unwrap_or_default();
    let body: Vec<u8> = body.iter().copied().filter(|b| !matches!(b, b' ' | b'\t')).collect();
    Some(Block { label, has_headers, bytes: base64::decode_standard(&body).ok()? })
}

/// The first line without its end and the blanks before that, and what follows it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match find(data, b"\n") {
        Some(at) => (data.get(..at).unwrap_or_default(), data.get(at + 1..).unwrap_or_default()),
        None => (data, &[][..]),
    };
    let ended = rest.len() + line.len() < data.len();
    let mut line = if ended { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    while let [shorter @ .., b' ' | b'\t'] = line {
        line = shorter;
    }
    (line, rest)
}

fn find(data: &[u8], what: &[u8]) -> Option<usize> {
    data.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn blocks_are_those_of_go() {
        let block = "-----BEGIN X-----\nYWJj\n-----END X-----\n";
        for (text, want) in [
            (block.to_owned(), vec!["abc"]),
            (format!("text\n{block}text\n{block}"), vec!["abc", "abc"]),
            (format!("text {block}"), vec![]), // BEGIN within a line
            (block.replace('\n', "\r\n"), vec!["abc"]),
            (block.replace('\n', " \t\n"), vec!["abc"]),
            (block.trim_end().to_owned(), vec!["abc"]),
            ("-----BEGIN X-----\n-----END X-----\n".to_owned(), vec![""]),
            ("-----BEGIN X-----\nA: b\n\nYWJj\n-----END X-----\n".to_owned(), vec!["abc"]),
            ("-----BEGIN X-----\nA: b\n-----END X-----\n".to_owned(), vec![]),
            (block.replace("END X", "END Y"), vec![]),
            (block.replace("END X-----", "END X----"), vec![]),
            (block.replace("END X-----", "END X----- x"), vec![]),
            (block.replace("YWJj", "Y!"), vec![]),
            (format!("-----BEGIN X-----\n{block}"), vec!["abc"]), // the last BEGIN counts
            (format!("{}{block}", block.replace("YWJj", "Y")), vec!["abc"]),
            (String::new(), vec![]),
        ] {
            let got: Vec<String> = blocks(text.as_bytes())
                .map(|block| String::from_utf8_lossy(&block.bytes).into_owned())
                .collect();
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn headers_are_seen() {
        let text = b"-----BEGIN X Y-----\nA: b\n\nYWJj\n-----END X Y-----\n";
        let want = Block { label: b"X Y", has_headers: true, bytes: b"abc".to_vec() };
        assert_eq!(blocks(text).next(), Some(want));
    }
}
