//! What a cluster makes of a token: SelfSubjectReview (authentication.k8s.io/v1), which every signed-in user may create.

use std::collections::BTreeMap;

use oauth2::HttpRequest;
use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::http::{Request, header};

use crate::{
    console::Console,
    http::{Http, HttpError, TrustError},
    kubeconfig::Cluster,
};

/// Why a cluster did not say who we are.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It could not be asked.
    #[error("the cluster cannot be asked: {0}{out}", out = .0.way_out("certificate-authority-data in the kubeconfig"))]
    Http(#[from] HttpError),
    /// Its certificate authority.
    #[error("the cluster cannot be asked: {0}")]
    Trust(#[from] TrustError),
    /// It does not take the token.
    #[error(
        "the cluster {0} refuses the token (401): its issuer, client ID and claims must be those of its authentication configuration; kubectl oidc whoami shows the token's"
    )]
    Unauthorized(String),
    /// It knows whose the token is, and does not let this login in: a condition asks for another one, or the login has been ended.
    #[error("the cluster {server} refuses this login (401): {message}")]
    Login {
        /// The server.
        server: String,
        /// What it says, which names the way out.
        message: String,
    },
    /// It answers something else.
    #[error("the cluster {server} answers {status}: {message}; its administrator knows why")]
    Refused {
        /// The server.
        server: String,
        /// The status code.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Its kubeconfig has a setting that this question does not go with.
    #[error("the cluster is not asked, for {0} is not supported here; kubectl auth whoami asks it")]
    Unsupported(&'static str),
}

/// A user as the cluster sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// Name.
    #[serde(default)]
    pub username: String,
    /// UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Everything else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    status: ReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewStatus {
    #[serde(default)]
    user_info: UserInfo,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

/// Whether the message of a 401 says more than that it is one. That of a token which is not taken is always the same.
fn is_said(message: &str) -> bool {
    !matches!(message, "" | "Unauthorized")
}

/// Tries whether `cluster` answers at all, whatever it says to somebody without a token.
pub fn reach(cluster: &Cluster, console: Console) -> Result<(), ClusterError> {
    let http = client(cluster, console)?;
    let url = format!("{}/version", cluster.server.trim_end_matches('/'));
    let request: HttpRequest = Request::get(&url)
        .body(Vec::new())
        .map_err(|_| HttpError::Body { url, reason: "its address is not valid".to_owned() })?;
    http.call(request)?;
    Ok(())
}

fn client(cluster: &Cluster, console: Console) -> Result<Http, ClusterError> {
    if cluster.tls_server_name.is_some() {
        return Err(ClusterError::Unsupported("tls-server-name"));
    }
    Ok(Http::with_proxy(&cluster.trust, cluster.proxy_url.as_deref(), console)?)
}

/// Asks `cluster` who the bearer of `token` is.
pub fn who_am_i(
    cluster: &Cluster,
    token: &str,
    console: Console,
) -> Result<UserInfo, ClusterError> {
    let http = client(cluster, console)?;
    let path = "apis/authentication.k8s.io/v1/selfsubjectreviews";
    let url = format!("{}/{path}", cluster.server.trim_end_matches('/'));
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request: HttpRequest = Request::post(&url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(review.to_string().into_bytes())
        .map_err(|_| HttpError::Body { url, reason: "its address is not valid".to_owned() })?;
    let response = http.call(request)?;
    let status = response.status().as_u16();
    match status {
        200 | 201 => {
            let review: Review =
                serde_json::from_slice(response.body()).map_err(|_| HttpError::Body {
                    url: cluster.server.clone(),
                    reason: crate::http::not_json(response.body()).to_owned(),
                })?;
            Ok(review.status.user_info)
        }
        _ => {
            let said: Status = serde_json::from_slice(response.body()).unwrap_or_default();
            let (server, message) = (cluster.server.clone(), said.message);
            Err(match status {
                401 if is_said(&message) => ClusterError::Login { server, message },
                401 => ClusterError::Unauthorized(server),
                _ => ClusterError::Refused { server, status, message },
            })
        }
    }
}
