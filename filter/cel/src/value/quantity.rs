//! Kubernetes quantities. Source: k8s.io/apiserver, `pkg/cel/library/quantity.go`; k8s.io/apimachinery,
//! `pkg/api/resource`.
//!
//! Upstream keeps a quantity as 64 bits with a power of ten while it fits, else as a decimal of any length, and `isInteger`
//! tells the two apart. Both are digits with an exponent here.

use std::cmp::Ordering;

use kube_rules::{Difference, Rules};

const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NO_NUMBER: &str = "unable to parse numeric part of quantity";
const NO_SUFFIX: &str = "unable to parse quantity's suffix";

/// Powers of ten beyond which a quantity is refused: no resource has them, and digits would have to be made up.
const MOST_EXPONENT: i32 = 1_000;

/// A decimal number.
#[derive(Debug, Clone)]
pub struct Quantity {
    negative: bool,
    /// Most significant first, without leading zeros; zero has none.
    digits: Vec<u8>,
    /// The power of ten of the last digit.
    exponent: i32,
    /// Whether upstream has it in 64 bits.
    is_small: bool,
}

impl Quantity {
    /// Reads a quantity.
    ///
    /// # Errors
    /// Upstream's text.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err(WRONG_FORMAT);
        }
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let number_length = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, rest) =
            unsigned.split_at_checked(number_length(unsigned)).ok_or(WRONG_FORMAT)?;
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at_checked(number_length(rest)).ok_or(WRONG_FORMAT)?,
            None => ("", rest),
        };
        check_suffix(suffix)?;
        let has_point = rest.starts_with('.');
        let unit = Unit::of(suffix).ok_or(NO_SUFFIX)?;
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            trimmed => trimmed,
        };
        let digits = [whole, fraction].concat();
        if let Some(small) = small(negative, whole, fraction, &digits, &unit, rules) {
            return Ok(small);
        }
        if whole == "0" && fraction.is_empty() && has_point && !unsigned.starts_with('0') {
            return Err(NO_NUMBER);
        }
        Self::large(negative, &digits, fraction.len(), &unit, rules)
    }

    /// The decimal of any length, rounded up to nanos.
    fn large(
        negative: bool,
        digits: &str,
        fraction: usize,
        unit: &Unit,
        rules: Rules,
    ) -> Result<Self, &'static str> {
        let scale = i32::try_from(fraction).map_err(|_| NO_NUMBER)?;
        let digits = digits.bytes().map(|byte| byte - b'0').collect();
        let mut value = Self { negative, digits, exponent: -scale, is_small: false };
        match unit {
            Unit::Decimal(exponent) => value.exponent = value.exponent.saturating_add(*exponent),
            Unit::Binary(bits) => {
                for _ in 0..*bits / 10 {
                    value.multiply(1024);
                }
            }
        }
        let exact = rules.has(Difference::ExactFloat);
        if exact {
            value.drop_leading_zeros();
        } else {
            value.trim();
        }
        if value.exponent.abs() > MOST_EXPONENT {
            return Err(NO_NUMBER);
        }
        if !exact || value.exponent < -9 {
            value.round_up_to_nanos();
        }
        if matches!(unit, Unit::Binary(_)) {
            let most = Self::from_int(i64::MAX);
            if value.compare_magnitude(&most).is_gt() {
                value.digits = most.digits;
                value.exponent = 0;
            }
        }
        Ok(value)
    }

    /// A whole number.
    #[must_use]
    pub fn from_int(value: i64) -> Self {
        let digits = value.unsigned_abs().to_string().bytes().map(|byte| byte - b'0').collect();
        let mut quantity = Self { negative: value < 0, digits, exponent: 0, is_small: true };
        quantity.drop_leading_zeros();
        quantity
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn sign(&self) -> i64 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    /// How two quantities compare.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        match self.sign().cmp(&other.sign()) {
            Ordering::Equal if self.negative => other.compare_magnitude(self),
            Ordering::Equal => self.compare_magnitude(other),
            order => order,
        }
    }

    fn compare_magnitude(&self, other: &Self) -> Ordering {
        let length = |of: &Self| {
            if of.digits.is_empty() {
                i64::MIN
            } else {
                i64::try_from(of.digits.len())
                    .unwrap_or(i64::MAX)
                    .saturating_add(i64::from(of.exponent))
            }
        };
        length(self).cmp(&length(other)).then_with(|| {
            let longest = self.digits.len().max(other.digits.len());
            let padded = |of: &Self| {
                of.digits
                    .iter()
                    .copied()
                    .chain(std::iter::repeat(0))
                    .take(longest)
                    .collect::<Vec<u8>>()
            };
            padded(self).cmp(&padded(other))
        })
    }

    /// The value as 64 bits, if upstream has it there and it has no fraction.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        if !self.is_small || (self.exponent < 0 && !self.digits.is_empty()) {
            return if self.is_small && self.digits.is_empty() && self.exponent >= 0 {
                Some(0)
            } else {
                None
            };
        }
        let power = 10i64.checked_pow(u32::try_from(self.exponent).ok()?)?;
        self.unscaled()?.checked_mul(power)
    }

    fn unscaled(&self) -> Option<i64> {
        let magnitude = self.digits.iter().try_fold(0i128, |value, digit| {
            value.checked_mul(10).map(|value| value + i128::from(*digit))
        })?;
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    #[must_use]
    pub fn as_float(&self) -> f64 {
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let base: f64 = digits.parse().unwrap_or(0.0);
        let power: f64 = format!("1e{}", self.exponent).parse().unwrap_or(f64::INFINITY);
        let value = if self.exponent == 0 { base } else { base * power };
        if self.negative { -value } else { value }
    }

    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let (a, b) = (self.aligned(exponent)?, other.aligned(exponent)?);
        let (negative, digits) = if self.negative == other.negative {
            (self.negative, add(&a, &b))
        } else if self.compare_magnitude(other).is_ge() {
            (self.negative, subtract(&a, &b))
        } else {
            (other.negative, subtract(&b, &a))
        };
        let mut sum =
            Self { negative, digits, exponent, is_small: self.is_small && other.is_small };
        sum.drop_leading_zeros();
        if sum.is_small && sum.unscaled().is_none() {
            sum.is_small = false;
        }
        Some(sum)
    }

    /// The digits with zeros behind them down to the power of ten, which is at most the own one.
    /// The same with the other sign.
    #[must_use]
    pub fn negated(mut self) -> Self {
        self.negative = !self.negative && !self.digits.is_empty();
        self
    }

    /// How many digits it has, which is what arithmetic costs.
    #[must_use]
    pub fn length(&self) -> usize {
        self.digits.len()
    }

    fn aligned(&self, exponent: i32) -> Option<Vec<u8>> {
        let zeros = usize::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        let mut digits = self.digits.clone();
        digits.resize(digits.len() + zeros, 0);
        Some(digits)
    }

    fn multiply(&mut self, factor: u32) {
        let mut carry = 0;
        for digit in self.digits.iter_mut().rev() {
            let value = u32::from(*digit) * factor + carry;
            *digit = u8::try_from(value % 10).unwrap_or(0);
            carry = value / 10;
        }
        while carry > 0 {
            self.digits.insert(0, u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }

    fn drop_leading_zeros(&mut self) {
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        if self.digits.is_empty() {
            self.negative = false;
        }
    }

    /// Without zeros at either end.
    fn trim(&mut self) {
        self.drop_leading_zeros();
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent = self.exponent.saturating_add(1);
        }
        if self.digits.is_empty() {
            self.exponent = 0;
        }
    }

    fn round_up_to_nanos(&mut self) {
        if self.digits.is_empty() {
            return;
        }
        let surplus = usize::try_from(-9 - self.exponent.max(-9 - MOST_EXPONENT)).unwrap_or(0);
        if surplus > 0 && self.exponent < -9 {
            let kept = self.digits.len().saturating_sub(surplus);
            self.digits.truncate(kept);
            self.digits = add(&self.digits, &[1]);
            self.exponent = -9;
        }
        if let Some(digits) = self.aligned(-9) {
            self.digits = digits;
            self.exponent = -9;
        }
    }
}

