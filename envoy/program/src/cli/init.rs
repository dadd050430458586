//! `init`: from an issuer to the files of an install that works.

mod answers;
mod ask;
mod cluster;
mod configuration;
mod login;
mod provider;
mod source;

use std::{
    cell::RefCell,
    ffi::OsString,
    fs,
    net::ToSocketAddrs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::Args;
use gateway_config::Documents;
use gateway_files::{self as files, Readers};
use kube_authn::{
    AuthenticationConfiguration, Identity,
    config::{LoadOptions, load},
};
use kube_oidc_gateway::{
    doctor::{Findings, examine_issuers},
    fetch::Request,
    words::printable,
};
use serde_json::Value;

use self::{
    answers::{Answers, Exposure, Plan},
    ask::Asker,
    cluster::{Cluster, words},
    configuration::{Subject, shell},
    login::{claims, plugin, token},
};
use super::{
    error::Error,
    files::read_or_stdin,
    output::{print, say},
    review::Reviewer,
};

const EXAMPLES: &str = "Examples:
  kube-oidc-gateway init
  kube-oidc-gateway init --provider=keycloak --oidc-client-id=kubernetes \\
    --oidc-issuer-url=https://login.example.com/realms/staff \\
    --exposure=load-balancer --group=platform --dry-run";

/// The chart, where this project's folder is the current one.
const CHART: &str = "deploy/helm/kube-oidc-gateway";

/// Write the files of an install: ask, check, log in once, write.
///
/// At a terminal, asks for what neither a flag nor a file (--answers) says. Checks the issuer, its keys, its CA, clocks and names from here; logs in
/// once by kubectl-oidc, shows the claims and the user that the cluster will see, and why the gateway would refuse that user. Then it
/// writes values.yaml for the chart and binding.yaml, a ClusterRoleBinding to start with, and prints what to run: the install, and one
/// line for users. Where kubectl reaches a cluster it checks what you may do there, and installs if you say so.
///
/// Exits with 0; with 1 if a check failed or an answer is missing, and then nothing is written.
#[expect(clippy::doc_markdown, reason = "these comments are what --help prints")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    /// A file with answers, YAML: the flags' names in camelCase, such as oidcIssuerUrl. A flag overrides it
    #[arg(long = "answers", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The folder for values.yaml and binding.yaml
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Print the files, write nothing and install nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
    /// Ask nothing: use defaults, and fail if an answer without a default is missing
    #[arg(long)]
    no_questions: bool,
    /// Ask no server: neither the issuer nor a cluster, and do not log in
    #[arg(long, conflicts_with_all = ["login", "token_file", "install"])]
    offline: bool,
    /// Log in, although there is no terminal
    #[arg(long)]
    login: bool,
    /// A file with a token of the issuer's, instead of a login; - is standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The plugin to log in with [default: kubectl-oidc beside this program, else in PATH]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Install into the cluster without a question, by helm and kubectl
    #[arg(long, conflicts_with = "dry_run")]
    install: bool,
    /// The kubeconfig of the cluster [default: kubectl's own]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Its context [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The chart for helm: a folder, an archive or oci://
    #[arg(long, value_name = "CHART", default_value = CHART)]
    chart: String,
    /// Another flag for helm, such as --set=image.repository=…; repeatable
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    helm_arg: Vec<String>,
    #[command(flatten)]
    answers: Answers,
}

impl Init {
    /// Does what the command line asks for.
    pub fn run(mut self) -> Result<ExitCode, Error> {
        let mut asker = Asker::new(self.no_questions);
        let file = self.file.as_deref().map(Answers::read).transpose()?.unwrap_or_default();
        if self.install {
            self.chart_is_there()?;
        }
        let answers = std::mem::take(&mut self.answers).or(file);
        let plan = answers.plan(&mut asker)?;
        let authentication = plan.authentication();
        let documents = Documents::from_values(&authentication, None)
            .map_err(|error| Error::Usage(error.to_string()))?;
        if !self.offline && !looks_good(&plan, &documents, &mut asker)? {
            return Ok(ExitCode::FAILURE);
        }
        let identity = match self.token(&plan, &asker)? {
            Some(token) => match seen(&plan, &documents, &token)? {
                Ok(identity) => Some(identity),
                Err(reason) => {
                    say(format_args!("The gateway would refuse this user: {reason}"));
                    if !asker.agrees("Go on all the same?")? {
                        return Ok(ExitCode::FAILURE);
                    }
                    None
                }
            },
            None => None,
        };
        let subject = subject(&plan, &answers, identity.as_ref(), &mut asker)?;
        let files = [
            ("values.yaml", Some(plan.values())),
            ("binding.yaml", subject.as_ref().map(|subject| plan.binding(subject))),
        ];
        let files = files.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let files: Vec<_> = files
            .map(|(name, value)| Ok((name, yaml(name, &value)?)))
            .collect::<Result<_, Error>>()?;
        if self.dry_run {
            for (name, text) in &files {
                print(format_args!("==> {name}\n{text}"))?;
            }
        } else {
            self.write(&files, &mut asker)?;
        }
        if subject.is_none() {
            say("Who logs in may do nothing yet: --group or --user makes a binding to start with.");
        }
        if plan.directory.is_none() && plan.provider.has_directory() {
            say(
                "Groups that the token does not have: --group-source has the gateway ask the provider's directory (docs/groups.md).",
            );
        }
        self.tell(&plan, subject.is_some())?;
        if self.dry_run || self.offline {
            return Ok(ExitCode::SUCCESS);
        }
        self.install(&plan, subject.is_some(), &mut asker)
    }

