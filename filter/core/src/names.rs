//! What names may be: those that a header carries unchanged, those that Kubernetes keeps for itself, and labels.

/// What the names begin with that Kubernetes reserves for itself.
pub(crate) const RESERVED_PREFIX: &str = "system:";
/// Bytes of a label.
const MOST_LABEL: usize = 63;

/// Whether an HTTP field value brings exactly these bytes to the other side (RFC 9110, section 5.5).
///
/// Go trims blanks by Unicode's definition in some places and by ASCII's in others; both are refused at an edge.
pub(crate) fn is_safe(value: &str) -> bool {
    if value.is_ascii() {
        return !value.starts_with(' ')
            && !value.ends_with(' ')
            && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    }
    value.trim() == value && !value.chars().any(char::is_control)
}

/// A label of DNS (RFC 1123, section 2.1).
pub(crate) fn is_label(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST_LABEL).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