/// The form in 64 bits, if upstream would choose it.
fn small(
    negative: bool,
    whole: &str,
    fraction: &str,
    digits: &str,
    unit: &Unit,
    rules: Rules,
) -> Option<Quantity> {
    let count = i32::try_from(digits.len()).ok()?;
    let most = if rules.has(Difference::NineteenDigits) { 19 } else { 18 };
    let (fits, factor, exponent) = match unit {
        Unit::Decimal(exponent) => (count <= most, 1, *exponent),
        Unit::Binary(bits) => {
            let shift = i32::try_from(*bits).ok()?;
            let room = 15 - i32::try_from(whole.len()).ok()? - shift * 3 / 10 - 1;
            (fraction.is_empty() && room >= 0, 1i64.checked_shl(*bits)?, 0)
        }
    };
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if !fits || !(-9..=MOST_EXPONENT).contains(&exponent) {
        return None;
    }
    let magnitude = digits.parse::<i128>().ok()?.checked_mul(i128::from(factor))?;
    let value = i64::try_from(if negative { -magnitude } else { magnitude }).ok()?;
    let mut quantity = Quantity::from_int(value);
    quantity.exponent = exponent;
    Some(quantity)
}

/// What the suffix multiplies by: a power of ten, or of two.
enum Unit {
    Decimal(i32),
    Binary(u32),
}

