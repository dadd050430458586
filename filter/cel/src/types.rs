//! Static types of expressions, and how they unify. Source: cel-go v0.26, `common/types` and `checker/types.go`.

mod signature;

use std::{collections::BTreeMap, fmt};

pub use signature::Signature;

/// A type as the checker sees it.
#[expect(clippy::enum_variant_names, reason = "the type of a type")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Anything, decided at run time.
    Dyn,
    /// `google.protobuf.Any`: as `dyn`, but no range of a comprehension. Claims have it.
    Any,
    /// What a wrong expression has, so that it is reported once.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// The type of a type.
    Type(Option<Box<Type>>),
    /// `optional_type(T)`, `net.IP`, `net.CIDR`.
    Opaque(&'static str, Vec<Type>),
    /// A type with fields, by its name: `kubernetes.Quantity` and others.
    Struct(&'static str),
    /// A type variable.
    Param(Param),
}

/// The name of `optional_type(T)`.
pub const OPTIONAL: &str = "optional_type";

/// A type variable: a letter of a signature, or one that the checker made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Param {
    /// A letter in a function's signature.
    Declared(char),
    /// Made for one call, so that two calls do not bind each other's letters.
    Fresh(u32),
}

impl Type {
    /// `list(element)`
    pub fn list(element: Type) -> Self {
        Self::List(Box::new(element))
    }

    /// `map(key, value)`
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Box::new(key), Box::new(value))
    }

    /// `optional_type(value)`
    pub fn optional(value: Type) -> Self {
        Self::Opaque(OPTIONAL, vec![value])
    }

    /// `dyn` or `any`.
    pub fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any)
    }

    fn is_dyn_or_error(&self) -> bool {
        self.is_dyn() || matches!(self, Self::Error)
    }

    /// What an optional holds and `true`, or the type itself and `false`.
    pub fn unwrap_optional(&self) -> (&Type, bool) {
        match self {
            Self::Opaque(OPTIONAL, parameters) => {
                parameters.first().map_or((self, false), |value| (value, true))
            }
            _ => (self, false),
        }
    }

    /// The name that values of the type give for themselves, which messages of the format library use.
    pub fn runtime_name(&self) -> String {
        match self {
            Self::Any => "google.protobuf.Any".to_owned(),
            Self::Error => "error".to_owned(),
            Self::Null => "null_type".to_owned(),
            Self::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            Self::List(_) => "list".to_owned(),
            Self::Map(..) => "map".to_owned(),
            Self::Type(_) => "type".to_owned(),
            Self::Opaque(name, _) | Self::Struct(name) => (*name).to_owned(),
            other => other.to_string(),
        }
    }

    /// The type with the names that values give for themselves all through: what a compiled expression says it yields.
    pub fn runtime_signature(&self) -> String {
        let parameters: Vec<String> =
            self.parameters().into_iter().map(Type::runtime_signature).collect();
        match self {
            Self::List(_) | Self::Map(..) | Self::Type(_) | Self::Opaque(..)
                if !parameters.is_empty() =>
            {
                format!("{}({})", self.runtime_name(), parameters.join(", "))
            }
            other => other.runtime_name(),
        }
    }

    fn parameters(&self) -> Vec<&Type> {
        match self {
            Self::List(element) => vec![element],
            Self::Map(key, value) => vec![key, value],
            Self::Type(Some(inner)) => vec![inner],
            Self::Opaque(_, parameters) => parameters.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether both are the same but for the names of type variables.
    pub fn is_equivalent(&self, other: &Type) -> bool {
        match (self, other) {
            (Self::Param(_), Self::Param(_)) => true,
            (Self::List(a), Self::List(b)) | (Self::Type(Some(a)), Self::Type(Some(b))) => {
                a.is_equivalent(b)
            }
            (Self::Map(a, b), Self::Map(c, d)) => a.is_equivalent(c) && b.is_equivalent(d),
            (Self::Opaque(a, p), Self::Opaque(b, q)) => {
                a == b && p.len() == q.len() && p.iter().zip(q).all(|(a, b)| a.is_equivalent(b))
            }
            _ => self == other,
        }
    }

    /// Rewrites every part of the type, innermost last: `f` may answer for a part as a whole.
    fn rewrite(&self, f: &impl Fn(&Type) -> Option<Type>) -> Type {
        if let Some(replacement) = f(self) {
            return replacement;
        }
        match self {
            Self::List(element) => Self::list(element.rewrite(f)),
            Self::Map(key, value) => Self::map(key.rewrite(f), value.rewrite(f)),
            Self::Type(Some(inner)) => Self::Type(Some(Box::new(inner.rewrite(f)))),
            Self::Opaque(name, parameters) => {
                Self::Opaque(name, parameters.iter().map(|part| part.rewrite(f)).collect())
            }
            other => other.clone(),
        }
    }

    /// The type with its declared variables replaced as `fresh` says.
    pub fn instantiate(&self, fresh: &impl Fn(char) -> Type) -> Type {
        self.rewrite(&|part| match part {
            Self::Param(Param::Declared(letter)) => Some(fresh(*letter)),
            _ => None,
        })
    }
}

/// As messages of the compiler have it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Any => f.write_str("any"),
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Type(None) => f.write_str("type"),
            Self::Type(Some(inner)) => write!(f, "type({inner})"),
            Self::Struct(name) => f.write_str(name),
            Self::Opaque(name, parameters) => {
                f.write_str(name)?;
                for (i, parameter) in parameters.iter().enumerate() {
                    write!(f, "{}{parameter}", if i == 0 { "(" } else { ", " })?;
                }
                if parameters.is_empty() { Ok(()) } else { f.write_str(")") }
            }
            Self::Param(Param::Declared(letter)) => write!(f, "{letter}"),
            Self::Param(Param::Fresh(number)) => write!(f, "_var{number}"),
        }
    }
}

