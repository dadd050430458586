//! Takes from the filter's module the exports of callbacks that do nothing.
//!
//! Envoy enters the VM for every callback that a module exports, and the SDK exports all there are: for each piece of a body,
//! and twice more at the end of every request. A callback that is not exported is not called (proxy-wasm-cpp-host,
//! `src/context.cc`: each begins with a look at whether the module has it). Those named here only hand on to methods of the
//! SDK's traits that the filter leaves as they are.
//!
//! `filter-trim MODULE` replaces the module by rename; one that is trimmed already stays as it is.

use std::{env, fs, io, path::Path, path::PathBuf, process::ExitCode};

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload};

/// Exports without which the filter behaves the same. `proxy_on_request_body` is not one: the portal reads bodies.
const UNUSED: [&str; 4] =
    ["proxy_on_response_body", "proxy_on_response_trailers", "proxy_on_done", "proxy_on_log"];

/// Why a module stays as it is.
#[derive(Debug, thiserror::Error)]
enum TrimError {
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, io::Error),
    #[error("not a WebAssembly module: {0}")]
    Module(#[from] BinaryReaderError),
    #[error("export {0:?} is of a kind that is not known here")]
    Kind(String),
}

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: filter-trim MODULE");
        return ExitCode::FAILURE;
    };
    match replace(Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("filter-trim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn replace(path: &Path) -> Result<(), TrimError> {
    let module = fs::read(path).map_err(|error| TrimError::Read(path.to_owned(), error))?;
    let trimmed = trim(&module)?;
    if trimmed == module {
        return Ok(());
    }
    // Cargo's own copy is a hard link to this file, and must stay what cargo built.
    let new = path.with_added_extension("new");
    fs::write(&new, trimmed)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| TrimError::Write(path.to_owned(), error))
}

fn trim(module: &[u8]) -> Result<Vec<u8>, TrimError> {
    let mut trimmed = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(section) = payload {
            let mut exports = ExportSection::new();
            for export in section {
                let export = export?;
                if UNUSED.contains(&export.name) {
                    continue;
                }
                let kind = match export.kind {
                    ExternalKind::Func => ExportKind::Func,
                    ExternalKind::Table => ExportKind::Table,
                    ExternalKind::Memory => ExportKind::Memory,
                    ExternalKind::Global => ExportKind::Global,
                    _ => return Err(TrimError::Kind(export.name.to_owned())),
                };
                exports.export(export.name, kind, export.index);
            }
            trimmed.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            let data = module.get(place(range.start)..place(range.end)).unwrap_or_default();
            trimmed.section(&RawSection { id, data });
        }
    }
    Ok(trimmed.finish())
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{CustomSection, MemorySection, MemoryType};

    use super::*;

    fn module(exports: &[&str]) -> Vec<u8> {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut section = ExportSection::new();
        for name in exports {
            section.export(name, ExportKind::Memory, 0);
        }
        let mut module = Module::new();
        module.section(&memories).section(&section);
        module.section(&CustomSection { name: "producers".into(), data: b"x".as_slice().into() });
        module.finish()
    }

    #[test]
    fn only_what_is_unused_goes() {
        let all = module(&["memory", "proxy_on_log", "proxy_on_request_headers", "proxy_on_done"]);
        let want = module(&["memory", "proxy_on_request_headers"]);
        assert_eq!(trim(&all).unwrap(), want);
        assert_eq!(trim(&want).unwrap(), want, "a second time changes nothing");
        assert!(matches!(trim(b"\0asm?"), Err(TrimError::Module(_))));
    }
}
