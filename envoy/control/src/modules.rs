//! Whether the modules are there that Envoy is to load, and of the kind that it can load: what Envoy says of them tells nobody
//! where they come from.

use std::{
    env::consts::ARCH,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use gateway_config::{FilterForm, Options, connections_filter};

/// Why a module cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The module that counts connections is missing.
    #[error(
        "no {0:?}, which comes with the filter and counts connections: put the connections.wasm of the same release there, or do without \
         the limit by --max-undecided-connections-per-address=0"
    )]
    NoConnections(PathBuf),
    /// The native module is missing.
    #[error(
        "no {0:?}: put the libkube_oidc_gateway.so of the same release there, name it with --native-filter, or take --filter-form=wasm"
    )]
    NoNative(PathBuf),
    /// The native module cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The module.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A native module where the Wasm module should be.
    #[error(
        "{0:?} is a native module: name filter.wasm with --filter, or take --filter-form=native and name this one with --native-filter"
    )]
    IsNative(PathBuf),
    /// Something else where the native module should be.
    #[error(
        "{0:?} is no shared library of 64 bits for Linux: name the libkube_oidc_gateway.so of the same release with --native-filter, \
         or take --filter-form=wasm"
    )]
    IsNotNative(PathBuf),
    /// The native module is for another processor than Envoy.
    #[error(
        "{path:?} is for {module}, and Envoy for {envoy}: take the libkube_oidc_gateway.so for {envoy}, or --filter-form=wasm, whose module \
         runs everywhere"
    )]
    Processor {
        /// The module.
        path: PathBuf,
        /// Its processor.
        module: Processor,
        /// Envoy's processor.
        envoy: Processor,
    },
}

/// A processor, by its number in an ELF header (`e_machine`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor(u16);

impl Processor {
    const X86_64: Self = Self(62);
    const AARCH64: Self = Self(183);

    /// This program's, if it is one that Envoy is released for.
    fn own() -> Option<Self> {
        match ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::AARCH64),
            _ => None,
        }
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::X86_64 => f.write_str("amd64"),
            Self::AARCH64 => f.write_str("arm64"),
            Self(number) => write!(f, "a processor of number {number} in ELF"),
        }
    }
}

/// Makes sure that the modules are there that these options name, for this Envoy. Without one they are for a machine like this one.
///
/// # Errors
/// If one is missing, or Envoy could not load it.
pub fn check_modules(options: &Options, envoy: Option<&Path>) -> Result<(), ModuleError> {
    match options.form {
        FilterForm::Wasm => check_wasm(options),
        FilterForm::Native => check_native(&options.filter, envoy),
    }
}

fn check_wasm(options: &Options) -> Result<(), ModuleError> {
    if Header::read(&options.filter).is_ok_and(|header| header.library().is_some()) {
        return Err(ModuleError::IsNative(options.filter.clone()));
    }
    let connections = connections_filter(&options.filter);
    if options.counts_connections() && !connections.is_file() {
        return Err(ModuleError::NoConnections(connections));
    }
    Ok(())
}

fn check_native(path: &Path, envoy: Option<&Path>) -> Result<(), ModuleError> {
    if !path.is_file() {
        return Err(ModuleError::NoNative(path.to_owned()));
    }
    let header =
        Header::read(path).map_err(|source| ModuleError::Read { path: path.to_owned(), source })?;
    let module = header.library().ok_or_else(|| ModuleError::IsNotNative(path.to_owned()))?;
    // What stands in for Envoy may be a script that starts it.
    let envoy = envoy.and_then(|envoy| Header::read(envoy).ok()?.processor());
    match envoy.or_else(Processor::own) {
        Some(envoy) if envoy != module => {
            Err(ModuleError::Processor { path: path.to_owned(), module, envoy })
        }
        _ => Ok(()),
    }
}

/// The beginning of a file: of an ELF header, all that is asked for here (`elf(5)`).
struct Header([u8; 20]);

impl Header {
    fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(20);
        File::open(path)?.take(20).read_to_end(&mut bytes)?;
        let mut header = [0; 20];
        for (place, byte) in header.iter_mut().zip(bytes) {
            *place = byte;
        }
        Ok(Self(header))
    }

    /// The processor of a program or a library of 64 bits, in the order of bytes that every Envoy has.
    fn processor(&self) -> Option<Processor> {
        let [0x7f, b'E', b'L', b'F', 2, 1, .., low, high] = self.0 else { return None };
        Some(Processor(u16::from_le_bytes([low, high])))
    }

    /// The processor of a shared library (`ET_DYN`).
    fn library(&self) -> Option<Processor> {
        let [.., low, high, _, _] = self.0;
        self.processor().filter(|_| u16::from_le_bytes([low, high]) == 3)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The head of an ELF file of this type for this processor.
    fn elf(kind: u8, machine: u8) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
        head.resize(16, 0);
        head.extend([kind, 0, machine, 0]);
        head
    }

    fn options(filter: PathBuf, form: FilterForm) -> Options {
        Options { form, ..Options::new(([127, 0, 0, 1], 0).into(), filter) }
    }

    #[test]
    fn without_the_module_there_is_no_limit() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(folder.path().join("filter.wasm"), FilterForm::Wasm);
        let error = check_modules(&options, None).unwrap_err().to_string();
        assert!(error.contains("connections.wasm"), "{error}");
        assert!(error.ends_with("--max-undecided-connections-per-address=0"), "{error}");
        let connections = connections_filter(&options.filter);
        fs::write(&connections, "").unwrap();
        check_modules(&options, None).unwrap();
        fs::remove_file(connections).unwrap();
        options.limits.undecided_connections_per_address = 0;
        check_modules(&options, None).unwrap();
    }

    #[test]
    fn a_native_module_is_one_for_envoy_s_processor() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, content: &[u8]| fs::write(path(name), content).unwrap();
        write("amd64", &elf(3, 62));
        write("arm64", &elf(3, 183));
        write("program", &elf(2, 62));
        write("module.wasm", b"\0asm\x01\0\0\0");
        write("script", b"#!/bin/sh\nexec envoy \"$@\"\n");
        write("empty", b"");
        let own = if ARCH == "aarch64" { "arm64" } else { "amd64" };
        let other = if ARCH == "aarch64" { "amd64" } else { "arm64" };
        for (module, envoy, want) in [
            ("amd64", Some("program"), None),
            ("arm64", Some("program"), Some("is for arm64, and Envoy for amd64")),
            ("amd64", Some("arm64"), Some("is for amd64, and Envoy for arm64")),
            (own, Some("script"), None),
            (other, Some("script"), Some("and Envoy for")),
            (own, None, None),
            ("module.wasm", None, Some("is no shared library")),
            ("program", None, Some("is no shared library")),
            ("empty", None, Some("is no shared library")),
            ("none", None, Some("put the libkube_oidc_gateway.so of the same release there")),
        ] {
            let options = options(path(module), FilterForm::Native);
            let envoy = envoy.map(path);
            let got = check_modules(&options, envoy.as_deref()).map_err(|error| error.to_string());
            match (want, got) {
                (None, Ok(())) => {}
                (Some(want), Err(got)) => {
                    assert!(got.contains(want), "{module}: {got}");
                    assert!(got.contains("--filter-form=wasm"), "the way out: {got}");
                }
                (want, got) => panic!("{module}: {got:?}, not {want:?}"),
            }
        }
        let error = check_modules(&options(path("amd64"), FilterForm::Wasm), None);
        assert!(error.unwrap_err().to_string().contains("is a native module"));
    }
}
