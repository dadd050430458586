//! filter.wasm without its hold on what follows an upgrade request: what Envoy does with those bytes by itself.

use std::{fs, path::Path};

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// The callback that holds. One that a module does not export is not called.
const CALLBACK: &str = "proxy_on_request_body";

/// Writes a copy of the module at `filter` to `to` that never looks at a body.
///
/// # Panics
/// If that is no module of the filter's.
pub fn write(filter: &Path, to: &Path) {
    let module = fs::read(filter).unwrap_or_else(|e| panic!("{}: {e}", filter.display()));
    fs::write(to, without_callback(&module)).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
}

fn without_callback(module: &[u8]) -> Vec<u8> {
    let place = |at: u64| usize::try_from(at).expect("a place in memory");
    let mut changed = Module::new();
    let mut found = false;
    for payload in Parser::new(0).parse_all(module).map(|payload| payload.expect("a module")) {
        if let Payload::ExportSection(section) = payload {
            let mut exports = ExportSection::new();
            for export in section.into_iter().map(|export| export.expect("an export")) {
                let kind = match export.kind {
                    ExternalKind::Func => ExportKind::Func,
                    ExternalKind::Memory => ExportKind::Memory,
                    kind => panic!("{kind:?} is exported"),
                };
                if export.name == CALLBACK {
                    found = true;
                } else {
                    exports.export(export.name, kind, export.index);
                }
            }
            changed.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            let data = &module[place(range.start)..place(range.end)];
            changed.section(&RawSection { id, data });
        }
    }
    assert!(found, "no {CALLBACK}");
    changed.finish()
}
