//! The variable `request`: what a request is about.

/// The name of its type.
pub const REQUEST: &str = "gateway.Request";

/// What `request` is made of. What a request has not is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestAttributes<'a> {
    /// The verb by which kube-apiserver authorizes it; of what is no resource, the method in lower case.
    pub verb: &'a str,
    /// The API group, empty for the core too.
    pub group: &'a str,
    /// The group's version.
    pub version: &'a str,
    /// The resource, in the plural.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The path as kube-apiserver reads it: percent-decoded, without the query.
    pub path: &'a str,
    /// The client's IP address.
    pub address: &'a str,
    /// What the client says of itself.
    pub user_agent: &'a str,
}

impl<'a> RequestAttributes<'a> {
    /// The fields' names in expressions.
    pub const FIELDS: [&'static str; 10] = [
        "verb",
        "group",
        "version",
        "resource",
        "subresource",
        "namespace",
        "name",
        "path",
        "address",
        "userAgent",
    ];

    /// A field by its name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a str> {
        Some(match name {
            "verb" => self.verb,
            "group" => self.group,
            "version" => self.version,
            "resource" => self.resource,
            "subresource" => self.subresource,
            "namespace" => self.namespace,
            "name" => self.name,
            "path" => self.path,
            "address" => self.address,
            "userAgent" => self.user_agent,
            _ => return None,
        })
    }
}