    /// Whether helm will find the chart, as far as that can be seen here.
    fn chart_is_there(&self) -> Result<(), Error> {
        let chart = &self.chart;
        if chart.contains("://") || *chart != CHART || Path::new(chart).exists() {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "no chart at {chart}, where a copy of the project has it: --chart names a folder, an archive or oci://"
        )))
    }

    /// A token of the person's, or none if there was no login.
    fn token(&self, plan: &Plan, asker: &Asker) -> Result<Option<String>, Error> {
        if let Some(path) = &self.token_file {
            let token = read_or_stdin(path)?;
            return Ok(Some(String::from_utf8_lossy(token.trim_ascii()).into_owned()));
        }
        if self.offline || !(asker.asks() || self.login) {
            return Ok(None);
        }
        let Some(plugin) = plugin(self.plugin.clone()) else {
            if self.login {
                let text = "no kubectl-oidc beside this program or in PATH: name one with --plugin";
                return Err(Error::Usage(text.to_owned()));
            }
            say(
                "No login: there is no kubectl-oidc beside this program or in PATH; --plugin names one.",
            );
            return Ok(None);
        };
        token(&plugin, &plan.login()).map(Some)
    }

    fn write(&self, files: &[(&str, String)], asker: &mut Asker) -> Result<(), Error> {
        let there: Vec<_> = files
            .iter()
            .map(|(name, text)| (self.out.join(name), text))
            .filter(|(path, text)| fs::read_to_string(path).is_ok_and(|old| old != **text))
            .map(|(path, _)| path.display().to_string())
            .collect();
        if !there.is_empty() && !self.overwrite {
            let what = there.join(" and ");
            if !asker.agrees(&format!("Replace {what}?"))? {
                let text =
                    format!("{what}: there already, with other content; --overwrite replaces");
                return Err(Error::Usage(text));
            }
        }
        let failed = |path: &Path, source| {
            Error::Usage(format!("cannot write {}: {source}", path.display()))
        };
        fs::create_dir_all(&self.out).map_err(|source| failed(&self.out, source))?;
        for (name, text) in files {
            let path = self.out.join(name);
            // No secret stands in them.
            files::write(&path, text.as_bytes(), Readers::ByUmask)
                .map_err(|source| failed(&path, source))?;
            say(format_args!("Written: {}", path.display()));
        }
        Ok(())
    }

    /// What to run.
    fn tell(&self, plan: &Plan, has_binding: bool) -> Result<(), Error> {
        let file = |name: &str| shell(&self.out.join(name).display().to_string());
        let helm: Vec<_> =
            plan.helm().iter().chain(&self.helm_arg).map(|word| shell(word)).collect();
        print("To install:")?;
        for line in plan.for_source() {
            print(format_args!("  {line}"))?;
        }
        print(format_args!(
            "  helm {} --values {} {}",
            helm.join(" "),
            file("values.yaml"),
            shell(&self.chart)
        ))?;
        if has_binding {
            print(format_args!("  kubectl apply -f {}", file("binding.yaml")))?;
        }
        print("For users, after that:")?;
        for line in plan.for_users() {
            print(format_args!("  {line}"))?;
        }
        Ok(())
    }

    fn install(
        &self,
        plan: &Plan,
        has_binding: bool,
        asker: &mut Asker,
    ) -> Result<ExitCode, Error> {
        if !(asker.asks() || self.install) {
            return Ok(ExitCode::SUCCESS);
        }
        let cluster =
            Cluster { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() };
        let mut findings = Findings::default();
        let name = match cluster.reached() {
            Ok(name) => name,
            Err(reason) if self.install => {
                return Err(Error::Usage(format!("no cluster to install into: {reason}")));
            }
            Err(reason) => {
                say(format_args!("No cluster is reached from here ({reason}): the files are all."));
                return Ok(ExitCode::SUCCESS);
            }
        };
        findings.ok("cluster", &name);
        cluster.look_at_rights(&mut findings, &plan.namespace);
        say(findings.text());
        if findings.failed() > 0 {
            return Ok(ExitCode::FAILURE);
        }
        if !self.install
            && let Err(error) = self.chart_is_there()
        {
            say(format_args!("Nothing is installed: {error}"));
            return Ok(ExitCode::SUCCESS);
        }
        if !self.install && !asker.agrees(&format!("Install into {name} now?"))? {
            return Ok(ExitCode::SUCCESS);
        }
        let mut helm = words(&plan.helm(), "--values", &self.out.join("values.yaml"));
        helm.extend(self.helm_arg.iter().map(OsString::from));
        helm.push(OsString::from(&self.chart));
        cluster.run("helm", &helm)?;
        if has_binding {
            let apply = words(&["apply".to_owned()], "-f", &self.out.join("binding.yaml"));
            cluster.run("kubectl", &apply)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks the issuer, and for names.
fn looks_good(plan: &Plan, documents: &Documents, asker: &mut Asker) -> Result<bool, Error> {
    let mut findings = Findings::default();
    examine_issuers(documents, &mut findings);
    if findings.failed() == 0 {
        look_at_scopes(plan, documents, &mut findings);
    }
    look_at_name(plan, &mut findings);
    say(findings.text());
    Ok(findings.failed() == 0 || asker.agrees("Go on all the same?")?)
}

/// Whether the issuer lists the scopes of the login.
fn look_at_scopes(plan: &Plan, documents: &Documents, findings: &mut Findings) {
    let Ok(configuration) = configuration(documents) else { return };
    let Some(jwt) = configuration.jwt().first() else { return };
    let Ok(document) = Request::new(jwt).discovery_by_program() else { return };
    let document: Value = serde_json::from_slice(&document).unwrap_or_default();
    let Some(listed) = document["scopes_supported"].as_array() else { return };
    let is_listed = |scope: &&String| listed.iter().any(|it| it.as_str() == Some(scope.as_str()));
    let absent: Vec<_> = plan.scopes.iter().filter(|scope| !is_listed(scope)).cloned().collect();
    if absent.is_empty() {
        findings.ok("scopes", format!("openid {}", plan.scopes.join(" ")));
    } else {
        findings.warn(
            "scopes",
            format!("the issuer does not list {}", absent.join(" ")),
            "leave them out of --oidc-extra-scope, or allow them at the issuer",
        );
    }
}

fn configuration(documents: &Documents) -> Result<AuthenticationConfiguration, Error> {
    let usage = |error: &dyn std::fmt::Display| Error::Usage(error.to_string());
    let text = serde_json::to_vec(documents.authentication()).map_err(|error| usage(&error))?;
    load(&text, &LoadOptions::default()).map_err(|errors| usage(&errors))
}

fn look_at_name(plan: &Plan, findings: &mut Findings) {
    let host = plan.host.as_str();
    if host.is_empty() || plan.exposure == Exposure::PortForward {
        return;
    }
    match (host, 443).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            findings.ok("name", format!("{host} is {}", addresses.join(", ")));
        }
        Err(error) => findings.warn(
            "name",
            format!("{host} has no address yet: {error}"),
            "make the record when the gateway's address is known: clients come by this name",
        ),
    }
}

