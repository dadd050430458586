//! What of a file is not portable: refused by one version of Kubernetes and taken by another, or taken to mean something else.

use std::fmt;

use apiserver_cel::Environment;
use kube_rules::{Difference, Rules};

use super::{ConfigErrors, LoadOptions, load_yaml, raw};

/// Something that one version makes something else of than another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The field.
    pub path: String,
    /// What is different.
    pub problem: Problem,
}

/// A way not to be portable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Some refuse it, in these words, and some do not.
    Refused {
        /// Who refuses it.
        by: Vec<Rules>,
        /// The error, as kube-apiserver words it.
        error: String,
    },
    /// All take it, and it may mean something else to some.
    Changed {
        /// The expression.
        expression: String,
        /// What changed.
        difference: Difference,
        /// The first of the versions for which it did.
        with: Rules,
    },
}

/// What is not portable between `versions`, in the order of the file's errors and then of its expressions. Nothing if there are not two.
#[must_use]
pub fn portability(text: &[u8], options: &LoadOptions, versions: &[Rules]) -> Vec<Finding> {
    let loaded: Vec<_> = versions
        .iter()
        .map(|rules| (*rules, load_yaml(text, &LoadOptions { rules: *rules, ..options.clone() })))
        .collect();
    let mut findings: Vec<Finding> = Vec::new();
    for (_, result) in &loaded {
        for error in result.as_ref().err().into_iter().flat_map(ConfigErrors::iter) {
            // Versions differ in the words of one error.
            let (path, text) = (error.path(), error.to_string());
            let by: Vec<_> = loaded
                .iter()
                .filter(|(_, result)| {
                    let errors = result.as_ref().err().into_iter();
                    errors.flat_map(ConfigErrors::iter).any(|other| match path {
                        Some(path) => other.path() == Some(path),
                        None => other.to_string() == text,
                    })
                })
                .map(|(rules, _)| *rules)
                .collect();
            let path = path.unwrap_or_default().to_owned();
            if by.len() < loaded.len() && !findings.iter().any(|known| known.path == path) {
                findings.push(Finding { path, problem: Problem::Refused { by, error: text } });
            }
        }
    }
    let configuration = loaded.iter().find_map(|(_, result)| result.as_ref().ok());
    let expressions = configuration.map(|loaded| expressions(loaded.raw())).unwrap_or_default();
    for (path, expression, environment) in expressions {
        for difference in apiserver_cel::depends_on(&expression, environment) {
            let oldest = versions.iter().min();
            let with = versions.iter().find(|rules| rules.has(difference));
            let Some(with) = with.filter(|_| oldest.is_some_and(|rules| !rules.has(difference)))
            else {
                continue;
            };
            let path = path.clone();
            if findings.iter().any(|known| known.path == path) {
                continue;
            }
            let problem =
                Problem::Changed { expression: expression.clone(), difference, with: *with };
            findings.push(Finding { path, problem });
        }
    }
    findings
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Refused { by, error } => {
                let by: Vec<_> = by.iter().map(|rules| rules.as_str()).collect();
                write!(f, "not portable: refused by the rules of {}: {error}", by.join(" and "))
            }
            Problem::Changed { expression, difference, with } => {
                let row = difference.row();
                write!(
                    f,
                    "not portable: {}: {expression:?} may mean something else from {with} on: before, {}; then, {}",
                    self.path, row.before, row.after
                )
            }
        }
    }
}

