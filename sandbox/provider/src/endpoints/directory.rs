//! The issuer's directory, in the forms of four products, below `/directory`: the users' groups, for a client with a token of its own
//! (client credentials).
//!
//! | path | as |
//! |---|---|
//! | `/v1.0/users/{id}/transitiveMemberOf`, pages by `@odata.nextLink`; `/v1.0/users/{id}/getMemberObjects` | Microsoft Graph |
//! | `/api/v1/users/{id}/groups`, pages by the header `Link` | Okta |
//! | `/admin/directory/v1/groups?userKey=`, pages by `nextPageToken` | Google's Admin SDK |
//! | `/admin/realms/{realm}/users/{id}/groups` | Keycloak |
//!
//! `{id}` is the user's `sub`, or `oid`, or e-mail address. A group's id is its name with `id-` before it.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::{
    call::Call,
    config::User,
    endpoint::Endpoint,
    reply::{self, ErrorCode, OAuthError, Reply},
    state::IssuerShared,
};

/// What the products give at most in one page.
const MOST_GRAPH: usize = 999;
const MOST_OTHERS: usize = 200;

pub(super) fn answer(issuer: &Arc<IssuerShared>, call: &Call) -> Result<Reply, OAuthError> {
    let now = issuer.now();
    let refused = || ErrorCode::InvalidToken.because("a client's own access token is needed");
    let mut state = issuer.lock();
    let token = call.bearer_token().ok_or_else(refused)?;
    let login = state.logins.access_tokens.get(token, now).ok_or_else(refused)?;
    if login.user.is_some() {
        return Err(refused());
    }
    let path = call.path.split_once(Endpoint::Directory.path()).map_or("", |(_, rest)| rest);
    let segments: Option<Vec<String>> = path.split('/').skip(1).map(decoded).collect();
    let segments = segments.unwrap_or_default();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let base = issuer.endpoint(Endpoint::Directory);
    let user = |id: &str| state.config.users.iter().find(|user| is_called(user, id));
    let found = match segments.as_slice() {
        ["v1.0", "users", id, "transitiveMemberOf"] if call.method == Method::GET => {
            user(id).map(|user| graph(user, call, &format!("{base}{path}")))
        }
        ["v1.0", "users", id, "getMemberObjects"] if call.method == Method::POST => {
            let ids = |user: &User| user.groups.iter().map(|it| group_id(it)).collect::<Vec<_>>();
            user(id).map(|user| reply::json(StatusCode::OK, &json!({"value": ids(user)})))
        }
        ["api", "v1", "users", id, "groups"] => {
            user(id).map(|user| okta(user, call, &format!("{base}{path}")))
        }
        ["admin", "directory", "v1", "groups"] => {
            call.query.get("userKey").and_then(user).map(|user| google(user, call))
        }
        ["admin", "realms", _, "users", id, "groups"] => user(id).map(keycloak),
        _ => None,
    };
    let missing = || {
        let body =
            json!({"error": {"code": "Request_ResourceNotFound", "message": "no such user"}});
        reply::json(StatusCode::NOT_FOUND, &body)
    };
    Ok(found.unwrap_or_else(missing))
}

fn decoded(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(Into::into)
}

fn is_called(user: &User, id: &str) -> bool {
    let oid = user.claims.get("oid").and_then(Value::as_str);
    user.sub_claim() == id || oid == Some(id) || user.email.as_deref() == Some(id)
}

fn group_id(name: &str) -> String {
    format!("id-{name}")
}

/// A page of the groups, and from where the next one goes on.
fn page<'a>(
    groups: &'a [String],
    call: &Call,
    (start, size): (&str, &str),
    most: usize,
) -> (&'a [String], Option<usize>, usize) {
    let number = |name: &str| call.query.get(name).and_then(|it| it.parse().ok());
    let start = number(start).unwrap_or(0).min(groups.len());
    let size = number(size).unwrap_or(most).clamp(1, most);
    let end = (start + size).min(groups.len());
    (&groups[start..end], (end < groups.len()).then_some(end), size)
}

fn graph(user: &User, call: &Call, url: &str) -> Reply {
    let (groups, next, size) = page(&user.groups, call, ("$skiptoken", "$top"), MOST_GRAPH);
    let group = |name: &String| json!({"@odata.type": "#microsoft.graph.group", "id": group_id(name), "displayName": name});
    let mut value: Vec<_> = groups.iter().map(group).collect();
    // A user may have roles beside groups, which are none.
    value.push(json!({"@odata.type": "#microsoft.graph.directoryRole", "id": "role", "displayName": "Role"}));
    let mut body = json!({
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#directoryObjects",
        "value": value,
    });
    if let Some(next) = next {
        body["@odata.nextLink"] = json!(format!("{url}?$top={size}&$skiptoken={next}"));
    }
    reply::json(StatusCode::OK, &body)
}

fn okta(user: &User, call: &Call, url: &str) -> Reply {
    let (groups, next, size) = page(&user.groups, call, ("after", "limit"), MOST_OTHERS);
    let group = |name: &String| json!({"id": group_id(name), "type": "OKTA_GROUP", "profile": {"name": name, "description": null}});
    let body: Vec<_> = groups.iter().map(group).collect();
    let reply = reply::json(StatusCode::OK, &json!(body));
    let own = format!("<{url}?limit={size}>; rel=\"self\"");
    match next {
        Some(next) => {
            let next = format!("{own}, <{url}?after={next}&limit={size}>; rel=\"next\"");
            reply::with(reply, header::LINK, &next)
        }
        None => reply::with(reply, header::LINK, &own),
    }
}

fn google(user: &User, call: &Call) -> Reply {
    let (groups, next, _) = page(&user.groups, call, ("pageToken", "maxResults"), MOST_OTHERS);
    let group = |name: &String| json!({"kind": "admin#directory#group", "id": group_id(name), "email": name});
    let mut body = json!({"kind": "admin#directory#groups"});
    if !groups.is_empty() {
        body["groups"] = groups.iter().map(group).collect();
    }
    if let Some(next) = next {
        body["nextPageToken"] = json!(next.to_string());
    }
    reply::json(StatusCode::OK, &body)
}

fn keycloak(user: &User) -> Reply {
    let group = |name: &String| json!({"id": group_id(name), "name": name, "path": format!("/{name}"), "subGroups": []});
    reply::json(StatusCode::OK, &user.groups.iter().map(group).collect())
}