impl Unit {
    fn of(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            _ => Self::Decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
        })
    }
}

/// Letters of any unit, a sign, digits, and no more.
fn check_suffix(suffix: &str) -> Result<(), &'static str> {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if rest.bytes().all(|byte| byte.is_ascii_digit()) { Ok(()) } else { Err(WRONG_FORMAT) }
}

fn add(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let longest = a.len().max(b.len());
    let reversed = |of: &[u8]| {
        of.iter().rev().copied().chain(std::iter::repeat(0)).take(longest).collect::<Vec<u8>>()
    };
    let mut sum: Vec<u8> = reversed(a)
        .into_iter()
        .zip(reversed(b))
        .map(|(a, b)| {
            let value = a + b + carry;
            carry = value / 10;
            value % 10
        })
        .collect();
    if carry > 0 {
        sum.push(carry);
    }
    sum.reverse();
    sum
}

/// `a - b`, where `a` is at least `b`.
fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let lower = b.iter().rev().copied().chain(std::iter::repeat(0));
    let mut difference: Vec<u8> = a
        .iter()
        .rev()
        .zip(lower)
        .map(|(a, b)| {
            let b = b + borrow;
            borrow = u8::from(*a < b);
            a + 10 * borrow - b
        })
        .collect();
    difference.reverse();
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn quantities_compare_by_value() {
        for (a, b, want) in [
            ("1Gi", "1073741824", Ordering::Equal),
            ("1", "1000m", Ordering::Equal),
            ("0.5", "500m", Ordering::Equal),
            ("1e3", "1k", Ordering::Equal),
            ("-1", "1", Ordering::Less),
            ("-2", "-1", Ordering::Less),
            ("1.5Gi", "1610612736", Ordering::Equal),
            ("0.0000000001", "1n", Ordering::Equal), // rounded up
            ("9Ei", "1e30", Ordering::Less),
            ("00", "0", Ordering::Equal),
        ] {
            let [a_value, b_value] =
                [a, b].map(|text| Quantity::parse(text, Rules::default()).expect(text));
            assert_eq!(a_value.compare(&b_value), want, "{a} {b}");
        }
    }

    #[test]
    fn bad_quantities_are_refused() {
        for (text, want) in [
            ("", WRONG_FORMAT),
            ("1x", WRONG_FORMAT),
            ("1 ", WRONG_FORMAT),
            ("1Kix", WRONG_FORMAT),
            ("1KiB", WRONG_FORMAT),
            ("1ee5", NO_SUFFIX),
            ("1mm", NO_SUFFIX),
        ] {
            assert_eq!(Quantity::parse(text, Rules::default()).err(), Some(want), "{text}");
        }
    }
}
