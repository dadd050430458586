//! The forms of the filter: in a sandbox, or a part of Envoy's process.

use clap::ValueEnum;

/// A form of the filter. Both decide alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum FilterForm {
    /// A WebAssembly module: in a sandbox, one file for every machine, with every supported Envoy.
    #[default]
    Wasm,
    /// A shared library: faster and with less memory, without a sandbox, for one processor and for the Envoys it was tested with.
    Native,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_is_the_default() {
        assert_eq!(FilterForm::default(), FilterForm::Wasm);
        assert_eq!(FilterForm::from_str("native", false), Ok(FilterForm::Native));
    }
}
