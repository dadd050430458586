//! Named formats. Source: k8s.io/apiserver, `pkg/cel/library/format.go`; k8s.io/apimachinery, `pkg/util/validation` and
//! `pkg/api/validate/content`; k8s.io/kube-openapi, `pkg/validation/strfmt`.

use go_compat::url::Url;

use super::timestamp::Timestamp;

/// A format by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedFormat {
    /// Of a prefix the last character may be a dash.
    Dns1123Label {
        prefix: bool,
    },
    Dns1123Subdomain {
        prefix: bool,
    },
    Dns1035Label {
        prefix: bool,
    },
    QualifiedName,
    LabelValue,
    Uri,
    Uuid,
    Byte,
    Date,
    Datetime,
}

impl NamedFormat {
    /// The name that a value of this format shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns1123Label { prefix: false } => "DNS1123Label",
            Self::Dns1123Label { prefix: true } => "DNS1123LabelPrefix",
            Self::Dns1123Subdomain { prefix: false } => "DNS1123Subdomain",
            Self::Dns1123Subdomain { prefix: true } => "DNS1123SubdomainPrefix",
            Self::Dns1035Label { prefix: false } => "DNS1035Label",
            Self::Dns1035Label { prefix: true } => "DNS1035LabelPrefix",
            Self::QualifiedName => "QualifiedName",
            Self::LabelValue => "LabelValue",
            Self::Uri => "URI",
            Self::Uuid => "uuid",
            Self::Byte => "byte",
            Self::Date => "date",
            Self::Datetime => "datetime",
        }
    }

    /// The length of the expression that upstream says it checks with, for the cost.
    #[must_use]
    pub fn regex_size(self) -> u64 {
        match self {
            Self::Dns1123Label { .. } | Self::Dns1035Label { .. } => 30,
            Self::Dns1123Subdomain { .. } | Self::QualifiedName => 60,
            Self::LabelValue => 40,
            Self::Uri => 1103,
            Self::Uuid => 70,
            Self::Byte => 84,
            Self::Date | Self::Datetime => 71,
        }
    }

    /// What is wrong with a text; nothing if it has the format.
    #[must_use]
    pub fn complaints(self, text: &str) -> Vec<String> {
        match self {
            Self::Dns1123Label { prefix } => label_1123(&masked(text, prefix)),
            Self::Dns1123Subdomain { prefix } => subdomain(&masked(text, prefix)),
            Self::Dns1035Label { prefix } => label_1035(&masked(text, prefix)),
            Self::QualifiedName => qualified_name(text),
            Self::LabelValue => label_value(text),
            Self::Uri => Url::parse_request(text).err().into_iter().collect(),
            Self::Uuid => unless(is_uuid(text), "does not match the UUID format"),
            Self::Byte => unless(is_base64(text), "invalid base64"),
            Self::Date => unless(is_date(text), "invalid date"),
            Self::Datetime => unless(is_datetime(text), "invalid datetime"),
        }
    }
}

fn unless(fits: bool, complaint: &str) -> Vec<String> {
    if fits { Vec::new() } else { vec![complaint.to_owned()] }
}

/// The text with a dash at the end replaced, for prefixes.
fn masked(text: &str, prefix: bool) -> String {
    match text.strip_suffix('-') {
        Some(rest) if prefix && !rest.is_empty() => {
            let mut kept = rest.chars();
            kept.next_back();
            format!("{}a", kept.as_str())
        }
        _ => text.to_owned(),
    }
}

const LABEL_1123: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_1123: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const LABEL_KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether the first and last byte are of one kind and those between of another.
fn framed(text: &str, first: fn(u8) -> bool, middle: fn(u8) -> bool, last: fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [only] => first(*only) && last(*only),
        [start, between @ .., end] => {
            first(*start) && between.iter().all(|byte| middle(*byte)) && last(*end)
        }
        [] => false,
    }
}

fn is_label_1123(text: &str) -> bool {
    framed(text, is_lower, |byte| is_lower(byte) || byte == b'-', is_lower)
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label_1123)
}

fn is_label_key(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric();
    framed(text, letter, |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte), letter)
}

fn too_long(text: &str, most: usize, unit: &str) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} {unit}"))
}

