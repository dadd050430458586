//! What changed upstream between versions, a row each.

use super::Rules;

/// Something that changed. Its documentation says what holds from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Difference {
    /// Field names may stand in backquotes.
    EscapedNames,
    /// Lists and values have `includes()`.
    Includes,
    /// `or` and `orValue` want an optional.
    OptionalOr,
    /// What is selected from an optional, or kept by a literal or a macro, is the value itself and not one made anew of Go's.
    KeptValues,
    /// `lists.range` refuses negative sizes and such above a million.
    RangeBounds,
    /// The empty string is found at the offset, if that is one of the string.
    EmptySearch,
    /// `startsWith` and `endsWith` cost what their argument is long.
    AffixCost,
    /// `matches(text, expression)` costs what `text.matches(expression)` does.
    MatchesCost,
    /// `flatten` by a negative depth costs what it does by one.
    FlattenCost,
    /// There is no `duration(int)`.
    DurationOfInt,
    /// `.name` is never a macro's variable, and `name.field` is none of the environment's where a macro has a `name`.
    RootNames,
    /// There is `cidr.isMask()`.
    IsMask,
    /// What fails before a call runs costs no call, and no list or map that was to be built.
    ErrorCost,
    /// `.net.IP` is the type, whatever a macro's variable is called.
    RootTypes,
    /// Comparisons with NaN are false.
    NanOrder,
    /// Names are unescaped in macros too.
    UnescapedElements,
    /// 19 digits are a number of 64 bits, if it is one.
    NineteenDigits,
    /// `asApproximateFloat` of what does not fit in 64 bits is exact.
    ExactFloat,
    /// Errors of unknown names do not say in which container.
    NoContainer,
    /// A token is taken 5 minutes before its `nbf`.
    NotBeforeLeeway,
    /// A key set's keys are read one by one.
    KeyByKey,
    /// A key of an unknown `alg` is none.
    KeyAlgorithm,
    /// ML-DSA is known, with keys of type AKP.
    MlDsa,
}

/// A row of the table of differences.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What changed.
    pub difference: Difference,
    /// From which version on it holds.
    pub since: Rules,
    /// What holds before.
    pub before: &'static str,
    /// What holds from then on.
    pub after: &'static str,
    /// Where upstream has it.
    pub upstream: &'static str,
}

const fn row(
    difference: Difference,
    since: Rules,
    before: &'static str,
    after: &'static str,
    upstream: &'static str,
) -> Row {
    Row { difference, since, before, after, upstream }
}

