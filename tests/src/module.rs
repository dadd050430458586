//! Changes to a WebAssembly module that leave everything else of it as it is shipped.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, Module, RawSection,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The functions of a module.
pub struct Functions {
    /// How many it imports. They come first in the index of functions.
    pub imported: u32,
    /// The type of each that it defines.
    pub types: Vec<u32>,
}

impl Functions {
    /// Those of the module.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn of(module: &[u8]) -> Self {
        let mut functions = Self { imported: 0, types: Vec::new() };
        for payload in payloads(module) {
            match payload {
                Payload::ImportSection(section) => {
                    let imports = section.into_imports().map(|import| import.expect("an import"));
                    let imported = imports.filter(|it| matches!(it.ty, TypeRef::Func(_))).count();
                    functions.imported = u32::try_from(imported).expect("a module's number");
                }
                Payload::FunctionSection(section) => {
                    functions.types = section.into_iter().map(|it| it.expect("a type")).collect();
                }
                _ => {}
            }
        }
        functions
    }

    /// The index that one more function has.
    ///
    /// # Panics
    /// If there are too many.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.imported + u32::try_from(self.types.len()).expect("a module's number")
    }
}

/// The index of the function that the module exports under this name.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn exported(module: &[u8], name: &str) -> Option<u32> {
    payloads(module).find_map(|payload| match payload {
        Payload::ExportSection(section) => section
            .into_iter()
            .map(|export| export.expect("an export"))
            .find(|export| export.name == name && export.kind == ExternalKind::Func)
            .map(|export| export.index),
        _ => None,
    })
}

/// The module with other exports: `index` says for each the index it shall have, or that it shall go.
///
/// # Panics
/// If that is no module of the filter's.
#[must_use]
pub fn export(module: &[u8], index: impl Fn(&str, u32) -> Option<u32>) -> Vec<u8> {
    change(module, |payload, changed| {
        let Payload::ExportSection(section) = payload else { return false };
        let mut exports = ExportSection::new();
        for export in section.clone() {
            let export = export.expect("an export");
            let kind = match export.kind {
                ExternalKind::Func => ExportKind::Func,
                ExternalKind::Memory => ExportKind::Memory,
                kind => panic!("{kind:?} is exported"),
            };
            if let Some(index) = index(export.name, export.index) {
                exports.export(export.name, kind, index);
            }
        }
        changed.section(&exports);
        true
    })
}

/// The module with one more function, of the type of this index.
///
/// # Panics
/// If that is no module.
#[must_use]
pub fn add(module: &[u8], of_type: u32, function: &Function) -> Vec<u8> {
    let types = Functions::of(module).types;
    let mut code = CodeSection::new();
    let mut left = types.len();
    change(module, |payload, changed| match payload {
        Payload::FunctionSection(_) => {
            let mut functions = FunctionSection::new();
            for of_type in types.iter().chain([&of_type]) {
                functions.function(*of_type);
            }
            changed.section(&functions);
            true
        }
        Payload::CodeSectionStart { .. } => true,
        Payload::CodeSectionEntry(body) => {
            code.raw(body.as_bytes());
            left -= 1;
            if left == 0 {
                code.function(function);
                changed.section(&code);
            }
            true
        }
        _ => false,
    })
}

/// Copies the module, but for the sections that `instead` has written itself.
fn change(module: &[u8], mut instead: impl FnMut(&Payload<'_>, &mut Module) -> bool) -> Vec<u8> {
    let place = |at: u64| usize::try_from(at).expect("a place in memory");
    let mut changed = Module::new();
    for payload in payloads(module) {
        if !instead(&payload, &mut changed)
            && let Some((id, range)) = payload.as_section()
        {
            let data = &module[place(range.start)..place(range.end)];
            changed.section(&RawSection { id, data });
        }
    }
    changed.finish()
}

fn payloads(module: &[u8]) -> impl Iterator<Item = Payload<'_>> {
    Parser::new(0).parse_all(module).map(|payload| payload.expect("a module"))
}
