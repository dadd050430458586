//! Values of expressions. Those of claims are borrowed from the token's JSON and never copied before they must be.
//!
//! Source: cel-go v0.26, `common/types`, and the value wrappers of kube-apiserver's oidc plugin.

pub mod compare;
pub mod display;
pub mod format;
pub mod list;
pub mod map;
pub mod quantity;
pub mod request;
pub mod semver;
pub mod timestamp;
mod zones;

use std::{borrow::Cow, cmp::Ordering, net::IpAddr, sync::Arc};

use go_compat::{json, netip::Prefix, url::Url};

use self::{
    format::NamedFormat, list::List, map::Map, quantity::Quantity, semver::Semver,
    timestamp::Timestamp,
};
use crate::error::EvalError;

/// A value, or why there is none.
pub type EvalResult<'a> = Result<Value<'a>, EvalError>;

/// The result of an expression or of a part of it.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// JSON's null.
    Null,
    /// true or false.
    Bool(bool),
    /// 64 bits with a sign.
    Int(i64),
    /// 64 bits without a sign.
    Uint(u64),
    /// Every number of a token.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Octets.
    Bytes(Arc<[u8]>),
    /// Values in a row.
    List(List<'a>),
    /// Values by their keys.
    Map(Map<'a>),
    /// A point in time, to the nanosecond.
    Timestamp(Timestamp),
    /// Nanoseconds.
    Duration(i64),
    /// The type of a value, by its name.
    Type(Cow<'static, str>),
    /// A value that may be missing.
    Optional(Option<Arc<Value<'a>>>),
    /// An IP address without a zone.
    Ip(IpAddr),
    /// A block of addresses.
    Cidr(Prefix),
    /// A URL.
    Url(Arc<Url>),
    /// An amount as Kubernetes writes resources.
    Quantity(Arc<Quantity>),
    /// A semantic version.
    Semver(Arc<Semver>),
    /// One of the named formats.
    Format(NamedFormat),
}

/// A string, borrowed where it stands in the token or the expression's own data.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// In the token, or in the expression.
    Borrowed(&'a str),
    /// Made by an expression.
    Shared(Arc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// What a type of value can do; upstream asks this before it calls an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trait {
    Adder,
    Comparer,
    Container,
    Divider,
    Indexer,
    Iterable,
    Lister,
    Matcher,
    Modder,
    Multiplier,
    Negator,
    Receiver,
    Sizer,
    Subtractor,
}

impl<'a> Value<'a> {
    /// A string of its own.
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    /// A list of its own.
    #[must_use]
    pub fn list(items: Vec<Value<'a>>) -> Self {
        Self::List(List::new(items))
    }

    /// A list of strings that a function made.
    pub fn strings<S: Into<Arc<str>>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::List(List::native(items.into_iter().map(Value::string).collect()))
    }

    /// An optional that holds the value.
    #[must_use]
    pub fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// What a part of a claim is. `unescapes` says whether field names below it are unescaped when they are looked up.
    ///
    /// Numbers are doubles, as Go decodes them; one out of a double's range was refused with its claim.
    #[must_use]
    pub fn from_json(value: &'a json::Node<'a>, unescapes: bool) -> Self {
        match value {
            json::Node::Null => Self::Null,
            json::Node::Bool(value) => Self::Bool(*value),
            json::Node::Number(number) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            json::Node::String(text) => Self::String(Text::Borrowed(text)),
            json::Node::Array(items) => Self::List(List::Json { items, unescapes }),
            json::Node::Object(object) => Self::Map(Map::Json { object, unescapes }),
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The name of the value's type.
    #[must_use]
    pub fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(map) => map.type_name(),
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
        })
    }

    /// Go's name for the implementation, which stands in a few messages.
    #[must_use]
    pub fn go_type(&self) -> &'static str {
        match self {
            Self::Null => "types.Null",
            Self::Bool(_) => "types.Bool",
            Self::Int(_) => "types.Int",
            Self::Uint(_) => "types.Uint",
            Self::Double(_) => "types.Double",
            Self::String(_) => "types.String",
            Self::Bytes(_) => "types.Bytes",
            Self::List(list) if list.is_wrapped() => "*oidc.unescapeLister",
            Self::List(_) => "*types.baseList",
            Self::Map(map) if map.is_wrapped() => "*oidc.unescapeMapper",
            Self::Map(_) => "*types.baseMap",
            Self::Timestamp(_) => "types.Timestamp",
            Self::Duration(_) => "types.Duration",
            Self::Type(_) => "*types.Type",
            Self::Optional(_) => "*types.Optional",
            Self::Ip(_) => "cel.IP",
            Self::Cidr(_) => "cel.CIDR",
            Self::Url(_) => "cel.URL",
            Self::Quantity(_) => "cel.Quantity",
            Self::Semver(_) => "cel.Semver",
            Self::Format(_) => "cel.Format",
        }
    }

    /// Whether values of this type have the trait.
    #[must_use]
    pub fn has(&self, wanted: Trait) -> bool {
        use Trait::{
            Adder, Comparer, Container, Divider, Indexer, Iterable, Lister, Matcher, Modder,
            Multiplier, Negator, Receiver, Sizer, Subtractor,
        };
        let traits: &[Trait] = match self {
            Self::Bool(_) => &[Comparer, Negator],
            Self::Int(_) => &[Adder, Comparer, Divider, Modder, Multiplier, Negator, Subtractor],
            Self::Uint(_) => &[Adder, Comparer, Divider, Modder, Multiplier, Subtractor],
            Self::Double(_) => &[Adder, Comparer, Divider, Multiplier, Negator, Subtractor],
            Self::String(_) => &[Adder, Comparer, Matcher, Receiver, Sizer],
            Self::Bytes(_) => &[Adder, Comparer, Sizer],
            Self::List(_) => &[Adder, Container, Indexer, Iterable, Lister, Sizer],
            Self::Map(map) if map.is_variable() => &[Indexer, Iterable],
            Self::Map(_) => &[Container, Indexer, Iterable, Sizer],
            Self::Timestamp(_) => &[Adder, Comparer, Receiver, Subtractor],
            Self::Duration(_) => &[Adder, Comparer, Negator, Receiver, Subtractor],
            _ => &[],
        };
        traits.contains(&wanted)
    }

    /// How much the cost model says there is of it: characters, bytes, elements, entries; 1 for the rest.
    #[must_use]
    pub fn size(&self) -> u64 {
        let size = match self {
            Self::String(text) if text.is_ascii() => text.len(),
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Ip(ip) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Cidr(cidr) => usize::from(cidr.bits()).div_ceil(8),
            _ => 1,
        };
        size as u64
    }

    /// Whether it is the zero of its type, for `optional.ofNonZeroValue`.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            // What unescapes does not say that it is empty, as upstream.
            Self::List(list) => !list.is_wrapped() && list.is_empty(),
            Self::Map(map) => !map.is_variable() && !map.is_wrapped() && map.len() == 0,
            Self::Timestamp(time) => time.is_zero(),
            _ => false,
        }
    }

    /// How two numbers compare, whatever their types. `None` if one is not a number, or NaN.
    pub fn compare_numbers(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
            (Self::Double(a), Value::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Double(a), Value::Int(b)) => compare_double_int(*a, *b),
            (Self::Int(a), Value::Double(b)) => compare_double_int(*b, *a).map(Ordering::reverse),
            (Self::Double(a), Value::Uint(b)) => compare_double_uint(*a, *b),
            (Self::Uint(a), Value::Double(b)) => compare_double_uint(*b, *a).map(Ordering::reverse),
            _ => None,
        }
    }
}

/// Beyond an `int`'s range the double decides, within it the integer is rounded to a double, as upstream.
#[expect(clippy::cast_precision_loss, reason = "the rounding is upstream's")]
fn compare_double_int(a: f64, b: i64) -> Option<Ordering> {
    match () {
        () if a < i64::MIN as f64 => Some(Ordering::Less),
        () if a > i64::MAX as f64 => Some(Ordering::Greater),
        () => a.partial_cmp(&(b as f64)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the rounding is upstream's")]
fn compare_double_uint(a: f64, b: u64) -> Option<Ordering> {
    match () {
        () if a < 0.0 => Some(Ordering::Less),
        () if a > u64::MAX as f64 => Some(Ordering::Greater),
        () => a.partial_cmp(&(b as f64)),
    }
}
