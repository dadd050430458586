//! Empties the functions that nothing calls.
//!
//! The linker keeps what any export needs, and exports go after it. V8 compiles every body, whoever calls it. The functions
//! themselves stay, so that no number of a function changes.

use std::collections::HashSet;

use wasm_encoder::{CodeSection, Module, RawSection};
use wasmparser::{
    BinaryReaderError, ElementItems, ExternalKind, FunctionBody, Operator, OperatorsReader, Parser,
    Payload, TableInit, TypeRef,
};

/// No locals, `unreachable`, `end`.
const EMPTY: [u8; 3] = [0, 0, 0x0b];

/// The module with the bodies of what is neither exported, nor in a table, nor called by what is.
pub fn empty(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut functions = Functions::default();
    for payload in Parser::new(0).parse_all(module) {
        functions.see(payload?)?;
    }
    let alive = functions.alive()?;
    let first = functions.imported;
    let is_alive = |(number, _): &(u32, &FunctionBody<'_>)| alive.contains(number);

    let mut emptied = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if matches!(payload, Payload::CodeSectionStart { .. }) {
            let mut code = CodeSection::new();
            for body in (first..).zip(&functions.bodies) {
                code.raw(if is_alive(&body) { body.1.as_bytes() } else { &EMPTY });
            }
            emptied.section(&code);
        } else if let Some((id, range)) = payload.as_section() {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            let data = module.get(place(range.start)..place(range.end)).unwrap_or_default();
            emptied.section(&RawSection { id, data });
        }
    }
    Ok(emptied.finish())
}

/// A module's functions, by their numbers: first the imported ones.
#[derive(Default)]
struct Functions<'m> {
    imported: u32,
    bodies: Vec<FunctionBody<'m>>,
    /// What can be called from outside, or by its place in a table.
    roots: Vec<u32>,
}

impl<'m> Functions<'m> {
    fn see(&mut self, payload: Payload<'m>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let is_function =
                        matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    self.imported = self.imported.saturating_add(u32::from(is_function));
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    if let TableInit::Expr(value) = table?.init {
                        referenced(value.get_operators_reader(), &mut self.roots)?;
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    referenced(global?.init_expr.get_operators_reader(), &mut self.roots)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                        self.roots.push(export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => self.roots.push(func),
            Payload::ElementSection(section) => {
                for element in section {
                    match element?.items {
                        ElementItems::Functions(items) => {
                            for function in items {
                                self.roots.push(function?);
                            }
                        }
                        ElementItems::Expressions(_, items) => {
                            for item in items {
                                referenced(item?.get_operators_reader(), &mut self.roots)?;
                            }
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    /// The numbers of those that can be called.
    fn alive(&self) -> Result<HashSet<u32>, BinaryReaderError> {
        let mut alive = HashSet::new();
        let mut next = self.roots.clone();
        while let Some(number) = next.pop() {
            let body = number
                .checked_sub(self.imported)
                .and_then(|own| self.bodies.get(usize::try_from(own).ok()?));
            if alive.insert(number)
                && let Some(body) = body
            {
                referenced(body.get_operators_reader()?, &mut next)?;
            }
        }
        Ok(alive)
    }
}

/// The functions that these instructions name.
fn referenced(
    mut instructions: OperatorsReader<'_>,
    to: &mut Vec<u32>,
) -> Result<(), BinaryReaderError> {
    while !instructions.eof() {
        if let Operator::Call { function_index }
        | Operator::ReturnCall { function_index }
        | Operator::RefFunc { function_index } = instructions.read()?
        {
            to.push(function_index);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection, Function,
        FunctionSection, ImportSection, RefType, TableSection, TableType, TypeSection,
    };

    use super::*;

    /// Its functions: 0 is imported, 1 exported, 2 called by 1, 3 in the table, 4 called by 3 and by itself; 5 calls 6, and 6 calls 5.
    fn module(is_empty: impl Fn(u32) -> bool) -> Vec<u8> {
        let (mut types, mut imports, mut functions) =
            (TypeSection::new(), ImportSection::new(), FunctionSection::new());
        types.ty().function([], []);
        imports.import("env", "host", EntityType::Function(0));
        let (mut tables, mut exports) = (TableSection::new(), ExportSection::new());
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 1,
            maximum: None,
            shared: false,
        });
        exports.export("proxy_on_tick", ExportKind::Func, 1);
        let mut elements = ElementSection::new();
        elements.active(Some(0), &ConstExpr::i32_const(0), Elements::Functions([3][..].into()));
        let mut code = CodeSection::new();
        for (number, calls) in
            [(1, &[0, 2][..]), (2, &[]), (3, &[4]), (4, &[4]), (5, &[6]), (6, &[5])]
        {
            functions.function(0);
            let mut body = Function::new([]);
            for called in calls.iter().filter(|_| !is_empty(number)) {
                body.instructions().call(*called);
            }
            if is_empty(number) {
                body.instructions().unreachable();
            }
            body.instructions().end();
            code.function(&body);
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&tables);
        module.section(&exports).section(&elements).section(&code);
        module.finish()
    }

    #[test]
    fn what_nothing_calls_is_empty() {
        let emptied = empty(&module(|_| false)).unwrap();
        assert_eq!(emptied, module(|number| number > 4));
        assert_eq!(empty(&emptied).unwrap(), emptied, "a second time changes nothing");
    }
}
