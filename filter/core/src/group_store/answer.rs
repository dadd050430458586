//! What a page of an answer says: groups, and where the next page is; and how far an answer is read.

use std::time::Duration;

use apiserver_cel::{Limits, Value};
use go_compat::json;
use kube_authn::discovery::Endpoint;
use percent_encoding::percent_decode_str;

use crate::{
    callout::{Cause, Fault},
    groups::{Question, Source, encoded},
    headers::HeaderList,
};

/// Of one page's JSON.
const JSON_LIMITS: json::Limits = json::Limits { depth: 32, values: 128 << 10 };
/// Bytes of one group's name.
const MOST_NAME: usize = 1024;
/// Bytes of what the next page is asked by. Each page's is kept while there are more.
const MOST_NEXT: usize = 8 << 10;
/// Groups of one answer, those that do not count left out.
const MOST_GROUPS: usize = 10_000;
/// Bytes of their names.
const MOST_BYTES: usize = 1 << 20;

/// A page that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Those that were wanted.
    pub(super) groups: Vec<String>,
    /// `:path` of the next one.
    pub(super) next: Option<String>,
}

/// Reads a page of the answer to a question. Of its groups those are taken that are wanted: of a thousand a cluster may know a few.
///
/// # Errors
/// If it is not what was asked for.
pub(super) fn read(
    source: &Source,
    question: &Question,
    body: &[u8],
    headers: &HeaderList,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Page, Fault> {
    let odd = |why: String| Fault::new(Cause::Document, why);
    let answer = json::parse_in_place(body, JSON_LIMITS)
        .map_err(|error| odd(format!("the answer is not JSON: {error}")))?;
    if let Some(check) = &source.check {
        match check.evaluate_answer(&answer, &question.claims, Limits::default()).result {
            Ok(Value::Bool(true)) => {}
            Ok(_) => return Err(odd("check: the answer is about somebody else".to_owned())),
            Err(error) => return Err(odd(format!("check: {error}"))),
        }
    }
    let found = source.groups.evaluate_answer(&answer, &question.claims, Limits::default());
    let found = found.result.map_err(|error| odd(format!("groups: {error}")))?;
    let Value::List(_) = &found else {
        return Err(odd("groups: must be a list of strings".to_owned()));
    };
    let groups =
        found.to_texts().map_err(|_| odd("groups: must be a list of strings".to_owned()))?;
    if groups.iter().any(|group| group.len() > MOST_NAME) {
        return Err(odd(format!("groups: a name has more than {MOST_NAME} bytes")));
    }
    let groups = groups.iter().filter(|group| is_wanted(group)).map(|group| group.to_string());
    Ok(Page { groups: groups.collect(), next: next(source, question, &answer, headers)? })
}

/// Whether a group is one of those that count.
pub(super) fn counts(source: &Source, group: &str) -> bool {
    let fits = |only: &String| match only.strip_suffix('*') {
        Some(start) => group.starts_with(start),
        None => group == only,
    };
    source.policy.only.is_empty() || source.policy.only.iter().any(fits)
}

/// Where the next page is. It is on the same server, or nowhere.
fn next(
    source: &Source,
    question: &Question,
    answer: &json::Node<'_>,
    headers: &HeaderList,
) -> Result<Option<String>, Fault> {
    let odd = |why: &str| Fault::new(Cause::Document, format_args!("the next page: {why}"));
    let pages = &source.policy.pages;
    if pages.link_header {
        for (_, value) in headers.iter().filter(|(name, _)| name == "link") {
            let text = std::str::from_utf8(value).map_err(|_| odd("a Link header is no text"))?;
            if let Some(url) = next_link(text).map_err(odd)? {
                return on_server(source, url).map(Some);
            }
        }
        return Ok(None);
    }
    if pages.member.is_empty() {
        return Ok(None);
    }
    // What is there and not understood may lead to more groups.
    let json::Node::Object(members) = answer else {
        return Err(odd("the answer is no object"));
    };
    let value = match members.get(&pages.member) {
        None | Some(json::Node::Null) => return Ok(None),
        Some(json::Node::String(value)) if value.is_empty() => return Ok(None),
        Some(json::Node::String(value)) => &**value,
        Some(json::Node::Number(number)) if !pages.parameter.is_empty() => number.as_str(),
        Some(other) => return Err(odd(&format!("{} is a {}", pages.member, other.kind()))),
    };
    if value.len() > MOST_NEXT {
        return Err(odd("its address is too long"));
    }
    if pages.parameter.is_empty() {
        return on_server(source, value).map(Some);
    }
    let separator = if question.path.contains('?') { '&' } else { '?' };
    let value = encoded(value);
    Ok(Some(format!("{}{separator}{}={value}", question.path, pages.parameter)))
}

fn on_server(source: &Source, url: &str) -> Result<String, Fault> {
    let odd = |why: &str| Fault::new(Cause::Url, format_args!("the next page's URL: {why}"));
    if url.len() > MOST_NEXT {
        return Err(odd("it is too long"));
    }
    let endpoint = Endpoint::parse(url).map_err(|error| odd(&error.to_string()))?;
    let same = |authority: &str| authority.trim_end_matches(":443").to_ascii_lowercase();
    if same(endpoint.authority()) != same(&source.authority) {
        let why = format_args!("the next page's URL names another server: {url:?}");
        return Err(Fault::new(Cause::Url, why));
    }
    let target = endpoint.target();
    let below = target.strip_prefix(&source.base);
    if below.is_none_or(|below| !below.starts_with('/') || leads_up(below)) {
        return Err(odd(&format!("it is not below url: {url:?}")));
    }
    Ok(target.to_owned())
}

/// Whether a target's path goes back to what stands before it, to whoever reads it.
fn leads_up(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8_lossy();
    path.split(['/', '\\']).any(|segment| segment == "." || segment == "..")
}

/// The URL of `rel="next"` in a `Link` header (RFC 8288, section 3). A link may be of several types, which are told apart by blanks.
fn next_link(header: &str) -> Result<Option<&str>, &'static str> {
    let mut rest = header;
    while let Some((_, behind)) = rest.split_once('<') {
        let (url, behind) = behind.split_once('>').ok_or("a Link header has no end")?;
        let parameters = behind.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let mut types = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && types.any(|it| it.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Ok(Some(url));
        }
        rest = behind;
    }
    Ok(None)
}