/// Paths and expressions, as they stand in the file.
fn expressions(raw: &raw::AuthenticationConfiguration) -> Vec<(String, String, Environment)> {
    let mut found = Vec::new();
    for (index, jwt) in raw.jwt.iter().enumerate() {
        let at = format!("jwt[{index}]");
        let rules = jwt.claim_validation_rules.iter().enumerate();
        found.extend(rules.map(|(i, rule)| {
            let path = format!("{at}.claimValidationRules[{i}].expression");
            (path, rule.expression.clone(), Environment::Claims)
        }));
        let mappings = &jwt.claim_mappings;
        let claims = [
            ("username", &mappings.username.expression),
            ("groups", &mappings.groups.expression),
            ("uid", &mappings.uid.expression),
        ];
        found.extend(claims.map(|(name, expression)| {
            let path = format!("{at}.claimMappings.{name}.expression");
            (path, expression.clone(), Environment::Claims)
        }));
        found.extend(mappings.extra.iter().enumerate().map(|(i, extra)| {
            let path = format!("{at}.claimMappings.extra[{i}].valueExpression");
            (path, extra.value_expression.clone(), Environment::Claims)
        }));
        let rules = jwt.user_validation_rules.iter().enumerate();
        found.extend(rules.map(|(i, rule)| {
            let path = format!("{at}.userValidationRules[{i}].expression");
            (path, rule.expression.clone(), Environment::User)
        }));
    }
    found.retain(|(_, expression, _)| !expression.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn findings(username: &str, versions: &[Rules]) -> Vec<String> {
        let file = format!(
            r#"{{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{{
                "issuer": {{"url": "https://issuer.example", "audiences": ["a"]}},
                "claimMappings": {{"username": {{"expression": {}}}}}}}]}}"#,
            go_compat::json::quote(username)
        );
        let findings = portability(file.as_bytes(), &LoadOptions::default(), versions);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_portable_is_named_by_path_and_version() {
        use Rules::{V1_36, V1_37, V1_38};
        const REFUSED: &str = "not portable: refused by the rules of";
        for (expression, versions, want) in [
            ("claims.sub", &Rules::ALL[..], None),
            ("claims.sub", &[], None),
            ("claims.sub + 1", &Rules::ALL, None), // refused by all, which is another matter
            (
                "claims.`sub`",
                &[V1_36, V1_37],
                Some((REFUSED, "1.36: jwt[0].claimMappings.username")),
            ),
            ("claims.`sub`", &[V1_37, V1_38], None),
            ("claims.`sub`", &[V1_36], None),
            ("string([claims.sub].includes('a'))", &Rules::ALL, Some((REFUSED, "of 1.36: "))),
            (
                "string(cidr('10.0.0.0/8').isMask())",
                &Rules::ALL,
                Some((REFUSED, "1.36 and 1.37: jwt[0].claimMappings.username.expression: ")),
            ),
            (
                "claims.sub.orValue('x')",
                &[V1_36, V1_38],
                Some(("jwt[0].claimMappings.username.expression: ", "from 1.38 on")),
            ),
            ("claims.sub.orValue('x')", &[V1_37, V1_38], None),
            ("claims.?sub.orValue('x')", &Rules::ALL, None),
            ("string('abc'.indexOf(claims.sub, 9))", &Rules::ALL, Some(("", "from 1.37 on"))),
            ("string('abc'.indexOf('b', 9))", &Rules::ALL, None),
            ("string('abc'.indexOf(claims.sub))", &Rules::ALL, None),
            ("string(lists.range(claims.n).size())", &Rules::ALL, Some(("", "lists.range(-1)"))),
            ("string(lists.range(3).size())", &Rules::ALL, None),
            (
                "claims.?a.optMap(x, claims.?b).value().value()",
                &Rules::ALL,
                Some(("", "an optional of an optional")),
            ),
            ("claims.?a.optMap(x, string(x)).value()", &Rules::ALL, None),
            ("claims.a.b.map(x, x.c__dot__d)[0]", &Rules::ALL, Some(("", "from 1.38 on"))),
            ("claims.a__dot__b.map(x, x.c)[0]", &[V1_36], None),
            ("claims.a.b.map(x, claims.c__dot__d)[0]", &Rules::ALL, None),
            ("string(double(claims.sub) < 1.0)", &Rules::ALL, Some(("", "NaN"))),
            ("string(double(1) < 1.0)", &Rules::ALL, None),
            ("string(claims.exp < 1.0)", &Rules::ALL, None),
            ("string(quantity(claims.q).isInteger())", &Rules::ALL, Some(("", "19 digits"))),
            ("[1].map(claims, .claims.sub)[0]", &[V1_36, V1_37], Some((REFUSED, "of 1.36: "))),
            ("[{'sub': 'x'}].map(claims, .claims.sub)[0]", &[V1_36, V1_37], Some(("", "macro"))),
        ] {
            let got = findings(expression, versions);
            match (got.as_slice(), want) {
                ([], None) => {}
                ([only], Some((first, second))) => {
                    assert!(only.contains(first) && only.contains(second), "{expression}: {only}");
                }
                _ => panic!("{expression} {versions:?}: {got:?}"),
            }
        }
    }
}
