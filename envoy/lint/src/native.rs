//! Native modules. No sandbox is around one: it reads Envoy's memory, with the credential and every token in it. So which file
//! is loaded, and by which Envoy, is part of the doors.

use gateway_core::native::{LIBRARY, MODULE};

use crate::{
    envoy_version::{ENVOY, check_native},
    finding::{Findings, Rule},
    form::Form,
    model::{Filter, Model},
    node::Node,
    sources::Sources,
    version,
};

/// The field by which Envoy's extensions name a module, whatever they extend.
const MODULES: &str = "dynamic_module_config";

/// Every module that the configuration loads, as a filter or as something else.
pub fn check(sources: &Sources, model: &Model<'_>, findings: &mut Findings) {
    for file in sources.files() {
        check_modules(&file, findings);
    }
    let filters = model.managers.iter().flat_map(|manager| &manager.filters);
    let mut native = filters.filter(|it| it.form() == Some(Form::Native)).peekable();
    if native.peek().is_some() {
        check_version(sources, model, findings);
    }
    for filter in native {
        check_filter(filter, findings);
    }
}

fn check_modules(node: &Node<'_>, findings: &mut Findings) {
    if let Some(module) = node.get(MODULES) {
        check_module(&module, findings);
    }
    for child in node.children() {
        check_modules(&child, findings);
    }
}

fn check_module(module: &Node<'_>, findings: &mut Findings) {
    let name = module.text("name").unwrap_or_default();
    if name != MODULE {
        findings.add(
            Rule::NativeModule,
            module,
            format!("the module {name:?} is not the gateway's"),
        );
        return;
    }
    if let Some(source) = module.get("module") {
        let message = format!("it is loaded from elsewhere than a {LIBRARY} with its whole path");
        findings.demand(path(&source).is_some(), Rule::NativeModule, &source, &message);
    }
    let stays = module.flag("do_not_close");
    let message = "its code may go while threads run it: do_not_close is not true";
    findings.demand(stays, Rule::NativeModule, module, message);
    let message = "its symbols are put before those of other libraries: load_globally is true";
    findings.demand(!module.flag("load_globally"), Rule::NativeModule, module, message);
}

/// The file of the module that a filter is, if it is the gateway's.
pub fn file<'a>(filter: &Node<'a>) -> Option<&'a str> {
    path(&filter.at(&[MODULES, "module"])?)
}

fn path<'a>(source: &Node<'a>) -> Option<&'a str> {
    let path = source.get("local")?.text("filename")?;
    (path.rsplit('/').next() == Some(LIBRARY) && path.starts_with('/')).then_some(path)
}

fn check_filter(filter: &Filter<'_>, findings: &mut Findings) {
    if filter.config.flag("terminal_filter") {
        let message = "it is the last filter (terminal_filter), so that no gate stands behind it";
        findings.add(Rule::NativeModule, &filter.config, message);
    }
}

fn check_version(sources: &Sources, model: &Model<'_>, findings: &mut Findings) {
    for (product, version, at) in version::told(sources, &model.bootstrap) {
        if product != ENVOY {
            let message = format!("the native filter was not tested with {}", product.name);
            findings.add(Rule::NativeVersion, &at, message);
        } else if let Err(untested) = check_native(Some(version)) {
            findings.add(Rule::NativeVersion, &at, untested.to_string());
        }
    }
}
