//! What of a configuration matters here: connection managers with their filters and routes, and clusters.

use serde_json::Value;

use crate::{
    delegate, dump,
    finding::{Findings, Rule},
    node::Node,
    plugin::Named,
    sources::Sources,
};

/// What the program's own questions are counted under.
const PROBE: &str = "probe";

/// The end of the injector's type, wherever it stands.
const INJECTOR: &str = ".CredentialInjector\"";

/// What clusters for issuers are called.
const ISSUERS: &str = "issuers_";

/// The whole configuration.
pub struct Model<'a> {
    pub bootstrap: Node<'a>,
    pub managers: Vec<Manager<'a>>,
    /// The network filters that are none.
    pub others: Vec<Node<'a>>,
    pub clusters: Vec<Cluster<'a>>,
    /// What the filters' own configurations name.
    pub named: Named,
    /// The clusters that spans are sent to.
    pub collectors: Vec<&'a str>,
    /// The clusters to which a listener leads, but for the one by which the program asks.
    led_to: Vec<&'a str>,
    /// The clusters by which the program asks.
    asked_by: Vec<&'a str>,
    /// The clusters that connection managers name beside their routes: for filters, logs and traces.
    used: Vec<&'a str>,
}

/// An HTTP connection manager.
pub struct Manager<'a> {
    pub node: Node<'a>,
    pub listener: Node<'a>,
    pub filter_chain: Node<'a>,
    /// What the network filters before it are configured with.
    pub before: Vec<Node<'a>>,
    pub filters: Vec<Filter<'a>>,
    pub routes: Option<Node<'a>>,
}

/// An HTTP filter.
#[derive(Clone)]
pub struct Filter<'a> {
    /// The entry in the chain.
    pub entry: Node<'a>,
    pub name: &'a str,
    /// Its configuration, wherever it comes from.
    pub config: Node<'a>,
    /// What stands around it, if it runs somebody's code, and can keep requests and answers from it.
    pub around: Option<Node<'a>>,
}

/// A cluster.
pub struct Cluster<'a> {
    pub node: Node<'a>,
    pub name: &'a str,
    pub filters: Vec<Filter<'a>>,
}

impl<'a> Model<'a> {
    /// Reads all listeners and clusters, static and from files.
    pub fn read(sources: &'a Sources, findings: &mut Findings) -> Self {
        let bootstrap = sources.bootstrap();
        let mut reader = Reader { sources, findings };
        let listeners = reader.all(&bootstrap, "listeners", "lds_config");
        let clusters = reader.all(&bootstrap, "clusters", "cds_config");
        let managers: Vec<_> =
            listeners.iter().flat_map(|listener| reader.managers(listener)).collect();
        let (mut led_to, mut asked_by) = (Vec::new(), Vec::new());
        for manager in &managers {
            let found = if manager.is_probe() { &mut asked_by } else { &mut led_to };
            manager.routes.iter().for_each(|routes| names(routes.value(), found));
        }
        let others: Vec<_> =
            listeners.iter().flat_map(|listener| reader.other_filters(listener)).collect();
        for filter in &others {
            names(filter.value(), &mut led_to);
        }
        let clusters: Vec<_> = clusters.into_iter().map(|node| reader.cluster(node)).collect();
        let mut used = Vec::new();
        for manager in managers.iter().filter(|manager| !manager.is_probe()) {
            uses(manager.node.value(), &mut used);
            manager.filters.iter().for_each(|filter| uses(filter.config.value(), &mut used));
        }
        for found in [&mut led_to, &mut asked_by, &mut used] {
            follow_aggregates(&clusters, found);
        }
        let named = Named::read(&managers);
        let collectors = managers.iter().filter_map(Manager::collector).collect();
        Self { bootstrap, managers, others, clusters, named, collectors, led_to, asked_by, used }
    }

    pub fn cluster(&self, name: &str) -> Option<&Cluster<'a>> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The clusters whose requests carry the gateway's credential.
    pub fn with_credential(&self) -> impl Iterator<Item = &Cluster<'a>> {
        self.clusters.iter().filter(|cluster| self.has_credential(cluster))
    }

    /// Whether requests to a cluster carry the gateway's credential. What issuers are shown is another one, and so is what
    /// Envoy shows servers of its own, to which no client is led.
    pub fn has_credential(&self, cluster: &Cluster<'_>) -> bool {
        let among = |names: &[String]| names.iter().any(|name| name == cluster.name);
        let asked = || self.asked_by.contains(&cluster.name) && !cluster.may_be_issuers();
        let led_to =
            || self.led_to.contains(&cluster.name) || among(&self.named.reviews) || asked();
        let shows = || cluster.shows_certificate() && !among(&self.named.issuers);
        // Spans are sent by nobody's request: what they are shown with is the collector's own.
        let collects = self.collectors.contains(&cluster.name) && !led_to();
        // Servers that the filter asks are shown a credential of their own: no route may lead there at all.
        let asks_others = among(&self.named.callouts) && !among(&self.named.reviews);
        !asks_others && (cluster.injects() && !collects || shows() && led_to())
    }

    /// Whether a route or a filter of whatever kind leads to a cluster.
    pub fn is_led_to(&self, cluster: &Cluster<'_>) -> bool {
        self.led_to.contains(&cluster.name) || self.used.contains(&cluster.name)
    }
}