/// What is known of the type variables so far.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    known: BTreeMap<Param, Type>,
    made: u32,
}

impl Bindings {
    /// A variable that nothing is known of.
    pub fn fresh(&mut self) -> Type {
        let variable = Type::Param(Param::Fresh(self.made));
        self.made += 1;
        variable
    }

    /// Whether a value of type `from` may stand where `to` is wanted. What that says of variables is kept if so.
    pub fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    /// The same for a row of types, kept only if all fit.
    pub fn all_assignable(&mut self, from: &[Type], to: &[Type]) -> bool {
        let before = self.known.clone();
        let fits = from.len() == to.len() && from.iter().zip(to).all(|(a, b)| self.unify(a, b));
        if !fits {
            self.known = before;
        }
        fits
    }

    /// The type with its variables replaced by what is known of them.
    pub fn substitute(&self, of: &Type) -> Type {
        of.rewrite(&|part| match part {
            Type::Param(variable) => self.known.get(variable).map(|known| self.substitute(known)),
            _ => None,
        })
    }

    /// The same, and `dyn` for variables that nothing is known of.
    pub fn resolve(&self, of: &Type) -> Type {
        of.rewrite(&|part| match part {
            Type::Param(variable) => {
                Some(self.known.get(variable).map_or(Type::Dyn, |known| self.resolve(known)))
            }
            _ => None,
        })
    }

