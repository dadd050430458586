//! Takes from the filter's module the exports of callbacks that do nothing, and puts the module's own in the place of the SDK's
//! where it has one.
//!
//! Envoy enters the VM for every callback that a module exports, and the SDK exports all there are: for each piece of a body,
//! and twice more at the end of every request. A callback that is not exported is not called (proxy-wasm-cpp-host,
//! `src/context.cc`: each begins with a look at whether the module has it). Those named here only hand on to methods of the
//! SDK's traits that the filter leaves as they are.
//!
//! Of the network filter's module (`filter/connections`) the few stay that it has methods for. What only the others had called goes
//! too ([`dead`]).
//!
//! `filter-trim MODULE` and `filter-trim --network MODULE` replace the module by rename; one that is trimmed already stays as it is.

mod dead;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use gateway_files::Readers;
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{BinaryReaderError, ExternalKind, Parser, Payload};

/// The filter's own callbacks, and those of the SDK in whose place they go (`filter/wasm/src/abi.rs`).
const OWN: [(&str, &str); 2] = [
    ("gateway_on_request_body", "proxy_on_request_body"),
    ("gateway_on_queue_ready", "proxy_on_queue_ready"),
];
/// Exports without which the filter behaves the same.
const UNUSED: [&str; 14] = [
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_done",
    "proxy_on_log",
    // Of connections, which it does not see.
    "proxy_on_downstream_data",
    "proxy_on_upstream_data",
    "proxy_on_downstream_connection_close",
    "proxy_on_upstream_connection_close",
    "proxy_on_new_connection",
    // Answers to calls that it never makes.
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_foreign_function",
];
/// All that a network filter exports of which the beginning and the end of a connection count, and the tick.
const NETWORK: [&str; 10] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_vm_start",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_new_connection",
    "proxy_on_delete",
];

/// Which of the two modules it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The gateway's filter.
    Filter,
    /// The network filter.
    Network,
}

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
    #[error("no export {0:?}, which the module needs")]
    Missing(&'static str),
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let (kind, path) = match arguments.as_slice() {
        [path] if path != "--network" => (Kind::Filter, path),
        [flag, path] if flag == "--network" => (Kind::Network, path),
        _ => {
            eprintln!("usage: filter-trim [--network] MODULE");
            return ExitCode::FAILURE;
        }
    };
    match replace(kind, Path::new(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("filter-trim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn replace(kind: Kind, path: &Path) -> Result<(), TrimError> {
    let module = fs::read(path).map_err(|error| TrimError::Read(path.to_owned(), error))?;
    let trimmed = trim(kind, &module)?;
    if trimmed == module {
        return Ok(());
    }
    // Cargo's own copy is a hard link to this file, and must stay what cargo built: a rename leaves it.
    gateway_files::write(path, &trimmed, Readers::ByUmask)
        .map_err(|error| TrimError::Write(path.to_owned(), error))
}

fn trim(kind: Kind, module: &[u8]) -> Result<Vec<u8>, TrimError> {
    let mut trimmed = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(section) = payload {
            let all = section.into_iter().collect::<Result<Vec<_>, _>>()?;
            let has = |name: &str| all.iter().any(|export| export.name == name);
            if let Some(missing) = missing(kind, has) {
                return Err(TrimError::Missing(missing));
            }
            let mut exports = ExportSection::new();
            for export in &all {
                let replaced = OWN.into_iter().any(|(own, sdk)| has(own) && export.name == sdk);
                let stays = match kind {
                    Kind::Filter => !UNUSED.contains(&export.name) && !replaced,
                    Kind::Network => NETWORK.contains(&export.name),
                };
                if !stays {
                    continue;
                }
                let own = OWN.into_iter().find(|(own, _)| *own == export.name);
                let name = own.map_or(export.name, |(_, sdk)| sdk);
                let kind = match export.kind {
                    ExternalKind::Func => ExportKind::Func,
                    ExternalKind::Table => ExportKind::Table,
                    ExternalKind::Memory => ExportKind::Memory,
                    ExternalKind::Global => ExportKind::Global,
                    _ => return Err(TrimError::Kind(export.name.to_owned())),
                };
                exports.export(name, kind, export.index);
            }
            trimmed.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            let data = module.get(place(range.start)..place(range.end)).unwrap_or_default();
            trimmed.section(&RawSection { id, data });
        }
    }
    Ok(dead::empty(&trimmed.finish())?)
}

/// What a module of this kind has to export and does not.
fn missing(kind: Kind, has: impl Fn(&str) -> bool) -> Option<&'static str> {
    match kind {
        // Where it is trimmed already, the own ones are those that are left.
        Kind::Filter if UNUSED.into_iter().any(&has) => {
            OWN.into_iter().map(|(own, _)| own).find(|own| !has(own))
        }
        Kind::Filter => None,
        Kind::Network => NETWORK.into_iter().find(|name| !has(name)),
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{CustomSection, MemorySection, MemoryType};

    use super::*;

    fn module(exports: &[(&str, u32)]) -> Vec<u8> {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut section = ExportSection::new();
        for (name, index) in exports {
            section.export(name, ExportKind::Memory, *index);
        }
        let mut module = Module::new();
        module.section(&memories).section(&section);
        module.section(&CustomSection { name: "producers".into(), data: b"x".as_slice().into() });
        module.finish()
    }

    #[test]
    fn what_is_unused_goes_and_the_filters_own_comes() {
        let all = module(&[
            ("memory", 0),
            ("proxy_on_log", 1),
            ("proxy_on_request_body", 2),
            ("gateway_on_request_body", 3),
            ("proxy_on_done", 4),
            ("gateway_on_queue_ready", 5),
            ("proxy_on_queue_ready", 6),
        ]);
        let want =
            module(&[("memory", 0), ("proxy_on_request_body", 3), ("proxy_on_queue_ready", 5)]);
        assert_eq!(trim(Kind::Filter, &all).unwrap(), want);
        assert_eq!(trim(Kind::Filter, &want).unwrap(), want, "a second time changes nothing");
        assert!(matches!(trim(Kind::Filter, b"\0asm?"), Err(TrimError::Module(_))));
    }

    /// CVE-2026-73548: with the SDK's callback upgrades would break, or worse.
    #[test]
    fn a_module_without_the_filters_own_callback_is_refused() {
        for own in OWN.map(|(own, _)| own) {
            let others = OWN.map(|(own, _)| own).into_iter().filter(|other| *other != own);
            let exports: Vec<_> = others.chain(["proxy_on_log"]).map(|name| (name, 1)).collect();
            assert!(
                matches!(trim(Kind::Filter, &module(&exports)), Err(TrimError::Missing(name)) if name == own)
            );
        }
    }

    #[test]
    fn of_a_network_filter_stays_what_it_has_methods_for() {
        let all = NETWORK.into_iter().chain(["proxy_on_downstream_data", "proxy_on_log"]);
        let all = module(&all.map(|name| (name, 0)).collect::<Vec<_>>());
        let want = module(&NETWORK.map(|name| (name, 0)));
        assert_eq!(trim(Kind::Network, &all).unwrap(), want);
        assert_eq!(trim(Kind::Network, &want).unwrap(), want, "a second time changes nothing");
        let less = module(&NETWORK[..9].iter().map(|name| (*name, 0)).collect::<Vec<_>>());
        let error = trim(Kind::Network, &less).unwrap_err();
        assert!(matches!(error, TrimError::Missing("proxy_on_delete")), "{error}");
    }
}
