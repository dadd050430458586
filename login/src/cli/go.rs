//! Values of flags as Go's library pflag reads them, which is how kubeconfigs are written for kubelogin.

/// Names and values of one flag (pflag's `stringToString`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

/// `NAME=VALUE`, or several with commas between.
///
/// With one equals sign there is one pair, whatever commas its value has: JSON, for instance. With more it is a line of CSV. What
/// is no CSV is one pair, and a part without an equals sign belongs to the value before it; pflag refuses both.
pub fn pairs(text: &str) -> Result<Pairs, String> {
    let fields = match text.matches('=').count() {
        0 => return Err("it must be NAME=VALUE".to_owned()),
        1 => vec![text.trim_matches('"').to_owned()],
        _ => csv(text).unwrap_or_else(|| vec![text.to_owned()]),
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for field in fields {
        match (field.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) if !name.trim().is_empty() => {
                pairs.push((name.trim().to_owned(), value.to_owned()));
            }
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(&field);
            }
            _ => return Err("it must be NAME=VALUE".to_owned()),
        }
    }
    Ok(Pairs(pairs))
}

/// The pairs of several flags: of one name the last counts, in the first one's place.
#[must_use]
pub fn merged(given: &[Pairs]) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in given.iter().flat_map(|pairs| &pairs.0) {
        match merged.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(value),
            None => merged.push((name.clone(), value.clone())),
        }
    }
    merged
}

/// One pair as [`pairs`] reads it back.
#[must_use]
pub fn written(name: &str, value: &str) -> String {
    let pair = format!("{name}={value}");
    let is_itself =
        |text: &str| pairs(text).is_ok_and(|read| read.0 == [(name.to_owned(), value.to_owned())]);
    if is_itself(&pair) { pair } else { format!("\"{}\"", pair.replace('"', "\"\"")) }
}

/// Several pairs as [`pairs`] reads them back from one text.
#[must_use]
pub fn list(given: &[(String, String)]) -> String {
    if let [(name, value)] = given {
        return written(name, value);
    }
    let quoted = given.iter().map(|(name, value)| {
        let pair = format!("{name}={value}");
        format!("\"{}\"", pair.replace('"', "\"\""))
    });
    quoted.collect::<Vec<_>>().join(",")
}

/// The fields of a line of CSV (RFC 4180); `None` if it is none.
fn csv(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, after) = rest.split_at(end);
            if field.contains('"') {
                return None;
            }
            (field.to_owned(), after)
        };
        fields.push(field);
        if after.is_empty() {
            return Some(fields);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// What stands before the closing quotation mark, and what follows it.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_pflags() {
        for (text, want) in [
            ("a=b", Ok(&[("a", "b")][..])),
            ("a=", Ok(&[("a", "")])),
            ("a=b,c=d", Ok(&[("a", "b"), ("c", "d")])),
            ("a=b=c", Ok(&[("a", "b=c")])),
            ("acr=1,2", Ok(&[("acr", "1,2")])), // one equals sign, so one pair
            (r#"claims={"x":null,"y":null}"#, Ok(&[("claims", r#"{"x":null,"y":null}"#)])),
            (r#"claims={"x":"1=2","y":3}"#, Ok(&[("claims", r#"{"x":"1=2","y":3}"#)])),
            (
                r#""claims={""x"":1,""y"":2}",a=b"#,
                Ok(&[("claims", r#"{"x":1,"y":2}"#), ("a", "b")]),
            ),
            ("a=b=1,2", Ok(&[("a", "b=1,2")])),
            (r#""a=b""#, Ok(&[("a", "b")])),
            ("a", Err(())),
            ("=b", Err(())),
            ("", Err(())),
        ] {
            let found = pairs(text).map_err(|_| ());
            let want = want.map(|pairs| {
                Pairs(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
            });
            assert_eq!(found, want, "{text}");
            for (name, value) in found.map(|found| found.0).unwrap_or_default() {
                assert_eq!(pairs(&written(&name, &value)).unwrap().0, [(name, value)], "{text}");
            }
        }
        let found = merged(&[pairs("a=1,b=2").unwrap(), pairs("a=3").unwrap()]);
        assert_eq!(found, [("a".to_owned(), "3".to_owned()), ("b".to_owned(), "2".to_owned())]);
    }
}
