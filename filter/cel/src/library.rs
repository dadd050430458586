//! The functions of kube-apiserver's environment: a file a library, in each a table with a row for each overload.

use std::{collections::HashMap, sync::LazyLock};

use kube_rules::Rules;

use crate::{
    cost::Count,
    function::{Code, Cost, Implementation, Row},
    types::{Signature, Type},
};

mod authorizer;
mod convert;
mod format;
pub mod format_string;
mod lists;
pub mod maps;
mod net;
mod operators;
mod optionals;
mod quantity;
mod regex;
mod semver;
mod sets;
mod strings;
mod times;
mod url;

/// All tables. Overloads of one name are tried in the order in which they stand here.
const TABLES: [&[Row]; 16] = [
    operators::ROWS,
    convert::ROWS,
    lists::ROWS,
    strings::ROWS,
    regex::ROWS,
    maps::ROWS,
    optionals::ROWS,
    sets::ROWS,
    times::ROWS,
    net::ROWS,
    url::ROWS,
    quantity::ROWS,
    semver::ROWS,
    format::ROWS,
    format_string::ROWS,
    authorizer::ROWS,
];

/// One overload of a function.
#[derive(Debug)]
pub struct Overload {
    pub row: &'static Row,
    /// Called on a target, which is the first argument.
    pub member: bool,
    pub arguments: Vec<Type>,
    pub result: Type,
}

impl Overload {
    /// The code of this overload alone.
    pub fn implementation(&self) -> Option<Implementation> {
        match self.row.code {
            Code::Overload(implementation) => Some(implementation),
            Code::Evaluator | Code::Authorizer | Code::Function(_) => None,
        }
    }

    /// How a call of it is counted, unless it is a unit.
    pub fn cost(&self) -> Option<Count> {
        match self.row.cost {
            Cost::One => None,
            Cost::ByOverload(count) | Cost::ByName(count) => Some(count),
        }
    }
}

/// All overloads of one name.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
}

impl Function {
    /// What runs for every overload, where upstream binds the function as a whole.
    pub fn implementation(&self) -> Option<Implementation> {
        match self.overloads.first()?.row.code {
            Code::Function(implementation) => Some(implementation),
            Code::Evaluator | Code::Authorizer | Code::Overload(_) => None,
        }
    }

    /// How a call is counted whose overload is not known before it runs, unless it is a unit.
    pub fn cost(&self) -> Option<Count> {
        self.overloads.iter().find_map(|overload| match overload.row.cost {
            Cost::ByName(count) => Some(count),
            Cost::One | Cost::ByOverload(_) => None,
        })
    }
}

/// The function of that name.
pub fn function(name: &str, rules: Rules) -> Option<&'static Function> {
    functions(rules).get(name)
}

type Functions = HashMap<&'static str, Function>;

/// All functions of a version. Only versions that somebody asks for are made.
fn functions(rules: Rules) -> &'static Functions {
    static V1_36: LazyLock<Functions> = LazyLock::new(|| make(Rules::V1_36));
    static V1_37: LazyLock<Functions> = LazyLock::new(|| make(Rules::V1_37));
    static V1_38: LazyLock<Functions> = LazyLock::new(|| make(Rules::V1_38));
    match rules {
        Rules::V1_36 => &V1_36,
        Rules::V1_37 => &V1_37,
        Rules::V1_38 => &V1_38,
    }
}

/// The rows of a version, by table.
fn rows(rules: Rules) -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flatten().filter(move |row| row.is_part_of(rules))
}

fn make(rules: Rules) -> Functions {
    let mut functions = Functions::new();
    for row in rows(rules) {
        // A test reads every signature.
        let Some(Signature { member, arguments, result }) = Signature::read(row.signature) else {
            continue;
        };
        functions
            .entry(row.name)
            .or_insert_with(|| Function { name: row.name, overloads: Vec::new() })
            .overloads
            .push(Overload { row, member, arguments, result });
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The reference program prints what kube-apiserver's environment declares, by name, and macros and types besides.
    #[test]
    fn the_rows_are_kube_apiservers() {
        const BASE: &str = include_str!("../../../tests/conformance/cel/signatures.txt");
        /// Lines that a version has and the one before has not, and the other way round.
        const CHANGES: [(Rules, &str); 2] = [
            (Rules::V1_37, include_str!("../../../tests/conformance/cel/signatures-1.37.txt")),
            (Rules::V1_38, include_str!("../../../tests/conformance/cel/signatures-1.38.txt")),
        ];
        for rules in Rules::ALL {
            let mut printed: Vec<&str> = BASE.lines().collect();
            for (_, changes) in CHANGES.into_iter().filter(|(since, _)| *since <= rules) {
                for change in changes.lines() {
                    match change.split_at(1) {
                        ("-", gone) => printed.retain(|line| *line != gone),
                        (_, new) => printed.push(new),
                    }
                }
            }
            printed.retain(|line| line.contains(" -> "));
            printed.sort_unstable();
            let rows: Vec<&Row> = rows(rules).collect();
            let line = |row: &&Row| format!("{} {} {}", row.name, row.id, row.signature);
            let mut rows: Vec<String> = rows.iter().map(line).collect();
            rows.sort_unstable();
            assert_eq!(rows, printed, "{rules}");
        }
    }

    #[test]
    fn every_signature_is_read() {
        for row in TABLES.into_iter().flatten() {
            let signature = Signature::read(row.signature).expect(row.signature);
            assert!(row.signature.ends_with(&format!("-> {}", signature.result)), "{}", row.id);
        }
    }

    #[test]
    fn rows_of_one_name_agree_on_what_upstream_binds_to_the_name() {
        for function in Rules::ALL.into_iter().flat_map(|rules| functions(rules).values()) {
            let whole = |overload: &&Overload| matches!(overload.row.code, Code::Function(_));
            let count = function.overloads.iter().filter(whole).count();
            assert!(count == 0 || count == function.overloads.len(), "{}", function.name);
        }
    }
}
