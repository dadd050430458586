//! The two forms in which an Envoy has the filter: what each calls its name and its configuration.

use crate::{model::Filter, node::Node};

/// A form of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A Wasm module.
    Wasm,
    /// A native module of Envoy's process.
    Native,
}

/// In which form the filter of this configuration runs code of somebody; `None` for Envoy's own filters.
pub fn of(config: &Node<'_>) -> Option<Form> {
    match config.type_name() {
        "Wasm" => Some(Form::Wasm),
        "DynamicModuleFilter" => Some(Form::Native),
        _ => None,
    }
}

impl<'a> Filter<'a> {
    /// In which form it runs code of somebody.
    pub fn form(&self) -> Option<Form> {
        of(&self.config)
    }

    /// The configuration that its code is given.
    pub fn document(&self) -> Option<Node<'a>> {
        match self.form()? {
            Form::Wasm => self.config.at(&["config", "configuration"]),
            Form::Native => self.config.get("filter_config"),
        }
    }

    /// The text of that configuration; empty if there is none.
    pub fn document_text(&self) -> &'a str {
        self.document().and_then(|document| document.text("value")).unwrap_or_default()
    }

    /// What its code is told that it is called.
    pub fn own_name(&self) -> Option<&'a str> {
        let name = match self.form()? {
            Form::Wasm => self.config.get("config")?.text("name"),
            Form::Native => self.config.text("filter_name"),
        };
        name.filter(|name| !name.is_empty())
    }
}