/// How far the pages are read.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) groups: Vec<String>,
    /// `:path` of each page so far, the next one last.
    pub(super) paths: Vec<String>,
    /// When the first page was asked for. So old are the groups: a user may have lost one since.
    pub(super) since: Option<Duration>,
    /// Until when it has to be: then enough is left for the answer.
    pub(super) turn_by: Duration,
}

impl Progress {
    /// With another page.
    pub(super) fn with(
        mut self,
        groups: Vec<String>,
        next: Option<String>,
        of: &Source,
    ) -> Result<Self, Fault> {
        let odd = |why: String| Fault::new(Cause::Document, why);
        self.groups.extend(groups.into_iter().filter(|group| counts(of, group)));
        if self.groups.len() > MOST_GROUPS {
            return Err(odd(format!("more than {MOST_GROUPS} groups")));
        }
        let bytes = self.groups.iter().fold(0, |sum: usize, it| sum.saturating_add(it.len()));
        if bytes > MOST_BYTES {
            return Err(odd(format!("more than {MOST_BYTES} bytes of groups")));
        }
        let Some(next) = next else {
            self.paths.clear();
            return Ok(self);
        };
        if self.paths.contains(&next) {
            return Err(odd("its pages lead back to one of them".to_owned()));
        }
        if self.paths.len() >= of.policy.maximum_pages as usize {
            return Err(odd(format!("more than maximumPages, {}", of.policy.maximum_pages)));
        }
        self.paths.push(next);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    // Under Node, `#[test]` is wasm-bindgen's.
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_link_is_found_by_its_relation() {
        let okta = "<https://o.example/api/v1/users/1/groups?limit=2>; rel=\"self\", <https://o.example/api/v1/users/1/groups?after=x&limit=2>; rel=\"next\"";
        let after = "https://o.example/api/v1/users/1/groups?after=x&limit=2";
        for (header, want) in [
            (okta, Ok(Some(after))),
            ("<https://o.example/a>; title=\"next\"", Ok(None)),
            ("<https://o.example/a>; rel=next", Ok(Some("https://o.example/a"))),
            ("<https://o.example/a>; rel=\"last next\"", Ok(Some("https://o.example/a"))),
            ("<https://o.example/a>; REL=\"Next\"", Ok(Some("https://o.example/a"))),
            ("<https://o.example/a>; rel=\"prev\"", Ok(None)),
            ("<https://o.example/a>; rel=\"nextcloud\"", Ok(None)),
            ("<https://o.example/a", Err("a Link header has no end")),
            ("", Ok(None)),
        ] {
            assert_eq!(next_link(header), want, "{header}");
        }
    }
}
