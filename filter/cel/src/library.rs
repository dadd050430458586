//! The functions of kube-apiserver's environment: a file a library, in each a table with a row for each overload.

use std::{collections::HashMap, sync::LazyLock};

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
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for row in TABLES.into_iter().flatten() {
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
});

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The reference program prints what kube-apiserver's environment declares, by name, and macros and types besides.
    #[test]
    fn the_rows_are_kube_apiservers() {
        let printed = include_str!("../../../tests/conformance/cel/signatures.txt");
        let printed: Vec<&str> = printed.lines().filter(|line| line.contains(" -> ")).collect();
        let mut rows: Vec<&Row> = TABLES.into_iter().flatten().collect();
        rows.sort_by_key(|row| row.name);
        let line = |row: &&Row| format!("{} {} {}", row.name, row.id, row.signature);
        assert_eq!(rows.iter().map(line).collect::<Vec<_>>(), printed);
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
        for function in FUNCTIONS.values() {
            let whole = |overload: &&Overload| matches!(overload.row.code, Code::Function(_));
            let count = function.overloads.iter().filter(whole).count();
            assert!(count == 0 || count == function.overloads.len(), "{}", function.name);
        }
    }
}
