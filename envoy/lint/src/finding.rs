//! What is wrong, where, and the way out.

use std::fmt;

use crate::node::Node;

macro_rules! rules {
    ($($variant:ident $name:literal $way_out:literal,)*) => {
        /// A rule that a configuration must keep. Its name and way out are what `lint` prints.
        #[expect(missing_docs, reason = "the way out says what each is about")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($variant,)* }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What to do about it.
            #[must_use]
            pub fn way_out(self) -> &'static str {
                match self { $(Self::$variant => $way_out,)* }
            }
        }
    };
}

rules! {
    Unread "unread" "give lint every file that the bootstrap refers to; what a server delivers (ADS, gRPC) is proven by the config_dump of an Envoy that runs with it",
    EnvoyVersion "envoy-version" "run a version of Envoy with the fix of CVE-2026-73548, with its switch left on: docs/envoy.md has the versions",
    AdminTcp "admin-tcp" "let the admin interface listen on a Unix socket (address.pipe, mode 384): anyone who reaches it can stop Envoy or read its configuration",
    NativeModule "native-module" "load no native module but the gateway's: dynamic_module_config with name: kube_oidc_gateway, module.local.filename (the whole path of libkube_oidc_gateway.so), do_not_close: true, and no load_globally; with it the filter is never terminal_filter. A native module reads all of Envoy's memory",
    NativeVersion "native-version" "run an Envoy that the native module was tested with (docs/native.md), or take the Wasm filter, which every supported Envoy runs",
    NoFilter "no-filter" "put the gateway's filter into http_filters of the listener in front of kube-apiserver",
    Around "around" "give the credential's cluster no route here, or put strip, filter and gate into this listener too",
    NoTls "no-tls" "give the filter chain a DownstreamTlsContext: tokens travel here",
    ClientAddress "client-address" "set use_remote_address: true, and xff_num_trusted_hops for the proxies before Envoy: else a client says where it comes from",
    ProxyProtocol "proxy-protocol" "give every filter chain a filter_chain_match with direct_source_prefix_ranges, the balancers' addresses, and leave allow_requests_without_proxy_protocol out: else a client says where it comes from",
    Connections "connections" "put a network filter that counts before the connection manager exactly where the gateway's configuration has countsConnections, and in the form of the gateway's filter: connections.wasm with failure_policy FAIL_RELOAD and a vm_id of its own, or the native module by the same path. Of whom the filter cannot tell it, it ends users' connections too, and when its VM dies Envoy ends all that have passed it",
    RequestId "request-id" "set preserve_external_request_id: false: the id becomes the Audit-ID, and a client could choose it",
    UndecidedTimeout "undecided-timeout" "set stream_idle_timeout to more than limits.waitSeconds and at most 60s; routes behind the doors give the long one: a request whose VM died ends by this alone",
    RequestTimeout "request-timeout" "leave it out or set it to 0s: watches, uploads and exec last as long as they last",
    ConnectionEnd "connection-end" "set http1_safe_max_connection_duration: true beside max_connection_duration: else a connection of HTTP/1.1 is closed when its time is over, and a request that is just coming is lost",
    Upgrades "upgrades" "let upgrade_configs hold websocket and SPDY/3.1, without filters of their own, and nothing else",
    Underscores "underscores" "set common_http_protocol_options.headers_with_underscores_action: DROP_HEADER: servers read impersonate_user as impersonate-user",
    Credential401 "credential-401" "give local_reply_config a mapper that makes 503 of Envoy's own 401 (a missing ServiceAccount token): on 401 kubectl throws the user's login away",
    DownstreamCredential "downstream-credential" "inject the credential in the cluster's own http_filters: in the listener every request gets it, also those that go on with their own token",
    PluginConfiguration "plugin-configuration" "make configuration a google.protobuf.StringValue with the JSON that the filter takes; `kube-oidc-gateway render` writes one",
    FailurePolicy "failure-policy" "set failure_policy: FAIL_RELOAD: FAIL_OPEN lets requests pass a crashed filter, FAIL_CLOSED never brings it back",
    GatewayName "gateway-name" "give each gateway's and each portal's filter a config.name of its own: it tells their metrics and their limits apart",
    SharedVm "shared-vm" "give them the same vm_config.environment_variables, or each a vm_id of its own: Envoy runs filters of one vm_id and module in one VM, with the environment of the first",
    CalloutCluster "callout-cluster" "define the cluster that the filter's configuration names; the one for reviews must carry the credential",
    NoStrip "no-strip" "put a native header_mutation filter directly before the gateway's filter",
    WeakStrip "weak-strip" "let the strip remove it, by prefix where there are many names (remove_on_match)",
    NoGate "no-gate" "put a native RBAC filter directly behind the gateway's filter that allows only requests with its mark, filter state wasm.user",
    OpenGate "open-gate" "let the gate's rules have action ALLOW and every principal demand filter state wasm.user, and let no other filter set a state whose name begins with wasm.",
    GateComparison "gate-comparison" "with clientImpersonation reject or authorize, let the gate's condition compare impersonate-user, -group and -uid with wasm.user, wasm.groups and wasm.uid, as `kube-oidc-gateway render` writes it",
    Skipped "skipped" "let match_delegate around the gateway's Wasm filter skip it for answers of the class 2xx alone, and only where filter state wasm.answer is not true, as `kube-oidc-gateway render` writes it, or take the filter out of it; and take a portal's filter, and the native form, out of it: what is kept from the filter once is kept from it to the end of the stream, such as bytes behind an upgrade. Remove a capability_restriction_config",
    BetweenDoors "between-doors" "move the filter before the strip: between strip, the gateway's filter and gate, and behind the gate, it could put back what they took away",
    Switchable "switchable" "remove it: a filter of the doors that can be absent, disabled or overridden is none",
    RouteWithoutDecision "route-without-decision" "match filter_state wasm.mode: impersonate for the credential's clusters, own-token for others: a route without it leads around the filter's decision",
    LastRoute "last-route" "let the last route of every virtual host match prefix / and answer direct_response 403",
    OpenCluster "open-cluster" "name one cluster that exists: a cluster that a request chooses, a plugin finds or a mirror copies to is behind no door",
    ReviewRouted "review-routed" "give the filter's questions a cluster of their own that no route names: it has the credential and no door",
    CalloutRouted "callout-routed" "give each server that the filter asks (calloutClusters) a cluster of its own that no route names: it has a credential and no door",
    CalloutCredential "callout-credential" "give the cluster a fixed address and a credential of its own: not the gateway's, which would make that server the gateway, and no cluster that the filter asks anybody else by",
    AccessRouted "access-routed" "remove the route: by that cluster the filter alone asks whose access has ended, and the answer names users",
    RouteHeaders "route-headers" "remove it: behind the gate nobody looks at what a route or a cluster adds",
    PathRewrite "path-rewrite" "remove the rewrite: the gateway's conditions judge a request by its path, and kube-apiserver would see another",
    AuditId "audit-id" "let request_headers_to_add of the route or its virtual host set audit-id to %REQ(x-request-id)% with append_action OVERWRITE_IF_EXISTS_OR_ADD: else kube-apiserver's audit log has the request under another id than all others",
    RouteTimeout "route-timeout" "set timeout: 0s and a long idle_timeout on the route, or put routes with query_parameters watch and follow before it: else watches and followed logs end after 15 seconds",
    ClientTimeout "client-timeout" "set max_stream_duration: {max_stream_duration: 0s, grpc_timeout_header_max: 0s}: the filter ends streams by it",
    NoDoor "no-door" "put envoy.filters.http.upstream_rbac into the http_filters of the cluster, before the credential_injector if there is one",
    OpenDoor "open-door" "let it allow only requests with a non-empty impersonate-user header and filter state wasm.mode impersonate",
    LenientInjector "lenient-injector" "set overwrite: true and allow_request_without_credential: false, and with a client certificate let a header_mutation of the cluster remove authorization; the header that is injected is authorization: else the client's own token travels in place of the credential, or beside it",
    UpstreamTrust "upstream-trust" "give the cluster an UpstreamTlsContext with a trusted CA and match_typed_subject_alt_names: else anybody in between takes the credential",
    Breakers "breakers" "raise max_connections, max_pending_requests and max_requests to 10000 or more: each watch is a request, and Envoy's default is 1024",
    OneRequest "one-request" "set common_http_protocol_options.max_requests_per_connection: 1 on the HTTP/1.1 cluster: what came onto a connection behind an upgrade that was refused must meet no other request",
    PortalOrder "portal-order" "let http_filters of the portal be: RBAC on its host name if it shares a port, oauth2 if it has a login, the Wasm filter with root_id portal, router",
    PortalHost "portal-host" "give the portal's filter chain server_names, and let an RBAC filter with action ALLOW stand first that demands the same name of :authority: a connection for one name is for no other; where it has neither TLS nor a neighbour, name its hosts (--allowed-host)",
    PortalTrust "portal-trust" "set require_client_certificate and a trusted_ca in the portal's own filter chain, or no xff_num_trusted_hops where networks vouch: else anybody is the user that the header names",
    PortalKeys "portal-keys" "pass the keys in Envoy's environment (vm_config.environment_variables.host_env_keys): anyone who sees Envoy's configuration sees what is in it",
    PortalAudience "portal-audience" "give each portal an audience of its own (--audience): the portals of one Envoy have the same keys, so that nothing else tells their tokens apart",
    PortalLogin "portal-login" "take the login's secrets from SDS files, give each cookie a name with __Host- and same_site, and keep neither access nor refresh token: what `kube-oidc-gateway portal` renders",
    PortalIdentify "portal-identify" "let the filter that says whose a token is listen on a Unix socket (address.pipe, mode 384), and let no route there lead on; give that filter portalIssuer, the portal's issuer or \"\": else a login that is revoked leaves the tokens that were made with it",
    Probe "probe" "let the program's own questions come by a Unix socket (address.pipe, mode 384), and let each route there name one cluster without the credential that leads where requests go, by the same TLS: else readiness says something else than requests see, or asks as the gateway",
    TraceTags "trace-tags" "give the spans a tag http.url without the query, and none with a header that holds a credential: anyone who reads traces would have them",
    Collector "collector" "give the collector of traces a token of its own: who has the gateway's is the gateway",
    Streams "streams" "set http2_protocol_options.max_concurrent_streams to at most 100: kube-apiserver refuses more on a connection",
}

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// File and path in it.
    pub at: String,
    /// What is there.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, at, message } = self;
        write!(f, "{at}: {}: {message}\n  way out: {}", rule.name(), rule.way_out())
    }
}

/// What has been found so far.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, rule: Rule, at: &Node<'_>, message: impl Into<String>) {
        let finding = Finding { rule, at: at.to_string(), message: message.into() };
        // What several listeners share is looked at once for each.
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Adds the finding unless `holds`.
    pub(super) fn demand(&mut self, holds: bool, rule: Rule, at: &Node<'_>, message: &str) {
        if !holds {
            self.add(rule, at, message);
        }
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
