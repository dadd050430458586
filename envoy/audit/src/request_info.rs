//! What a request is about, in Kubernetes' terms.
//!
//! Source: k8s.io/apiserver, `pkg/endpoints/request/requestinfo.go`, and `pkg/server/filters/longrunning.go`.

use percent_encoding::percent_decode_str;

/// Verbs that stand in the path.
const SPECIAL_VERBS: [&str; 2] = ["proxy", "watch"];
/// What stands behind a namespace's name and is no resource in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];
/// Subresources whose requests last.
const LONG_SUBRESOURCES: [&str; 5] = ["attach", "exec", "proxy", "log", "portforward"];

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it is for a resource.
    pub is_resource: bool,
    /// The decoded path.
    pub path: String,
    /// The verb: `get`, `list`...; for other paths the method in lower case.
    pub verb: String,
    /// The API group; empty for the core.
    pub api_group: String,
    /// Its version.
    pub api_version: String,
    /// The namespace.
    pub namespace: String,
    /// The resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The object's name.
    pub name: String,
}

impl RequestInfo {
    /// Reads a method and a request target.
    #[must_use]
    pub fn new(method: &str, uri: &str) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let mut info =
            Self { path: path.clone(), verb: method.to_ascii_lowercase(), ..Self::default() };
        let trimmed = path.trim_matches('/');
        let mut parts: Vec<&str> =
            if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
        if parts.len() < 3 {
            return info;
        }
        match parts.remove(0) {
            "api" => {}
            "apis" if parts.len() >= 3 => parts.remove(0).clone_into(&mut info.api_group),
            _ => return info,
        }
        info.is_resource = true;
        parts.remove(0).clone_into(&mut info.api_version);
        if !info.read_verb(&mut parts, method) {
            return info;
        }
        info.read_object(parts);
        info.refine_verb(query);
        info
    }

    /// Whether it outlives its answer's first byte.
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        self.verb == "watch"
            || self.verb == "proxy"
            || self.is_resource && LONG_SUBRESOURCES.contains(&self.subresource.as_str())
            || !self.is_resource && self.path.starts_with("/debug/pprof/")
    }

    /// False if the path ends where a resource must stand.
    fn read_verb(&mut self, parts: &mut Vec<&str>, method: &str) -> bool {
        let special = parts.first().is_some_and(|first| SPECIAL_VERBS.contains(first));
        if special {
            if parts.len() < 2 {
                return false;
            }
            parts.remove(0).clone_into(&mut self.verb);
            return true;
        }
        let verb = match method {
            "POST" => "create",
            "GET" | "HEAD" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        };
        verb.clone_into(&mut self.verb);
        true
    }

    fn read_object(&mut self, mut parts: Vec<&str>) {
        if parts.first() == Some(&"namespaces") {
            if let Some(namespace) = parts.get(1) {
                (*namespace).clone_into(&mut self.namespace);
            }
            if parts.get(2).is_some_and(|it| !NAMESPACE_SUBRESOURCES.contains(it)) {
                parts.drain(..2);
            }
        }
        let part = |index: usize| parts.get(index).map(|it| (*it).to_owned()).unwrap_or_default();
        self.resource = part(0);
        self.name = part(1);
        if self.verb != "proxy" {
            self.subresource = part(2);
        }
    }

    /// Without a name `get` is `list` or `watch`, and `delete` is `deletecollection`.
    fn refine_verb(&mut self, query: &str) {
        if !self.name.is_empty() {
            return;
        }
        if self.verb == "delete" {
            "deletecollection".clone_into(&mut self.verb);
        }
        if self.verb != "get" {
            return;
        }
        let value = |name: &str| {
            form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, it)| it)
        };
        let watch =
            value("watch").is_some_and(|it| !matches!(&*it.to_ascii_lowercase(), "false" | "0"));
        if watch { "watch" } else { "list" }.clone_into(&mut self.verb);
        if let Some(name) = value("fieldSelector").and_then(|it| exact_name(&it)) {
            self.name = name;
        }
    }
}

