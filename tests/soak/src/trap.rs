//! A filter that can be made to crash: the real one, with a trap in front of its callback for request headers.
//!
//! The filter has no known way to crash its VM, which is as it should be. So a function is put before the callback that
//! traps (`unreachable`) when a request has more header lines than [`MOST`], and else calls it. Everything behind it is
//! the filter as it is shipped: its caches, its keys and its streams are what a crash takes away.

use anyhow::{Context, Result, bail, ensure};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, Module,
    RawSection,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// Header lines, Envoy's pseudo-headers included, that a request may have without a crash. No request of the load has
/// as many, and Envoy lets 200 through.
pub const MOST: i32 = 100;

/// The callback, which gets the context, the number of header lines and whether they are the whole request
/// (Proxy-Wasm ABI 0.2.1, `proxy_on_request_headers`).
pub const CALLBACK: &str = "proxy_on_request_headers";

/// What must be known of a module before a function can be added.
#[derive(Default)]
struct Known {
    /// Imported functions, which come first in the index of functions.
    imported: u32,
    /// The type of each function that the module defines.
    types: Vec<u32>,
    /// The callback's index.
    callback: Option<u32>,
}

/// The module with the trap.
pub fn set(module: &[u8]) -> Result<Vec<u8>> {
    let known = look(module)?;
    let callback = known.callback.with_context(|| format!("the filter has no {CALLBACK}"))?;
    let own = callback.checked_sub(known.imported).context("the callback is imported")?;
    let callback_type = *usize::try_from(own)
        .ok()
        .and_then(|own| known.types.get(own))
        .context("the callback has no type")?;
    let trap = known.imported + u32::try_from(known.types.len())?;
    let (mut changed, mut code, mut left) = (Module::new(), CodeSection::new(), 0);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::FunctionSection(_) => {
                let mut functions = FunctionSection::new();
                for index in known.types.iter().chain([&callback_type]) {
                    functions.function(*index);
                }
                changed.section(&functions);
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                for export in section.clone() {
                    let export = export?;
                    let index = if export.name == CALLBACK { trap } else { export.index };
                    exports.export(export.name, kind(export.kind)?, index);
                }
                changed.section(&exports);
            }
            Payload::CodeSectionStart { count, .. } => left = *count,
            Payload::CodeSectionEntry(entry) => {
                code.raw(entry.as_bytes());
                left = left.saturating_sub(1);
                if left == 0 {
                    code.function(&body(callback));
                    changed.section(&code);
                }
            }
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    changed.section(&RawSection { id, data: bytes(module, &range)? });
                }
            }
        }
    }
    Ok(changed.finish())
}

fn look(module: &[u8]) -> Result<Known> {
    let mut known = Known::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if matches!(import?.ty, TypeRef::Func(_)) {
                        known.imported += 1;
                    }
                }
            }
            Payload::FunctionSection(section) => {
                known.types = section.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name == CALLBACK {
                        ensure!(export.kind == ExternalKind::Func, "{CALLBACK} is no function");
                        known.callback = Some(export.index);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(known)
}

fn body(callback: u32) -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::LocalGet(1));
    function.instruction(&Instruction::I32Const(MOST));
    function.instruction(&Instruction::I32GtS);
    function.instruction(&Instruction::If(wasm_encoder::BlockType::Empty));
    function.instruction(&Instruction::Unreachable);
    function.instruction(&Instruction::End);
    for parameter in 0..3 {
        function.instruction(&Instruction::LocalGet(parameter));
    }
    function.instruction(&Instruction::Call(callback));
    function.instruction(&Instruction::End);
    function
}

fn kind(kind: ExternalKind) -> Result<ExportKind> {
    Ok(match kind {
        ExternalKind::Func => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        other => bail!("an export of kind {other:?} is not known here"),
    })
}

fn bytes<'a>(module: &'a [u8], range: &std::ops::Range<u64>) -> Result<&'a [u8]> {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    module.get(place(range.start)..place(range.end)).context("a section ends behind the module")
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{TypeSection, ValType};

    use super::*;

    fn module(export: &str) -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32; 3], [ValType::I32]);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut exports = ExportSection::new();
        exports.export(export, ExportKind::Func, 0);
        let mut code = CodeSection::new();
        let mut function = Function::new([]);
        function.instruction(&Instruction::I32Const(7)).instruction(&Instruction::End);
        code.function(&function);
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&exports).section(&code);
        module.finish()
    }

    #[test]
    fn the_callback_is_behind_the_trap() {
        let changed = set(&module(CALLBACK)).unwrap();
        let known = look(&changed).unwrap();
        assert_eq!((known.types, known.callback), (vec![0, 0], Some(1)));
        assert!(look(&module(CALLBACK)).unwrap().callback == Some(0));
    }

    #[test]
    fn a_module_without_the_callback_is_refused() {
        let error = set(&module("other")).unwrap_err().to_string();
        assert!(error.contains(CALLBACK), "{error}");
    }
}