fn regex_complaint(complaint: &str, examples: &[&str], regex: &str) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{complaint} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn label_1123(text: &str) -> Vec<String> {
    let mut complaints: Vec<String> = too_long(text, 63, "characters").into_iter().collect();
    if !is_label_1123(text) {
        complaints.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            regex_complaint(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character",
                &["my-name", "123-abc"],
                LABEL_1123,
            )
        });
    }
    complaints
}

fn subdomain(text: &str) -> Vec<String> {
    let mut complaints: Vec<String> = too_long(text, 253, "characters").into_iter().collect();
    if !is_subdomain(text) {
        complaints.push(regex_complaint(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character",
            &["example.com"],
            SUBDOMAIN_1123,
        ));
    }
    complaints
}

fn label_1035(text: &str) -> Vec<String> {
    let mut complaints: Vec<String> = too_long(text, 63, "characters").into_iter().collect();
    if !framed(
        text,
        |byte| byte.is_ascii_lowercase(),
        |byte| is_lower(byte) || byte == b'-',
        is_lower,
    ) {
        complaints.push(regex_complaint(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            &["my-name", "abc-123"],
            LABEL_1035,
        ));
    }
    complaints
}

const LABEL_KEY_COMPLAINT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

fn qualified_name(text: &str) -> Vec<String> {
    let name_complaint =
        || regex_complaint(LABEL_KEY_COMPLAINT, &["MyName", "my.name", "123-abc"], LABEL_KEY);
    let mut complaints = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".to_owned());
            } else {
                complaints.extend(
                    content_subdomain(prefix).map(|complaint| format!("prefix part {complaint}")),
                );
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                name_complaint()
            )];
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else {
        complaints
            .extend(too_long(name, 63, "bytes").map(|complaint| format!("name part {complaint}")));
    }
    if !is_label_key(name) {
        complaints.push(format!("name part {}", name_complaint()));
    }
    complaints
}

/// The subdomain check of the newer package, which counts bytes by that name.
fn content_subdomain(text: &str) -> impl Iterator<Item = String> {
    subdomain(text).into_iter().map(|complaint| complaint.replace("253 characters", "253 bytes"))
}

fn label_value(text: &str) -> Vec<String> {
    let mut complaints: Vec<String> = too_long(text, 63, "bytes").into_iter().collect();
    if !text.is_empty() && !is_label_key(text) {
        complaints.push(regex_complaint(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character",
            &["MyValue", "my_value", "12345"],
            &format!("({LABEL_KEY})?"),
        ));
    }
    complaints
}

/// 8-4-4-4-12 hexadecimal digits; each dash may be missing.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (index, count) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((digits, after)) = rest.split_at_checked(count) else { return false };
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn is_base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/\\".contains(&byte);
    !text.is_empty() && text.len().is_multiple_of(4) && padding <= 2 && data.bytes().all(letter)
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_ok() || is_year_zero(text)
}

/// Go reads the year 0000, which no timestamp of CEL may have.
fn is_year_zero(text: &str) -> bool {
    text.len() == 10
        && text
            .strip_prefix("0000")
            .is_some_and(|rest| Timestamp::parse(&format!("2000{rest}T00:00:00Z")).is_ok())
}

fn is_datetime(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    text.len() >= 4 && is_date(date) && is_time(time).unwrap_or(false)
}

/// `hh:mm:ss`, a fraction behind any character, then `z` or an offset.
fn is_time(text: &str) -> Option<bool> {
    let (clock, rest) = text.split_at_checked(8)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut fields = clock.split(':');
    let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
    let is_clock = [hour, minute, second].iter().all(|field| field.len() == 2 && digits(field));
    let offset = |text: &str| {
        text == "z"
            || text.strip_prefix(['+', '-']).and_then(|rest| rest.split_once(':')).is_some_and(
                |(hours, minutes)| {
                    hours.len() == 2 && minutes.len() == 2 && digits(hours) && digits(minutes)
                },
            )
    };
    let mut after = rest.chars();
    after.next();
    let fraction = after.as_str();
    let behind = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    let has_fraction = behind.len() < fraction.len() && offset(behind);
    Some(
        is_clock
            && hour <= "23"
            && minute <= "59"
            && second <= "59"
            && (offset(rest) || has_fraction),
    )
}
