//! IP addresses and networks. Source: k8s.io/apiserver, `pkg/cel/library/ip.go` and `cidr.go`.

use std::net::IpAddr;

use go_compat::{
    netip::{self, Prefix},
    strconv::quote,
};
use kube_rules::Difference;

use crate::{
    cost,
    error::EvalError,
    function::{
        Cost::{ByName, ByOverload, One},
        Row, first, overload, row, text, two,
    },
    meter::Meter,
    value::{EvalResult, Value},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("cidr", "string_to_cidr", "(string) -> net.CIDR", ByName(cost::text), overload(|_, args| cidr(text(args, 0)?).map(Value::Cidr))),
    row("containsCIDR", "cidr_contains_cidr_string", "net.CIDR.(string) -> bool", ByOverload(cost::subnet_and_text), overload(includes_text)),
    row("containsCIDR", "cidr_contains_cidr", "net.CIDR.(net.CIDR) -> bool", ByName(cost::subnet), overload(includes)),
    row("containsIP", "cidr_contains_ip_string", "net.CIDR.(string) -> bool", ByOverload(cost::network_and_text), overload(contains_text)),
    row("containsIP", "cidr_contains_ip_ip", "net.CIDR.(net.IP) -> bool", ByName(cost::network), overload(contains)),
    row("family", "ip_family", "net.IP.() -> int", One, overload(|_, args| of_ip(args, |ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 })))),
    row("ip", "string_to_ip", "(string) -> net.IP", ByName(cost::text), overload(|_, args| ip(text(args, 0)?).map(Value::Ip))),
    row("ip", "cidr_ip", "net.CIDR.() -> net.IP", One, overload(|_, args| of_cidr(args, |network| Value::Ip(network.address())))),
    row("ip.isCanonical", "ip_is_canonical", "(string) -> bool", ByName(cost::text_twice), overload(is_canonical)),
    row("isCIDR", "is_cidr", "(string) -> bool", ByName(cost::text), overload(|_, args| Ok(Value::Bool(cidr(text(args, 0)?).is_ok())))),
    row("isGlobalUnicast", "ip_is_global_unicast", "net.IP.() -> bool", One, overload(|_, args| ip_is(args, is_global_unicast))),
    row("isIP", "is_ip", "(string) -> bool", ByName(cost::text), overload(|_, args| Ok(Value::Bool(ip(text(args, 0)?).is_ok())))),
    row("isLinkLocalMulticast", "ip_is_link_local_multicast", "net.IP.() -> bool", One, overload(|_, args| ip_is(args, is_link_local_multicast))),
    row("isLinkLocalUnicast", "ip_is_link_local_unicast", "net.IP.() -> bool", One, overload(|_, args| ip_is(args, is_link_local_unicast))),
    row("isLoopback", "ip_is_loopback", "net.IP.() -> bool", One, overload(|_, args| ip_is(args, IpAddr::is_loopback))),
    row("isMask", "cidr_is_mask", "net.CIDR.() -> bool", One, overload(|_, args| of_cidr(args, |network| Value::Bool(network == network.masked())))).since(Difference::IsMask),
    row("isUnspecified", "ip_is_unspecified", "net.IP.() -> bool", One, overload(|_, args| ip_is(args, IpAddr::is_unspecified))),
    row("masked", "cidr_masked", "net.CIDR.() -> net.CIDR", One, overload(|_, args| of_cidr(args, |network| Value::Cidr(network.masked())))),
    row("prefixLength", "cidr_prefix_length", "net.CIDR.() -> int", One, overload(|_, args| of_cidr(args, |network| Value::Int(network.bits().into())))),
];

fn is_canonical<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let text = text(arguments, 0)?;
    ip(text).map(|address| Value::Bool(address.to_string() == text))
}

fn contains_text<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    // Upstream loses why the text is no address.
    let address = ip(text(arguments, 1)?).map_err(|_| EvalError::no_such_overload())?;
    of_cidr(arguments, |network| Value::Bool(network.contains(address)))
}

fn contains<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Cidr(network), Value::Ip(address)) => Ok(Value::Bool(network.contains(*address))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn includes_text<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let inner = cidr(text(arguments, 1)?)?;
    of_cidr(arguments, |network| Value::Bool(network.includes(inner)))
}

fn includes<'a>(_: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    match two(arguments)? {
        (Value::Cidr(network), Value::Cidr(inner)) => Ok(Value::Bool(network.includes(*inner))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ip_is<'a>(arguments: &[Value<'a>], test: fn(&IpAddr) -> bool) -> EvalResult<'a> {
    of_ip(arguments, |address| Value::Bool(test(&address)))
}

fn of_ip<'a>(arguments: &[Value<'a>], answer: impl Fn(IpAddr) -> Value<'static>) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Ip(address) => Ok(answer(*address)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn of_cidr<'a>(
    arguments: &[Value<'a>],
    answer: impl Fn(Prefix) -> Value<'static>,
) -> EvalResult<'a> {
    match first(arguments)? {
        Value::Cidr(network) => Ok(answer(*network)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => {
            address.segments().first().is_some_and(|first| first & 0xff0f == 0xff02)
        }
    }
}

fn is_link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80)
        }
    }
}

fn is_global_unicast(address: &IpAddr) -> bool {
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