/// All of them, by version.
#[rustfmt::skip]
pub const DIFFERENCES: &[Row] = &[
    row(
        Difference::EscapedNames, Rules::V1_37,
        "a backquote is refused",
        "a field's name may be in backquotes: ``claims.`kubernetes.io`.namespace``, also behind `.?`, in `has()` and for the rule about `email_verified`",
        "cel-go `parser/parser.go`",
    ),
    row(
        Difference::Includes, Rules::V1_37,
        "no `includes()`",
        "`list.includes(value)`; of a value that is not a list: whether it is equal",
        "apiserver `pkg/cel/library/lists.go`, `cost.go`",
    ),
    row(
        Difference::OptionalOr, Rules::V1_37,
        "`or` and `orValue` on a value that is not an optional give the value",
        "they are errors: `no such overload`",
        "cel-go `cel/library.go`",
    ),
    row(
        Difference::KeptValues, Rules::V1_37,
        "an optional within an optional is lost where it is selected from or chosen, a type becomes its name, and names are not unescaped there",
        "what an optional holds is kept as it is: `optMap` of an optional result is an optional of an optional",
        "cel-go `interpreter/attributes.go`",
    ),
    row(
        Difference::RangeBounds, Rules::V1_37,
        "`lists.range(-1)` is empty; a large one ends at the cost limit",
        "a negative size, or one above 1,000,000, is an error",
        "cel-go `ext/lists.go`",
    ),
    row(
        Difference::EmptySearch, Rules::V1_37,
        "`indexOf('', n)` and `lastIndexOf('', n)` are `n`, whatever it is",
        "`n` is at most the length, and an error if negative",
        "cel-go `ext/strings.go`",
    ),
    row(
        Difference::AffixCost, Rules::V1_37,
        "`startsWith` and `endsWith` cost by the text's length",
        "they cost by the argument's length",
        "cel-go `interpreter/runtimecost.go`",
    ),
    row(
        Difference::MatchesCost, Rules::V1_37,
        "`matches(text, expression)` costs one",
        "it costs what `text.matches(expression)` does",
        "cel-go `interpreter/runtimecost.go`",
    ),
    row(
        Difference::FlattenCost, Rules::V1_37,
        "a negative depth of `flatten` lowers the cost",
        "it counts as a depth of one",
        "cel-go `ext/lists.go`",
    ),
    row(
        Difference::DurationOfInt, Rules::V1_37,
        "`duration(int)` compiles and always fails",
        "it does not compile",
        "cel-go `common/stdlib/standard.go`",
    ),
    row(
        Difference::RootNames, Rules::V1_37,
        "`.name` is a macro's variable if one has the name, and `net.IP` a type though a variable is called `net`",
        "`.name` is never a macro's variable, and a macro's variable hides types that begin with its name",
        "cel-go `checker/env.go`",
    ),
    row(
        Difference::ErrorCost, Rules::V1_38,
        "a call is counted though an argument has failed, a list and a map though an element has",
        "it is not; nothing behind the first failed argument is evaluated, and the list that could not be made is empty; `[?index]` counts if it fails",
        "cel-go `interpreter/interpretable.go`, `ext/lists.go`",
    ),
    row(
        Difference::RootTypes, Rules::V1_38,
        "`.net.IP` fails at load where a macro's variable is called `net`",
        "it is the type",
        "cel-go `interpreter/planner.go`",
    ),
    row(
        Difference::ExactFloat, Rules::V1_38,
        "`asApproximateFloat` of a quantity beyond 64 bits goes by billionths",
        "it goes by the digits",
        "apimachinery `pkg/api/resource/quantity.go`",
    ),
    row(
        Difference::IsMask, Rules::V1_38,
        "no `isMask()`",
        "`cidr.isMask()`: whether no bit of the address is beyond the prefix",
        "apiserver `pkg/cel/library/cidr.go`",
    ),
    row(
        Difference::NanOrder, Rules::V1_38,
        "an order with NaN is an error: `NaN values cannot be ordered`",
        "it is false",
        "cel-go `common/types/double.go`",
    ),
    row(
        Difference::UnescapedElements, Rules::V1_38,
        "a macro's variable has names as they are",
        "`__dot__` and its like are unescaped in what a macro's variable holds, too",
        "cel-go `interpreter/interpretable.go`",
    ),
    row(
        Difference::NineteenDigits, Rules::V1_38,
        "a quantity of 19 digits is not an integer",
        "it is one if it fits in 64 bits",
        "apimachinery `pkg/api/resource/quantity.go`",
    ),
    row(
        Difference::NoContainer, Rules::V1_38,
        "`undeclared reference to 'x' (in container '')`",
        "`undeclared reference to 'x'`",
        "cel-go `checker/errors.go`",
    ),
    row(
        Difference::NotBeforeLeeway, Rules::V1_38,
        "a token is taken from a minute before its `nbf`",
        "from 5 minutes before",
        "go-oidc v3 `oidc/verify.go`",
    ),
    row(
        Difference::KeyByKey, Rules::V1_38,
        "a key of an unknown type or curve spoils its set (not here)",
        "it is skipped; a broken one of a known type spoils the set on (not here)",
        "go-oidc v3 `oidc/jwks.go`",
    ),
    row(
        Difference::KeyAlgorithm, Rules::V1_38,
        "the `alg` of a key is not looked at",
        "a key with an `alg` that is not known (`\"alg\": \"RSA\"`) is skipped",
        "go-oidc v3 `oidc/jwks.go`, dexidp/dex#5016",
    ),
    row(
        Difference::MlDsa, Rules::V1_38,
        "ML-DSA is not an algorithm, and AKP not a type of key",
        "ML-DSA-44, -65 and -87 are algorithms (RFC 9964). Upstream takes them with keys that it is given, and drops such keys of an issuer's key set; here these count",
        "apiserver `plugin/pkg/authenticator/token/oidc/oidc.go`, go-oidc v3 `oidc/jwks.go`",
    ),
];

/// Since when each holds, by its number: what is asked for each request neither searches the table nor keeps its texts.
const SINCE: [Rules; DIFFERENCES.len()] = {
    let mut since = [Rules::V1_38; DIFFERENCES.len()];
    let mut rows = DIFFERENCES;
    while let [row, rest @ ..] = rows {
        since[row.difference as usize] = row.since;
        rows = rest;
    }
    since
};

impl Difference {
    /// The version from which on it holds.
    #[must_use]
    pub fn since(self) -> Rules {
        SINCE.get(self as usize).copied().unwrap_or(Rules::V1_38)
    }

    /// Its row of the table.
    #[must_use]
    pub fn row(self) -> &'static Row {
        const NONE: Row = row(Difference::NoContainer, Rules::V1_38, "", "", "");
        // A test finds a row for each.
        DIFFERENCES.iter().find(|row| row.difference == self).unwrap_or(&NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn each_difference_has_one_row_and_rows_are_in_order() {
        for row in DIFFERENCES {
            let same = DIFFERENCES.iter().filter(|other| other.difference == row.difference);
            assert_eq!(same.count(), 1, "{:?}", row.difference);
            assert!(row.since > Rules::V1_36, "{:?} is no difference", row.difference);
            assert_eq!(row.difference.since(), row.since, "{:?}", row.difference);
        }
        assert!(DIFFERENCES.is_sorted_by_key(|row| row.since));
        // Numbers that are all there leave no difference without a row.
        let mut numbers: Vec<_> = DIFFERENCES.iter().map(|row| row.difference as usize).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..DIFFERENCES.len()));
    }
}