/// Shows the claims, and the user that the cluster sees, or why there is none.
fn seen(
    plan: &Plan,
    documents: &Documents,
    token: &str,
) -> Result<Result<Identity, String>, Error> {
    let claims = claims(token);
    let width = claims.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    say("Claims of the token");
    for (name, value) in &claims {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        say(format_args!("  {:width$}  {}", printable(name), printable(&value)));
    }
    let configuration = configuration(documents)?;
    let reviewer = Reviewer {
        configuration: &configuration,
        gateway: documents.gateway(),
        jwks: &[],
        algorithms: &[],
        now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        run_dir: PathBuf::from("/nonexistent"),
        asks: None,
        ways: RefCell::default(),
        notes: RefCell::default(),
    };
    let identity = reviewer.review(token.as_bytes())?;
    let identity = identity.and_then(|identity| reviewer.guarded(identity));
    for note in reviewer.notes.into_inner() {
        say(note);
    }
    if let Ok(identity) = &identity {
        say("The cluster will see");
        say(format_args!("  user    {}", printable(&identity.username)));
        say(format_args!("  groups  {}", printable(&identity.groups.join(", "))));
        if identity.groups.is_empty() && !plan.groups_claim.is_empty() {
            say(format_args!(
                "The token has no groups in the claim {}: {}",
                plan.groups_claim,
                plan.provider.preset().groups_come
            ));
        }
    }
    Ok(identity)
}