impl<'a> Manager<'a> {
    /// The cluster that its spans are sent to.
    fn collector(&self) -> Option<&'a str> {
        let config = self.node.at(&["tracing", "provider", "typed_config"])?;
        let grpc = config.at(&["grpc_service", "envoy_grpc"]);
        let grpc = grpc.and_then(|it| it.text("cluster_name"));
        let http = config.at(&["http_service", "http_uri"]);
        grpc.or_else(|| http.and_then(|it| it.text("cluster")))
    }

    /// Whether it is for the program's own questions.
    pub fn is_probe(&self) -> bool {
        let only = |filter: &Filter<'_>| filter.is("Router") || filter.sets_state();
        self.node.text("stat_prefix") == Some(PROBE) && self.filters.iter().all(only)
    }
}

impl<'a> Cluster<'a> {
    /// Whether it bears the name of one for issuers. A reload asks those that the filter is not told of yet.
    pub fn may_be_issuers(&self) -> bool {
        self.name.starts_with(ISSUERS)
    }

    /// Whether it adds a token to requests.
    pub fn injects(&self) -> bool {
        self.filters.iter().any(Filter::injects)
    }

    /// Whether its connections show a client certificate.
    fn shows_certificate(&self) -> bool {
        let mut holders = self.node.items("transport_socket_matches");
        holders.push(self.node.clone());
        let contexts = holders
            .iter()
            .filter_map(|it| it.at(&["transport_socket", "typed_config", "common_tls_context"]));
        let mut fields = contexts.flat_map(|context| {
            ["tls_certificates", "tls_certificate_sds_secret_configs"]
                .map(|field| context.items(field))
        });
        fields.any(|certificates| !certificates.is_empty())
    }

    /// Its options for HTTP.
    pub fn http_options(&self) -> Option<Node<'a>> {
        self.node.at(&[
            "typed_extension_protocol_options",
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        ])
    }
}

impl Filter<'_> {
    /// Whether it sets the state of a request.
    pub fn sets_state(&self) -> bool {
        let of = self.config.text("@type");
        of.is_some_and(|of| of.ends_with(".filters.http.set_filter_state.v3.Config"))
    }

    /// Whether it adds a credential to requests, or has a filter within that does.
    pub fn injects(&self) -> bool {
        let mutations = self.config.get("mutations").map(|it| it.items("request_mutations"));
        let added = mutations.unwrap_or_default().into_iter();
        let mut added = added.filter_map(|it| it.at(&["append", "header"])?.text("key"));
        self.config.value().to_string().contains(INJECTOR)
            || added.any(|name| name.eq_ignore_ascii_case("authorization"))
    }

    /// Whether it is of this type (the message of its configuration).
    pub fn is(&self, message: &str) -> bool {
        self.config.type_name() == message
    }
}

struct Reader<'a, 'f> {
    sources: &'a Sources,
    findings: &'f mut Findings,
}