/// The only name that a field selector allows, if it names one.
fn exact_name(selector: &str) -> Option<String> {
    let name = selector.split(',').find_map(|term| {
        let (field, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (field == "metadata.name").then(|| value.to_owned())
    })?;
    let is_segment = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%']);
    is_segment.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `VERB GROUP/VERSION NAMESPACE RESOURCE/SUBRESOURCE NAME`, or `VERB PATH` for what is no resource.
    fn shown(method: &str, uri: &str) -> String {
        let info = RequestInfo::new(method, uri);
        if !info.is_resource {
            return format!("{} {}", info.verb, info.path);
        }
        let RequestInfo {
            verb,
            api_group,
            api_version,
            namespace,
            resource,
            subresource,
            name,
            ..
        } = info;
        format!("{verb} {api_group}/{api_version} [{namespace}] {resource}/{subresource} [{name}]")
    }

    #[test]
    fn paths_are_read_as_kube_apiserver_reads_them() {
        for (method, uri, want) in [
            ("GET", "/", "get /"),
            ("GET", "/version?x=1", "get /version"),
            ("POST", "/healthz", "post /healthz"),
            ("GET", "/api/v1", "get /api/v1"),
            ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
            ("GET", "/api/v1/pods", "list /v1 [] pods/ []"),
            ("HEAD", "/api/v1/pods", "list /v1 [] pods/ []"),
            ("GET", "/api/v1/pods?watch=true", "watch /v1 [] pods/ []"),
            ("GET", "/api/v1/pods?watch=False", "list /v1 [] pods/ []"),
            ("GET", "/api/v1/pods?limit=abc&watch=1", "watch /v1 [] pods/ []"),
            ("GET", "/api/v1/nodes/n1", "get /v1 [] nodes/ [n1]"),
            ("GET", "/api/v1/namespaces", "list /v1 [] namespaces/ []"),
            ("GET", "/api/v1/namespaces/ns", "get /v1 [ns] namespaces/ [ns]"),
            ("PUT", "/api/v1/namespaces/ns/finalize", "update /v1 [ns] namespaces/finalize [ns]"),
            ("PUT", "/api/v1/namespaces/ns/status", "update /v1 [ns] namespaces/status [ns]"),
            ("POST", "/api/v1/namespaces/ns/pods", "create /v1 [ns] pods/ []"),
            ("GET", "/api/v1/namespaces/ns/pods/p/log?follow=true", "get /v1 [ns] pods/log [p]"),
            (
                "POST",
                "/api/v1/namespaces/ns/pods/p/exec?command=sh",
                "create /v1 [ns] pods/exec [p]",
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/ns/deployments",
                "deletecollection apps/v1 [ns] deployments/ []",
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/ns/deployments/d",
                "delete apps/v1 [ns] deployments/ [d]",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/ns/deployments/d/scale",
                "patch apps/v1 [ns] deployments/scale [d]",
            ),
            ("OPTIONS", "/api/v1/pods", " /v1 [] pods/ []"),
            // The old verbs in the path.
            ("GET", "/api/v1/watch/pods", "watch /v1 [] pods/ []"),
            ("GET", "/api/v1/watch/namespaces/ns/pods/p", "watch /v1 [ns] pods/ [p]"),
            ("GET", "/api/v1/proxy/namespaces/ns/services/s/path", "proxy /v1 [ns] services/ [s]"),
            ("GET", "/api/v1/watch", "get /v1 [] / []"),
            // A single object, watched or listed by its name.
            (
                "GET",
                "/api/v1/namespaces/ns/pods?fieldSelector=metadata.name%3Dp&watch=1",
                "watch /v1 [ns] pods/ [p]",
            ),
            (
                "GET",
                "/api/v1/pods?fieldSelector=spec.nodeName=n,metadata.name==p",
                "list /v1 [] pods/ [p]",
            ),
            ("GET", "/api/v1/pods?fieldSelector=metadata.name!=p", "list /v1 [] pods/ []"),
            ("GET", "/api/v1/pods?fieldSelector=metadata.name%3D..", "list /v1 [] pods/ []"),
            // Decoded once, before it is split.
            ("GET", "/api/v1/namespaces/ns%2Fpods/p", "get /v1 [ns] pods/ [p]"),
            ("GET", "//api/v1/pods/", "list /v1 [] pods/ []"),
        ] {
            assert_eq!(shown(method, uri), want, "{method} {uri}");
        }
    }

    #[test]
    fn what_lasts_is_known() {
        for (method, uri, want) in [
            ("GET", "/api/v1/pods", false),
            ("GET", "/api/v1/pods?watch=1", true),
            ("GET", "/api/v1/watch/pods", true),
            ("GET", "/api/v1/namespaces/n/pods/p/log", true),
            ("POST", "/api/v1/namespaces/n/pods/p/exec", true),
            ("POST", "/api/v1/namespaces/n/pods/p/binding", false),
            ("GET", "/api/v1/namespaces/n/services/s/proxy/path", true),
            ("GET", "/debug/pprof/profile", true),
            ("GET", "/version", false),
        ] {
            assert_eq!(RequestInfo::new(method, uri).is_long_running(), want, "{uri}");
        }
    }
}
