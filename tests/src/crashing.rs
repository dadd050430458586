//! A filter that can be made to crash: the real one, with a trap in front of its callback for request headers.
//!
//! The filter has no known way to crash its VM, which is as it should be. So a function is put before the callback that
//! traps (`unreachable`) when a request has more header lines than [`MOST`], and else calls it. Everything behind it is
//! the filter as it is shipped: its caches, its keys and its streams are what a crash takes away.

use std::{fs, path::Path};

use wasm_encoder::{BlockType, Function, Instruction};

use crate::module::{self, Functions};

/// Header lines, Envoy's pseudo-headers included, that a request may have without a crash. No other request has as many, and
/// Envoy lets 200 through.
pub const MOST: i32 = 100;

/// The callback, which gets the context, the number of header lines and whether they are the whole request
/// (Proxy-Wasm ABI 0.2.1, `proxy_on_request_headers`).
pub const CALLBACK: &str = "proxy_on_request_headers";

/// The header lines of a request that crashes the VM.
pub fn headers() -> impl Iterator<Item = (String, &'static str)> {
    (0..MOST).map(|number| (format!("x-crash-{number}"), "1"))
}

/// Writes a copy of the module at `filter` to `to`, with the trap.
///
/// # Panics
/// If that is no module of the filter's.
pub fn write(filter: &Path, to: &Path) {
    let module = fs::read(filter).unwrap_or_else(|e| panic!("{}: {e}", filter.display()));
    fs::write(to, set(&module)).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
}

fn set(module: &[u8]) -> Vec<u8> {
    let callback = module::exported(module, CALLBACK).expect("the filter has the callback");
    let functions = Functions::of(module);
    let own = callback.checked_sub(functions.imported).expect("it is no import");
    let of_type = functions.types[usize::try_from(own).expect("a place in memory")];
    let trap = functions.next();
    let with_trap = module::add(module, of_type, &body(callback));
    module::export(&with_trap, |name, index| Some(if name == CALLBACK { trap } else { index }))
}

fn body(callback: u32) -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::LocalGet(1));
    function.instruction(&Instruction::I32Const(MOST));
    function.instruction(&Instruction::I32GtS);
    function.instruction(&Instruction::If(BlockType::Empty));
    function.instruction(&Instruction::Unreachable);
    function.instruction(&Instruction::End);
    for parameter in 0..3 {
        function.instruction(&Instruction::LocalGet(parameter));
    }
    function.instruction(&Instruction::Call(callback));
    function.instruction(&Instruction::End);
    function
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, ExportKind, ExportSection, FunctionSection, Module, TypeSection, ValType,
    };

    use super::*;

    #[test]
    fn the_callback_is_behind_the_trap() {
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32; 3], [ValType::I32]);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut exports = ExportSection::new();
        exports.export(CALLBACK, ExportKind::Func, 0);
        let mut code = CodeSection::new();
        let mut function = Function::new([]);
        function.instruction(&Instruction::I32Const(7)).instruction(&Instruction::End);
        code.function(&function);
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&exports).section(&code);
        let module = module.finish();
        assert_eq!(module::exported(&module, CALLBACK), Some(0));
        let changed = set(&module);
        assert_eq!(module::exported(&changed, CALLBACK), Some(1));
        assert_eq!(Functions::of(&changed).types, [0, 0]);
    }
}
