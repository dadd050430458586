//! A headless Chromium, driven over `WebDriver` (W3C) by its own driver.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use sandbox::{Port, Process, Spec};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use sandbox::wait::{LIMIT, until};

/// The key under which `WebDriver` answers with an element's identifier (section 11 of the standard).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a profile of its own: it has never been anywhere, and keeps its cookies until it is dropped.
pub struct Browser {
    agent: Agent,
    session: String,
    // Ends before its folder is removed.
    _driver: Process,
    _port: Port,
    folder: TempDir,
}

impl Browser {
    /// Starts one. It takes any certificate: whom a browser trusts is not what is tested.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve().unwrap();
        let mut driver = Process::start(&Spec {
            name: "chromedriver",
            program: "chromedriver".into(),
            arguments: vec![format!("--port={}", port.number())],
            environment: vec![],
            folder: None,
            log: folder.path().join("chromedriver.log"),
        })
        .unwrap();
        let config = Agent::config_builder().proxy(None).http_status_as_error(false);
        let agent: Agent = config.timeout_global(Some(LIMIT)).build().into();
        let base = format!("http://{}", port.address());
        driver
            .wait_until(LIMIT, || {
                let answer = agent.get(format!("{base}/status")).call();
                let answer = answer.and_then(|mut answer| answer.body_mut().read_json::<Value>());
                let answer = answer.map_err(|error| error.to_string())?;
                answer["value"]["ready"].as_bool().filter(|&r| r).ok_or_else(|| answer.to_string())
            })
            .unwrap();
        let arguments = [
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            // As root, as in a container, there is no other way; the pages are our own and Keycloak's.
            "--no-sandbox".to_owned(),
            format!("--user-data-dir={}", folder.path().join("profile").display()),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": arguments, "prefs": {
                "download.default_directory": folder.path().join("downloads"),
                "download.prompt_for_download": false,
            }},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Self {
            agent,
            session: format!("{base}/session"),
            _driver: driver,
            _port: port,
            folder,
        };
        let session = browser.post("", &capabilities);
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Opens an address and waits until its page is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// Goes back to the page before.
    pub fn back(&self) {
        self.post("/back", &json!({}));
    }

    /// Where its downloads go.
    pub fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    /// The address of the page.
    pub fn address(&self) -> String {
        self.text("/url")
    }

    /// What a person reads on the page.
    pub fn reads(&self) -> String {
        self.find("body")
            .map(|body| self.text(&format!("/element/{body}/text")))
            .unwrap_or_default()
    }

    /// Waits until a person reads this.
    #[track_caller]
    pub fn until_it_reads(&self, text: &str) {
        until(text, || {
            let page = self.reads();
            if page.contains(text) { Ok(()) } else { Err(format!("{}: {page}", self.address())) }
        });
    }

    /// Whether the page has an element (CSS selector).
    pub fn has(&self, selector: &str) -> bool {
        self.find(selector).is_some()
    }

    /// Types into a field.
    pub fn fill(&self, selector: &str, text: &str) {
        let field = until(selector, || self.find(selector));
        self.post(&format!("/element/{field}/value"), &json!({"text": text}));
    }

    /// Clicks on an element.
    pub fn click(&self, selector: &str) {
        let element = until(selector, || self.find(selector));
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types keys where the focus is. `\u{E004}` is Tab, `\u{E00D}` Space, `\u{E007}` Enter (`WebDriver`, section 17.4.2).
    pub fn press(&self, keys: &str) {
        let press = |key: char| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]});
        self.post("/actions", &actions);
    }

    /// What a script in the page returns, a promise's value too.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Tells the browser something that its pages cannot (Chrome `DevTools` Protocol).
    pub fn command(&self, name: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }

    /// What the console holds since the last call: errors, and what a policy forbade.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        entries.as_array().into_iter().flatten().map(Value::to_string).collect()
    }

    /// A picture of the whole page in this width, PNG.
    pub fn picture(&self, width: u32) -> Vec<u8> {
        let metrics =
            json!({"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", &metrics);
        let height = self.run("return document.documentElement.scrollHeight");
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let asked = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let answer = self.command("Page.captureScreenshot", &asked);
        self.command("Emulation.clearDeviceMetricsOverride", &json!({}));
        STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64")
    }

    fn find(&self, selector: &str) -> Option<String> {
        let wanted = json!({"using": "css selector", "value": selector});
        let answer = self.try_post("/element", &wanted);
        answer.ok()?[ELEMENT].as_str().map(str::to_owned)
    }

    fn text(&self, path: &str) -> String {
        let url = format!("{}{path}", self.session);
        let answer: Value = self.agent.get(&url).call().unwrap().body_mut().read_json().unwrap();
        answer["value"].as_str().unwrap_or_default().to_owned()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.try_post(path, body).unwrap_or_else(|error| panic!("WebDriver {path}: {error}"))
    }

    fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let mut answer = self.agent.post(&url).send_json(body).map_err(|e| e.to_string())?;
        let read: Value = answer.body_mut().read_json().map_err(|e| e.to_string())?;
        if answer.status().is_success() { Ok(read["value"].clone()) } else { Err(read.to_string()) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver is killed next; this gives Chromium the chance to end by itself.
        let _ = self.agent.delete(&self.session).call();
    }
}