/// Whom to start with: who was said, or chosen of what the token has.
fn subject(
    plan: &Plan,
    answers: &Answers,
    identity: Option<&Identity>,
    asker: &mut Asker,
) -> Result<Option<Subject>, Error> {
    let said = plan.subject(answers.group.as_deref(), answers.user.as_deref());
    let Some(identity) = identity else { return Ok(said) };
    let subject = if said.is_some() || !asker.asks() {
        said
    } else if identity.groups.is_empty() {
        let question = format!("User to give the role {} to (- for nobody)", plan.role);
        let name = asker.ask(&question, Some(&identity.username), "--user")?;
        let is_known = name == identity.username;
        chosen(name, is_known, |name| plan.subject(None, Some(name)), Subject::User)
    } else {
        let question = format!(
            "Group to give the role {} to, of {} (- for none)",
            plan.role,
            identity.groups.join(", ")
        );
        let first = identity.groups.first().map(String::as_str);
        let name = asker.ask(&question, first, "--group")?;
        let is_known = identity.groups.contains(&name);
        chosen(name, is_known, |name| plan.subject(Some(name), None), Subject::Group)
    };
    let is_theirs = match &subject {
        Some(Subject::Group(name)) => identity.groups.contains(name),
        Some(Subject::User(name)) => *name == identity.username,
        None => true,
    };
    if let (false, Some(subject)) = (is_theirs, &subject) {
        let (Subject::Group(name) | Subject::User(name)) = subject;
        say(format_args!(
            "Note: the binding is for {}, which this token is not: its user gets nothing by it.",
            printable(name)
        ));
    }
    Ok(subject)
}

/// A name of the cluster's if it is one that was shown, else one of the token's, as flags have it.
fn chosen(
    name: String,
    is_known: bool,
    of_token: impl FnOnce(&str) -> Option<Subject>,
    of_cluster: impl FnOnce(String) -> Subject,
) -> Option<Subject> {
    match name.as_str() {
        "-" => None,
        _ if is_known => Some(of_cluster(name)),
        _ => of_token(&name),
    }
}

fn yaml(name: &str, value: &Value) -> Result<String, Error> {
    let about = match name {
        "values.yaml" => "Values for the chart kube-oidc-gateway, by `kube-oidc-gateway init`.",
        _ => "Who may do something to start with, by `kube-oidc-gateway init`.",
    };
    let text = serde_saphyr::to_string(value)
        .map_err(|error| Error::Usage(format!("{name} is no YAML: {error}")))?;
    Ok(format!("# {about}\n{text}"))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::{ask::answering, provider::Provider, *};

    /// What a person types is the token's own name, as with the flag; what is shown is the cluster's.
    #[test]
    fn whom_one_starts_with_is_named_as_the_cluster_sees_them() {
        let answers = Answers {
            provider: Provider::from_str("keycloak", true).ok(),
            oidc_issuer_url: Some("https://k.example/realms/a".to_owned()),
            oidc_client_id: Some("kubernetes".to_owned()),
            ..Answers::default()
        };
        let plan = answers.plan(&mut answering("\n\n\n")).unwrap();
        let identity = Identity {
            username: "keycloak:ada".to_owned(),
            groups: vec!["keycloak:staff".to_owned()],
            ..Identity::default()
        };
        for (typed, want) in [
            ("\n", Some("keycloak:staff")),
            ("staff\n", Some("keycloak:staff")),
            ("keycloak:staff\n", Some("keycloak:staff")),
            ("admins\n", Some("keycloak:admins")),
            ("-\n", None),
        ] {
            let subject = subject(&plan, &answers, Some(&identity), &mut answering(typed)).unwrap();
            assert_eq!(subject, want.map(|name| Subject::Group(name.to_owned())), "{typed:?}");
        }
    }
}
