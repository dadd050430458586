//! A filter that fails in every way a filter can, so that a test can see that the doors behind it hold without it.
//!
//! The request header `x-rogue` says how: `panic` ends the VM; `mark` sets the marks that the gate and the routes look
//! for but writes no identity; `mark-empty` writes an empty one; `mark-own-token` claims a mode that is not configured;
//! `pause` holds the request and never lets it go; `serve` does what an honest filter does for the user `rogue`; anything
//! else lets the request pass untouched, as a filter that was skipped would.

use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, MapType},
};

mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::Root));
    }}
}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream;

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        match self.get_http_request_header_bytes("x-rogue").as_deref() {
            Some(b"panic") => panic!("on demand"),
            Some(b"mark") => mark("impersonate"),
            Some(b"mark-empty") => {
                mark("impersonate");
                self.set_http_request_header("impersonate-user", Some(""));
            }
            Some(b"mark-own-token") => mark("own-token"),
            Some(b"serve") => {
                mark("impersonate");
                self.set_http_request_header("impersonate-user", Some("rogue"));
            }
            Some(b"pause") => return Action::Pause,
            _ => {}
        }
        Action::Continue
    }
}

fn mark(mode: &str) {
    let _ = hostcalls::set_property(vec!["user"], Some(b"rogue"));
    let _ = hostcalls::set_property(vec!["mode"], Some(mode.as_bytes()));
    // Any change of a header makes Envoy choose the route anew.
    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-rogue-was-here", Some("1"));
}
