//! Kubernetes' library of named formats. Source: k8s.io/apiserver, `pkg/cel/library/format.go`.

#![expect(clippy::unnecessary_wraps, reason = "the code of all functions has one shape")]

use crate::{
    cost,
    error::EvalError,
    function::{
        Code,
        Cost::{ByName, One},
        Row, first, overload, row, text,
    },
    meter::Meter,
    value::{EvalResult, Value, format::NamedFormat},
};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("format.byte", "format.byte", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Byte))),
    row("format.date", "format.date", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Date))),
    row("format.datetime", "format.datetime", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Datetime))),
    row("format.dns1035Label", "format.dns1035Label", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Dns1035Label { prefix: false }))),
    row("format.dns1035LabelPrefix", "format.dns1035LabelPrefix", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Dns1035Label { prefix: true }))),
    row("format.dns1123Label", "format.dns1123Label", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Dns1123Label { prefix: false }))),
    row("format.dns1123LabelPrefix", "format.dns1123LabelPrefix", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Dns1123Label { prefix: true }))),
    row("format.dns1123Subdomain", "format.dns1123Subdomain", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Dns1123Subdomain { prefix: false }))),
    row("format.dns1123SubdomainPrefix", "format.dns1123SubdomainPrefix", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Dns1123Subdomain { prefix: true }))),
    row("format.labelValue", "format.labelValue", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::LabelValue))),
    row("format.named", "format-named", "(string) -> optional_type(kubernetes.NamedFormat)", One, overload(named)),
    row("format.qualifiedName", "format.qualifiedName", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::QualifiedName))),
    row("format.uri", "format.uri", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Uri))),
    row("format.uuid", "format.uuid", "() -> kubernetes.NamedFormat", One, overload(|_, _| constant(NamedFormat::Uuid))),
    row("validate", "format-validate", "kubernetes.NamedFormat.(string) -> optional_type(list(string))", ByName(cost::format), overload(validate)),
];

fn constant(format: NamedFormat) -> EvalResult<'static> {
    Ok(Value::Format(format))
}

/// The format that the function `format.NAME` gives.
fn named<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let id = format!("format.{}", text(arguments, 0)?);
    let Some(Row { code: Code::Overload(format), .. }) = ROWS.iter().find(|row| row.id == id)
    else {
        return Ok(Value::Optional(None));
    };
    (format.body)(meter, &[]).map(Value::some)
}

fn validate<'a>(meter: &mut Meter, arguments: &[Value<'a>]) -> EvalResult<'a> {
    let Value::Format(format) = first(arguments)? else {
        return Err(EvalError::no_such_overload());
    };
    let text = text(arguments, 1)?;
    meter.work(text.len())?;
    let complaints = format.complaints(text);
    Ok(if complaints.is_empty() {
        Value::Optional(None)
    } else {
        Value::some(Value::strings(complaints))
    })
}
