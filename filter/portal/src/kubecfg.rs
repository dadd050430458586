//! `GET /kubecfg`: the template's clusters, one user with a token, and a context for each cluster.

use std::fmt::Write as _;

use go_compat::time;
use serde_json::{Value, json};

use super::{
    DecisionContext, Identified, Portal, Request, Step, audit,
    caller::Refusal,
    generate::checked,
    response::Response,
    settings::{Plugin, Template},
};

/// The user's name in the file; kubehook's, so that files of both can be merged.
const USER: &str = "kubehook";

impl Portal {
    pub(super) fn kubecfg(
        &self,
        request: &Request,
        identified: Option<&Identified>,
        now: &DecisionContext<'_>,
    ) -> Step {
        let refuse = |status, why: &str| {
            Step::Respond(Response::text(status, why).audited(audit::refused(why)))
        };
        let Some(template) = &self.settings.template else {
            return Step::Respond(Response::empty(501));
        };
        if let Err(error) = request.check_site(&self.settings) {
            return refuse(403, &error.to_string());
        }
        if request.parameter("form") == "exec" {
            return self.with_plugin(request, template, identified);
        }
        let asked = request.parameter("lifetime");
        let lifetime = match time::parse_duration(&asked) {
            Err(error) => {
                return refuse(400, &format!("cannot parse query parameter lifetime: {error}"));
            }
            Ok(nanos) => match checked(nanos) {
                Ok(lifetime) => lifetime,
                Err(why) => return refuse(400, &why),
            },
        };
        let caller = match self.caller(request, identified) {
            Ok(caller) => caller,
            Err(unidentified) => return unidentified.text(),
        };
        match self.issue(&caller, lifetime, now) {
            Err(Refusal { status, why }) => refuse(status, &why),
            Ok(issued) => {
                let audit = audit::issued(&issued, &caller);
                let open = download(template, &json!({ "token": issued.token })).audited(audit);
                self.judge_caller(&caller, open, Response::text)
            }
        }
    }

    /// A file without a token: kubectl-oidc gets one whenever it is needed.
    fn with_plugin(
        &self,
        request: &Request,
        template: &Template,
        identified: Option<&Identified>,
    ) -> Step {
        let Some(plugin) = &self.settings.plugin else {
            return Step::Respond(Response::empty(501));
        };
        match self.caller(request, identified) {
            Ok(_) => Step::Respond(download(template, &exec(plugin))),
            Err(unidentified) => unidentified.text(),
        }
    }
}

fn exec(plugin: &Plugin) -> Value {
    let mut args = vec![
        "get-token".to_owned(),
        format!("--oidc-issuer-url={}", plugin.issuer),
        format!("--oidc-client-id={}", plugin.client_id),
    ];
    let scopes = plugin.scopes.iter().filter(|scope| *scope != "openid");
    args.extend(scopes.map(|scope| format!("--oidc-extra-scope={scope}")));
    if let Some(data) = &plugin.certificate_authority_data {
        args.push(format!("--certificate-authority-data={data}"));
    }
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "kubectl-oidc",
        "args": args,
        "interactiveMode": "IfAvailable",
        "installHint": "kubectl-oidc logs in to this cluster; install it with: kubectl krew install oidc",
    }})
}

fn download(template: &Template, user: &Value) -> Response {
    Response::new(200, "application/x-yaml; charset=utf-8", file(template, user))
        .with("content-disposition", "attachment; filename=\"config\"")
}

/// A kubeconfig to download. Values stand as JSON, which YAML contains: nothing in them can become anything else.
fn file(template: &Template, user: &Value) -> String {
    let mut text = String::from("apiVersion: v1\nclusters:\n");
    for (name, cluster) in &template.clusters {
        let _ = write!(text, "- cluster: {cluster}\n  name: {}\n", Value::from(name.as_str()));
    }
    text.push_str("contexts:\n");
    for (name, _) in &template.clusters {
        let name = Value::from(name.as_str());
        let _ =
            write!(text, "- context: {}\n  name: {name}\n", json!({"cluster": name, "user": USER}));
    }
    // Of one cluster there is no doubt which is meant.
    let current = match (template.current_context.as_str(), template.clusters.as_slice()) {
        ("", [(only, _)]) => only.as_str(),
        (chosen, _) => chosen,
    };
    let current = Value::from(current);
    let _ = write!(
        text,
        "current-context: {current}\nkind: Config\npreferences: {{}}\nusers:\n- name: {USER}\n  user: {user}\n"
    );
    text
}
