//! A running Envoy's configuration, as its administration tells it (`/config_dump`): what a control plane delivered stands in
//! its place, as if the bootstrap had it itself.

use serde_json::{Map, Value, json};

/// The bootstrap of a dump; any other value as it is. What a dump lacks stays a reference, which `lint` then cannot follow.
pub(super) fn as_bootstrap(file: Value) -> Value {
    let Some(parts) = file.get("configs").and_then(Value::as_array) else { return file };
    let part = |message: &str| parts.iter().find(|part| is(part, message));
    let Some(bootstrap) = part("BootstrapConfigDump").and_then(|it| it.get("bootstrap")) else {
        return file;
    };
    let mut bootstrap = bootstrap.clone();
    let routes = part("RoutesConfigDump").map(|it| items(it, "dynamic_route_configs"));
    let filters = part("EcdsConfigDump").map(|it| items(it, "ecds_filters"));
    let routes: Vec<_> =
        routes.into_iter().flatten().filter_map(|it| it.get("route_config")).collect();
    let filters: Vec<_> =
        filters.into_iter().flatten().filter_map(|it| it.get("ecds_filter")).collect();
    let mut put = |what: &str, discovery: &str, delivered: Vec<&Value>| {
        let mut delivered: Vec<Value> = delivered.into_iter().cloned().collect();
        for resource in &mut delivered {
            resolve(resource, &routes, &filters);
        }
        if let Some(dynamic) = bootstrap.get_mut("dynamic_resources").and_then(Value::as_object_mut)
        {
            dynamic.remove(discovery);
            dynamic.remove(&locator(discovery));
        }
        let list = bootstrap.as_object_mut().map(|fields| {
            let resources = fields.entry("static_resources").or_insert_with(|| json!({}));
            resources.as_object_mut().map(|fields| fields.entry(what).or_insert_with(|| json!([])))
        });
        if let Some(list) = list.flatten().and_then(Value::as_array_mut) {
            list.extend(delivered);
        }
    };
    if let Some(listeners) = part("ListenersConfigDump") {
        let states = items(listeners, "dynamic_listeners").iter();
        let states =
            states.flat_map(|it| ["active_state", "warming_state"].map(|state| it.get(state)));
        let found = states.flatten().filter_map(|state| state.get("listener")).collect();
        put("listeners", "lds_config", found);
    }
    if let Some(clusters) = part("ClustersConfigDump") {
        let states = ["dynamic_active_clusters", "dynamic_warming_clusters"];
        let found = states.iter().flat_map(|state| items(clusters, state));
        put("clusters", "cds_config", found.filter_map(|state| state.get("cluster")).collect());
    }
    bootstrap
}

/// The other field by which what a field of discovery has is delivered: by a name of xDS.
pub fn locator(discovery: &str) -> String {
    discovery.replace("_config", "_resources_locator")
}

/// Puts routes and filters that were delivered by name in the places of their names.
fn resolve(value: &mut Value, routes: &[&Value], filters: &[&Value]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, routes, filters)),
        Value::Object(fields) => {
            let name = fields.get("rds").and_then(|rds| rds.get("route_config_name"));
            if let Some(found) = name.and_then(|name| named(routes, name)).cloned() {
                fields.remove("rds");
                fields.insert("route_config".to_owned(), found);
            }
            if fields.contains_key("config_discovery") {
                discover(fields, filters);
            }
            fields.values_mut().for_each(|field| resolve(field, routes, filters));
        }
        _ => {}
    }
}

fn discover(entry: &mut Map<String, Value>, filters: &[&Value]) {
    let found = entry.get("name").and_then(|name| named(filters, name));
    if let Some(config) = found.and_then(|it| it.get("typed_config")).cloned() {
        entry.remove("config_discovery");
        entry.insert("typed_config".to_owned(), config);
    }
}

/// The one of a name. Of several that differ a dump does not tell whose each is.
fn named<'a>(resources: &[&'a Value], name: &Value) -> Option<&'a Value> {
    let mut found = resources.iter().copied().filter(|it| it.get("name") == Some(name));
    let first = found.next();
    first.filter(|first| found.all(|other| other == *first))
}

fn is(part: &Value, message: &str) -> bool {
    let url = part.get("@type").and_then(Value::as_str);
    url.is_some_and(|url| url.rsplit('.').next() == Some(message))
}

fn items<'a>(part: &'a Value, field: &str) -> &'a [Value] {
    part.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
