//! filter.wasm with one callback that ends the VM: the real filter, and a way to crash it.

use std::{fs, ops::Range, path::Path};

use wasm_encoder::{CodeSection, Function, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The callback that crashes the VM: a request with trailers does.
const CALLBACK: &str = "proxy_on_request_trailers";

/// Writes a copy of the module at `filter` to `to`, in which a request with trailers crashes the VM.
///
/// # Panics
/// If that is no module of the filter's.
pub fn write(filter: &Path, to: &Path) {
    let module = fs::read(filter).unwrap_or_else(|e| panic!("{}: {e}", filter.display()));
    fs::write(to, crashing(&module)).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
}

fn crashing(module: &[u8]) -> Vec<u8> {
    let payloads: Vec<_> =
        Parser::new(0).parse_all(module).map(|payload| payload.expect("a module")).collect();
    let body = body_of_callback(&payloads).expect("it has the callback");
    let bytes = |range: Range<u64>| {
        let place = |at: u64| usize::try_from(at).expect("a place in memory");
        &module[place(range.start)..place(range.end)]
    };
    let mut changed = Module::new();
    for payload in &payloads {
        if let Payload::CodeSectionStart { .. } = payload {
            let mut code = CodeSection::new();
            let bodies = payloads.iter().filter_map(|payload| match payload {
                Payload::CodeSectionEntry(body) => Some(bytes(body.range())),
                _ => None,
            });
            for (index, found) in bodies.enumerate() {
                if index == body {
                    let mut trap = Function::new([]);
                    trap.instructions().unreachable().end();
                    code.function(&trap);
                } else {
                    code.raw(found);
                }
            }
            changed.section(&code);
        } else if let Some((id, range)) = payload.as_section() {
            changed.section(&RawSection { id, data: bytes(range) });
        }
    }
    changed.finish()
}

/// The place of the callback's function among those that the module defines.
fn body_of_callback(payloads: &[Payload<'_>]) -> Option<usize> {
    let mut imported = 0;
    for payload in payloads {
        match payload {
            Payload::ImportSection(section) => {
                let imports =
                    section.clone().into_imports().map(|import| import.expect("an import"));
                imported = imports.filter(|import| matches!(import.ty, TypeRef::Func(_))).count();
            }
            Payload::ExportSection(section) => {
                let mut exports =
                    section.clone().into_iter().map(|export| export.expect("an export"));
                let callback =
                    exports.find(|it| it.name == CALLBACK && it.kind == ExternalKind::Func)?;
                return usize::try_from(callback.index).ok()?.checked_sub(imported);
            }
            _ => {}
        }
    }
    None
}
