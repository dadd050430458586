//! A document in a `ConfigMap`: as text that people read, or packed where the object would have no room for the text.
//!
//! A `ConfigMap` has at most 1 MiB. Packed (gzip, RFC 1952) a document is a fraction of its size, and nobody reads ten thousand entries anyway:
//! `revocations list` shows them. Whoever reads one takes both forms, and never both at once: nobody could say which of them counts.

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use gateway_core::callout::MOST_DOCUMENTS;
use serde_json::{Value, json};

/// Bytes that a `ConfigMap` may have (`MaxSecretSize` of kube-apiserver's validation, which counts for both).
pub(super) const MOST_BYTES: usize = 1 << 20;
/// Bytes of a text that is left as it is. Others may have keys in the object, too.
const MOST_TEXT: usize = MOST_BYTES / 2;

/// The key under which a document stands packed.
fn packed_key(key: &str) -> String {
    format!("{key}.gz")
}

/// The document under a key of a `ConfigMap`, in either form.
///
/// # Errors
/// If it stands there twice, or cannot be unpacked.
pub(crate) fn read(object: &Value, key: &str) -> Result<Option<Vec<u8>>, String> {
    let text = object.get("data").and_then(|data| data.get(key)).and_then(Value::as_str);
    let packed = packed_key(key);
    let binary = object.get("binaryData").and_then(|data| data.get(&packed));
    match (text, binary.and_then(Value::as_str)) {
        (Some(_), Some(_)) => {
            Err(format!("data[{key}] and binaryData[{packed}] are both there: take one away"))
        }
        (Some(text), None) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(binary)) => {
            unpacked(binary).map(Some).map_err(|why| format!("binaryData[{packed}]: {why}"))
        }
        (None, None) => Ok(None),
    }
}

fn unpacked(binary: &str) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(binary).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    // One byte more than may be, to see that it is more.
    let most = u64::try_from(MOST_DOCUMENTS).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(bytes.as_slice())
        .take(most)
        .read_to_end(&mut text)
        .map_err(|error| format!("it is no gzip: {error}"))?;
    if text.len() > MOST_DOCUMENTS {
        return Err(format!("it has more than {MOST_DOCUMENTS} bytes unpacked"));
    }
    Ok(text)
}

/// Puts a document under a key of a `ConfigMap`, in the form that has room, and takes the other form away. Gives the bytes that it takes.
pub(super) fn put(object: &mut Value, key: &str, text: String) -> usize {
    let (name, field, other, value, size) = if text.len() <= MOST_TEXT {
        let size = text.len();
        (key.to_owned(), "data", ("binaryData", packed_key(key)), Value::String(text), size)
    } else {
        let packed = packed(text.as_bytes());
        let value = Value::String(STANDARD.encode(&packed));
        (packed_key(key), "binaryData", ("data", key.to_owned()), value, packed.len())
    };
    if let Some(known) = object.get_mut(other.0).and_then(Value::as_object_mut) {
        known.remove(&other.1);
    }
    if !object[field].is_object() {
        object[field] = json!({});
    }
    object[field][name] = value;
    size
}

/// In memory nothing fails.
fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).and_then(|()| encoder.finish()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "revocations.yaml";

    #[test]
    fn a_long_text_is_packed_and_a_short_one_is_left() {
        let long = "a line\n".repeat(MOST_TEXT / 7 + 1);
        let mut object = json!({"metadata": {}, "data": {"other": "o"}});
        for (text, is_packed) in [("short", false), (&long, true), ("short", false)] {
            let size = put(&mut object, KEY, text.to_owned());
            assert_eq!(read(&object, KEY).unwrap().as_deref(), Some(text.as_bytes()));
            assert_eq!(object["binaryData"].get("revocations.yaml.gz").is_some(), is_packed);
            assert_eq!(object["data"].get(KEY).is_none(), is_packed);
            assert_eq!(object["data"]["other"], "o");
            assert_eq!(size < text.len(), is_packed);
        }
        assert_eq!(read(&json!({}), KEY), Ok(None));
        assert_eq!(read(&json!({"data": null, "binaryData": null}), KEY), Ok(None));
    }

    #[test]
    fn two_forms_and_what_is_no_gzip_are_refused_and_a_bomb_does_not_go_off() {
        let with = |binary: &str| json!({"binaryData": {"revocations.yaml.gz": binary}});
        let bomb = STANDARD.encode(packed(&vec![b' '; MOST_DOCUMENTS + 1]));
        for (object, want) in [
            (json!({"data": {KEY: "a"}, "binaryData": {"revocations.yaml.gz": "a"}}), "both there"),
            (with("!"), "binaryData[revocations.yaml.gz]: "),
            (with("aGVsbG8="), "no gzip"),
            (with(""), "no gzip"),
            (with(&bomb), "more than"),
        ] {
            let error = read(&object, KEY).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }
}
