//! What a request is about, in Kubernetes' terms, as kube-apiserver reads it.
//!
//! Source: k8s.io/apiserver, `pkg/endpoints/request/requestinfo.go`, and `pkg/server/filters/longrunning.go`.

#![forbid(unsafe_code)]

mod selector;

use go_compat::url::Url;

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

/// Why kube-apiserver would not read a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The target is no URL: it answers 400. Go's words.
    #[error("{0}")]
    Target(String),
    /// The path ends where a resource must stand: it answers 500.
    #[error("unable to determine kind and namespace from url, {0}")]
    Resource(String),
}

impl RequestInfo {
    /// Reads a method and a request target (RFC 9112, section 3.2.1: path and query).
    ///
    /// # Errors
    /// Where kube-apiserver would answer the request with an error before anything else is asked.
    pub fn read(method: &str, target: &str) -> Result<Self, Unreadable> {
        let mut info = Self::default();
        info.fill(method, target)?;
        Ok(info)
    }

    /// Likewise, for logs: of what kube-apiserver would not read, as much as can be told.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let mut info = Self::default();
        if let Err(Unreadable::Target(_)) = info.fill(method, target) {
            let path = target.split_once('?').map_or(target, |(path, _)| path);
            info = Self {
                path: path.to_owned(),
                verb: method.to_ascii_lowercase(),
                ..Self::default()
            };
        }
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

    fn fill(&mut self, method: &str, target: &str) -> Result<(), Unreadable> {
        let url = Url::parse_request(target).map_err(Unreadable::Target)?;
        let path = url.path();
        self.path.clone_from(&path);
        self.verb = method.to_lowercase();
        let trimmed = path.trim_matches('/');
        let mut parts: Vec<&str> =
            if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
        if parts.len() < 3 {
            return Ok(());
        }
        match parts.remove(0) {
            "api" => {}
            "apis" if parts.len() >= 3 => parts.remove(0).clone_into(&mut self.api_group),
            _ => return Ok(()),
        }
        self.is_resource = true;
        parts.remove(0).clone_into(&mut self.api_version);
        if !self.read_verb(&mut parts, method) {
            return Err(Unreadable::Resource(target.to_owned()));
        }
        self.read_object(parts);
        self.refine_verb(&url);
        Ok(())
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
    fn refine_verb(&mut self, url: &Url) {
        if self.name.is_empty() && self.verb == "get" {
            let options = ListOptions::of(url);
            if options.watch { "watch" } else { "list" }.clone_into(&mut self.verb);
            if let Some(name) = options.name.filter(|name| is_path_segment(name)) {
                self.name = name;
            }
        }
        if self.name.is_empty() && self.verb == "delete" {
            "deletecollection".clone_into(&mut self.verb);
        }
    }
}

/// What of a list request's parameters says what it is about.
struct ListOptions {
    watch: bool,
    name: Option<String>,
}

impl ListOptions {
    /// One parameter that cannot be read makes all of them nothing, but for `watch`, which is then read otherwise, too.
    fn of(url: &Url) -> Self {
        let value =
            |name: &str| url.parameters().find(|(key, _)| key == name).map(|(_, value)| value);
        let is_number = |name: &str| value(name).is_none_or(|text| text.parse::<i64>().is_ok());
        let labels = value("labelSelector").unwrap_or_default();
        let fields = value("fieldSelector").unwrap_or_default();
        let watch = value("watch");
        let readable = is_number("timeoutSeconds")
            && is_number("limit")
            && selector::check_labels(&labels).is_ok();
        match selector::exact_field(&fields, "metadata.name") {
            Ok(name) if readable => {
                let watch = watch.is_some_and(|text| {
                    // Go's EqualFold takes the long s for an s.
                    text != "0" && !text.replace('\u{17f}', "s").eq_ignore_ascii_case("false")
                });
                Self { watch, name }
            }
            _ => {
                let watch = watch.is_some_and(|text| text != "0" && text.to_lowercase() != "false");
                Self { watch, name: None }
            }
        }
    }
}

/// Whether it can stand between two slashes of a path.
fn is_path_segment(name: &str) -> bool {
    name != "." && name != ".." && !name.contains(['/', '%'])
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// What kube-apiserver's own resolver answered, recorded by tests/conformance/record.sh.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
    struct Recorded {
        method: String,
        target: String,
        error: String,
        is_resource: bool,
        path: String,
        verb: String,
        api_group: String,
        api_version: String,
        namespace: String,
        resource: String,
        subresource: String,
        name: String,
    }

    #[test]
    fn every_request_is_read_as_kube_apiserver_reads_it() {
        let corpus = include_str!("../../../tests/conformance/requests/requests.jsonl");
        let mut wrong = Vec::new();
        for line in corpus.lines() {
            let recorded: Recorded = serde_json::from_str(line).unwrap();
            let got = RequestInfo::read(&recorded.method, &recorded.target);
            let want = match recorded.error.as_str() {
                "" => Ok(RequestInfo {
                    is_resource: recorded.is_resource,
                    path: recorded.path,
                    verb: recorded.verb,
                    api_group: recorded.api_group,
                    api_version: recorded.api_version,
                    namespace: recorded.namespace,
                    resource: recorded.resource,
                    subresource: recorded.subresource,
                    name: recorded.name,
                }),
                error => Err(error.to_owned()),
            };
            if got.as_ref().map_err(ToString::to_string) != want.as_ref().map_err(Clone::clone) {
                wrong.push(format!("{line}\n    {got:?}"));
            }
        }
        assert!(corpus.lines().count() > 2_000);
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

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
