//! Values of flags as programs written in Go take them.

use std::time::Duration;

use gateway_config::duration;

/// `strconv.ParseBool`
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

/// client-go's `ParseTimeout`: a duration, or a number of seconds. 0 is no limit.
pub fn timeout(text: &str) -> Result<Option<Duration>, String> {
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => duration(text)?,
    };
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

/// A pair `key=value`; the value may hold further equals signs.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(timeout("0"), Ok(None));
        assert_eq!(timeout("30"), Ok(Some(Duration::from_secs(30))));
        assert_eq!(timeout("1m"), Ok(Some(Duration::from_secs(60))));
    }

    #[test]
    fn booleans_and_pairs() {
        assert_eq!((boolean("True"), boolean("0")), (Ok(true), Ok(false)));
        assert!(boolean("yes").is_err());
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err());
    }
}
