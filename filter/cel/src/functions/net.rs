//! IP addresses and networks. Source: k8s.io/apiserver, `pkg/cel/library/ip.go` and `cidr.go`.

use std::net::IpAddr;

use go_compat::netip::{self, Prefix};
use go_compat::strconv::quote;

use super::{Body, first, text, two};
use crate::error::EvalError;
use crate::value::Value;

pub const OVERLOADS: &[(&str, Body)] = &[
    ("string_to_ip", |_, args| ip(text(args, 0)?).map(Value::Ip)),
    ("is_ip", |_, args| Ok(Value::Bool(ip(text(args, 0)?).is_ok()))),
    ("ip_is_canonical", |_, args| {
        let text = text(args, 0)?;
        ip(text).map(|address| Value::Bool(address.to_string() == text))
    }),
    ("ip_family", |_, args| {
        of_ip(args, |address| Value::Int(if address.is_ipv4() { 4 } else { 6 }))
    }),
    ("ip_is_unspecified", |_, args| of_ip(args, |address| Value::Bool(address.is_unspecified()))),
    ("ip_is_loopback", |_, args| of_ip(args, |address| Value::Bool(address.is_loopback()))),
    ("ip_is_link_local_multicast", |_, args| {
        of_ip(args, |address| Value::Bool(is_link_local_multicast(address)))
    }),
    ("ip_is_link_local_unicast", |_, args| {
        of_ip(args, |address| Value::Bool(is_link_local_unicast(address)))
    }),
    ("ip_is_global_unicast", |_, args| {
        of_ip(args, |address| Value::Bool(is_global_unicast(address)))
    }),
    ("string_to_cidr", |_, args| cidr(text(args, 0)?).map(Value::Cidr)),
    ("is_cidr", |_, args| Ok(Value::Bool(cidr(text(args, 0)?).is_ok()))),
    ("cidr_contains_ip_string", |_, args| {
        // Upstream loses why the text is no address.
        let address = ip(text(args, 1)?).map_err(|_| EvalError::no_such_overload())?;
        of_cidr(args, |network| Value::Bool(network.contains(address)))
    }),
    ("cidr_contains_ip_ip", |_, args| match two(args)? {
        (Value::Cidr(network), Value::Ip(address)) => Ok(Value::Bool(network.contains(*address))),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("cidr_contains_cidr_string", |_, args| {
        let inner = cidr(text(args, 1)?)?;
        of_cidr(args, |network| Value::Bool(network.includes(inner)))
    }),
    ("cidr_contains_cidr", |_, args| match two(args)? {
        (Value::Cidr(network), Value::Cidr(inner)) => Ok(Value::Bool(network.includes(*inner))),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("cidr_ip", |_, args| of_cidr(args, |network| Value::Ip(network.address()))),
    ("cidr_prefix_length", |_, args| {
        of_cidr(args, |network| Value::Int(i64::from(network.bits())))
    }),
    ("cidr_masked", |_, args| of_cidr(args, |network| Value::Cidr(network.masked()))),
];

type Answer<'a> = Result<Value<'a>, EvalError>;

fn of_ip<'a>(arguments: &[Value<'a>], answer: fn(IpAddr) -> Value<'static>) -> Answer<'a> {
    match first(arguments)? {
        Value::Ip(address) => Ok(answer(*address)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn of_cidr<'a>(arguments: &[Value<'a>], answer: impl Fn(Prefix) -> Value<'static>) -> Answer<'a> {
    match first(arguments)? {
        Value::Cidr(network) => Ok(answer(*network)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => {
            address.segments().first().is_some_and(|first| first & 0xff0f == 0xff02)
        }
    }
}

fn is_link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80)
        }
    }
}

fn is_global_unicast(address: IpAddr) -> bool {
    !(matches!(address, IpAddr::V4(address) if address.is_broadcast())
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local_unicast(address))
}

fn ip(text: &str) -> Result<IpAddr, EvalError> {
    match netip::parse_addr(text) {
        Err(why) => Err(EvalError::new(format!(
            "IP Address {} parse error during conversion from string: {why}",
            quote(text)
        ))),
        Ok((_, true)) => Err(EvalError::new(format!(
            "IP address {} with zone value is not allowed",
            quote(text)
        ))),
        Ok((address, _)) if is_mapped(address) => {
            Err(EvalError::new(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))))
        }
        Ok((address, _)) => Ok(address),
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn cidr(text: &str) -> Result<Prefix, EvalError> {
    // The phrase stands there twice: once of the function, once of its parser.
    const PHRASE: &str = "network address parse error during conversion from string";
    let network =
        Prefix::parse(text).map_err(|why| EvalError::new(format!("{PHRASE}: {PHRASE}: {why}")))?;
    if is_mapped(network.address()) {
        let text = quote(text);
        return Err(EvalError::new(format!(
            "{PHRASE}: IPv4-mapped IPv6 address {text} is not allowed"
        )));
    }
    Ok(network)
}