impl<'a> Reader<'a, '_> {
    fn all(&mut self, bootstrap: &Node<'a>, what: &str, discovery: &str) -> Vec<Node<'a>> {
        let fixed = bootstrap.get("static_resources").map(|it| it.items(what)).unwrap_or_default();
        let source = bootstrap.at(&["dynamic_resources", discovery]);
        let locator = bootstrap.at(&["dynamic_resources", &dump::locator(discovery)]);
        if let Some(locator) = locator {
            self.findings.add(Rule::Unread, &locator, "what is there was not read");
        }
        fixed.into_iter().chain(source.map(|it| self.resources(&it)).unwrap_or_default()).collect()
    }

    fn resources(&mut self, config_source: &Node<'a>) -> Vec<Node<'a>> {
        self.sources.resources(config_source).unwrap_or_else(|| {
            self.findings.add(Rule::Unread, config_source, "what is here was not read");
            Vec::new()
        })
    }

    fn managers(&mut self, listener: &Node<'a>) -> Vec<Manager<'a>> {
        let chains = listener.items("filter_chains").into_iter();
        let chains = chains.chain(listener.get("default_filter_chain"));
        let mut managers = Vec::new();
        for chain in chains {
            let mut before = Vec::new();
            for entry in chain.items("filters") {
                let Some(node) = self.config(&entry) else { continue };
                if node.type_name() == "HttpConnectionManager" {
                    let before = std::mem::take(&mut before);
                    let filters = self.filters(&node);
                    let routes = self.routes(&node);
                    let (listener, filter_chain) = (listener.clone(), chain.clone());
                    managers.push(Manager {
                        node,
                        listener,
                        filter_chain,
                        before,
                        filters,
                        routes,
                    });
                } else {
                    before.push(node);
                }
            }
        }
        managers
    }

    /// The network filters that are no connection managers.
    fn other_filters(&mut self, listener: &Node<'a>) -> Vec<Node<'a>> {
        let chains = listener.items("filter_chains").into_iter();
        let chains = chains.chain(listener.get("default_filter_chain"));
        let entries = chains.flat_map(|chain| chain.items("filters"));
        let configs = entries.filter_map(|entry| self.config(&entry));
        configs.filter(|config| config.type_name() != "HttpConnectionManager").collect()
    }

    fn filters(&mut self, node: &Node<'a>) -> Vec<Filter<'a>> {
        let filter = |entry: Node<'a>| {
            let name = entry.text("name").unwrap_or_default();
            let config = self.config(&entry).unwrap_or_else(|| entry.clone());
            match delegate::inner(&config) {
                Some(inner) => Filter { entry, name, config: inner, around: Some(config) },
                None => Filter { entry, name, config, around: None },
            }
        };
        node.items("http_filters").into_iter().map(filter).collect()
    }

    /// A filter's configuration, from its entry or from the file that it is discovered in.
    fn config(&mut self, entry: &Node<'a>) -> Option<Node<'a>> {
        if let Some(config) = entry.get("typed_config") {
            return Some(config);
        }
        let source = entry.at(&["config_discovery", "config_source"])?;
        let name = entry.text("name");
        let mut resources = self.resources(&source).into_iter();
        resources.find(|it| it.text("name") == name).and_then(|it| it.get("typed_config"))
    }

    fn routes(&mut self, manager: &Node<'a>) -> Option<Node<'a>> {
        if let Some(routes) = manager.get("route_config") {
            return Some(routes);
        }
        let rds = manager.get("rds").or_else(|| {
            if let Some(scoped) = manager.get("scoped_routes") {
                self.findings.add(Rule::Unread, &scoped, "scoped routes are not read");
            }
            None
        })?;
        let name = rds.text("route_config_name");
        let source = rds.get("config_source")?;
        self.resources(&source).into_iter().find(|it| it.text("name") == name)
    }

    fn cluster(&mut self, node: Node<'a>) -> Cluster<'a> {
        let name = node.text("name").unwrap_or_default();
        let mut cluster = Cluster { node, name, filters: Vec::new() };
        if let Some(options) = cluster.http_options() {
            cluster.filters = self.filters(&options);
        }
        cluster
    }
}

/// Adds the clusters that those found are made of (`envoy.clusters.aggregate`), and so on.
fn follow_aggregates<'a>(clusters: &[Cluster<'a>], found: &mut Vec<&'a str>) {
    let mut next = 0;
    while let Some(&name) = found.get(next) {
        next += 1;
        let made_of =
            clusters.iter().filter(|cluster| cluster.name == name).filter_map(|cluster| {
                cluster
                    .node
                    .at(&["cluster_type", "typed_config"])?
                    .value()
                    .get("clusters")?
                    .as_array()
            });
        for name in made_of.flatten().filter_map(Value::as_str) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
}

/// Every cluster that a configuration names, at any depth.
pub fn names<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Object(fields) => {
            found.extend(fields.get("cluster").and_then(Value::as_str));
            let weighted = fields.get("weighted_clusters").and_then(|it| it.get("clusters"));
            let weighted = weighted.and_then(Value::as_array).into_iter().flatten();
            found.extend(weighted.filter_map(|it| it.get("name")).filter_map(Value::as_str));
            fields.values().for_each(|field| names(field, found));
        }
        _ => {}
    }
}

/// The same for what asks by itself: filters, logs and traces.
fn uses<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| uses(item, found)),
        Value::Object(fields) => {
            let named = ["cluster", "cluster_name"].into_iter().filter_map(|it| fields.get(it));
            found.extend(named.filter_map(Value::as_str));
            fields.values().for_each(|field| uses(field, found));
        }
        _ => {}
    }
}