    fn unify(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(variable) = b {
            match self.bind(a, *variable) {
                Bound::Fits => return true,
                Bound::KnownAsOther => return false,
                Bound::Circular => {}
            }
        }
        if let Type::Param(variable) = a {
            return matches!(self.bind(b, *variable), Bound::Fits);
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(_), Type::List(_)) | (Type::Map(..), Type::Map(..)) => {
                self.unify_parameters(a, b)
            }
            (Type::Opaque(x, _), Type::Opaque(y, _)) => x == y && self.unify_parameters(a, b),
            _ => a == b,
        }
    }

    fn unify_parameters(&mut self, a: &Type, b: &Type) -> bool {
        let (a, b) = (a.parameters(), b.parameters());
        a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| self.unify(a, b))
    }

    /// Takes `this` as the meaning of `variable` if that agrees with what is known.
    fn bind(&mut self, this: &Type, variable: Param) -> Bound {
        if *this == Type::Param(variable) {
            return Bound::Fits;
        }
        let Some(known) = self.known.get(&variable).cloned() else {
            if self.occurs(variable, this) {
                return Bound::Circular;
            }
            self.known.insert(variable, this.clone());
            return Bound::Fits;
        };
        if *this == known {
            return Bound::Fits;
        }
        if !self.unify(this, &known) {
            return Bound::KnownAsOther;
        }
        let general = most_general(this, &known).clone();
        if !self.occurs(variable, &general) {
            self.known.insert(variable, general);
        }
        Bound::Fits
    }

    /// Whether the variable is part of the type, seen through what is known.
    fn occurs(&self, variable: Param, within: &Type) -> bool {
        match within {
            Type::Param(other) if *other == variable => true,
            Type::Param(other) => {
                self.known.get(other).is_some_and(|known| self.occurs(variable, known))
            }
            _ => within.parameters().into_iter().any(|part| self.occurs(variable, part)),
        }
    }
}

enum Bound {
    Fits,
    KnownAsOther,
    /// The variable is part of the type.
    Circular,
}

fn is_nullable(of: &Type) -> bool {
    matches!(of, Type::Null | Type::Opaque(..) | Type::Struct(_) | Type::Duration | Type::Timestamp)
}

/// The more general of two types that unify.
pub fn most_general<'a>(a: &'a Type, b: &'a Type) -> &'a Type {
    if is_equal_or_less_specific(a, b) { a } else { b }
}

fn is_equal_or_less_specific(a: &Type, b: &Type) -> bool {
    if a.is_dyn() || matches!(a, Type::Param(_)) {
        return true;
    }
    if b.is_dyn() || matches!(b, Type::Param(_)) {
        return false;
    }
    let parts = |a: &Type, b: &Type| {
        let (a, b) = (a.parameters(), b.parameters());
        a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| is_equal_or_less_specific(a, b))
    };
    match (a, b) {
        (Type::Opaque(x, _), Type::Opaque(y, _)) => x == y && parts(a, b),
        (Type::List(_), Type::List(_)) | (Type::Map(..), Type::Map(..)) => parts(a, b),
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn assignability_follows_upstream() {
        let optional = Type::optional(Type::String);
        for (from, to, want) in [
            (Type::String, Type::String, true),
            (Type::String, Type::Int, false),
            (Type::Any, Type::Int, true),
            (Type::list(Type::Dyn), Type::list(Type::Int), true),
            (Type::list(Type::String), Type::list(Type::Int), false),
            (Type::Null, optional.clone(), true),
            (Type::Null, Type::String, false), // only wrappers of primitives take null, and there are none here
            (Type::Timestamp, Type::Null, true),
            (Type::Type(None), Type::Type(Some(Box::new(Type::Int))), true),
            (Type::Opaque("net.IP", Vec::new()), Type::Opaque("net.CIDR", Vec::new()), false),
        ] {
            assert_eq!(Bindings::default().assignable(&from, &to), want, "{from} to {to}");
        }
    }

    #[test]
    fn variables_take_the_most_general_type_and_never_contain_themselves() {
        let mut bindings = Bindings::default();
        let variable = bindings.fresh();
        assert!(bindings.assignable(&Type::String, &variable));
        assert!(bindings.assignable(&Type::Dyn, &variable));
        assert_eq!(bindings.resolve(&variable), Type::Dyn);

        let circular = bindings.fresh();
        assert!(!bindings.assignable(&Type::list(circular.clone()), &circular));
        assert_eq!(bindings.resolve(&Type::list(circular)), Type::list(Type::Dyn));
    }
}
