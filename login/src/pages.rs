//! The two pages that a browser shows after a login, from templates that an organization may replace.
//!
//! Names, fields and folders are kubekey's: `html_ok.tmpl` gets `.Name` and `.Picture`, `html_fail.tmpl` gets `.Msg`; ours
//! add `.Email`, `.Issuer`, `.Expiry` and `.Retry`. Values are escaped for HTML text and quoted attributes.

mod go_template;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use directories::ProjectDirs;
use minijinja::{AutoEscape, Environment, context};

use crate::{address::Link, callback::Page, claims::Claims, console::plain};

const OK: &str = "html_ok.tmpl";
const FAIL: &str = "html_fail.tmpl";
const BUILT_IN_OK: &str = include_str!("../templates/html_ok.tmpl");
const BUILT_IN_FAIL: &str = include_str!("../templates/html_fail.tmpl");

/// Where kubekey looks, after the folder of its environment variable. Its `./templates` is left out: whoever makes a folder
/// that a person works in must not choose what is shown under this machine's name.
const FOLDERS: [&str; 3] = ["/etc/kubekey", "/usr/local/share/kubekey", "/usr/share/kubekey"];

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// A folder that was named cannot be entered.
    #[error("the template folder {} cannot be read: {}; --template-dir names another", path.display(), plain(error))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A template that is none.
    #[error("the template {name} is not usable: {reason}; correct it, or leave out --template-dir")]
    Template {
        /// The file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The two pages.
#[derive(Debug)]
pub struct Pages {
    ok: Template,
    fail: Template,
}

#[derive(Debug)]
struct Template {
    environment: Environment<'static>,
    built_in: bool,
}

impl Pages {
    /// Loads the pages: each from the first folder that has it. `named` is `--template-dir`, `kubekeys` the folder of
    /// `KUBEKEY_TEMPLATEDIR`; those must be readable. The user's own folder of configuration comes next.
    pub fn load(named: Option<&Path>, kubekeys: Option<&Path>) -> Result<Self, PagesError> {
        let mut folders: Vec<&Path> = Vec::new();
        for folder in [named, kubekeys].into_iter().flatten() {
            fs::read_dir(folder)
                .map_err(|error| PagesError::Folder { path: folder.to_owned(), error })?;
            folders.push(folder);
        }
        let own = ProjectDirs::from("", "", "kubectl-oidc")
            .map(|dirs| dirs.config_dir().join("templates"));
        folders.extend(own.as_deref().filter(|folder| folder.is_absolute()));
        folders.extend(FOLDERS.map(Path::new));
        Ok(Self {
            ok: Template::find(&folders, OK, BUILT_IN_OK)?,
            fail: Template::find(&folders, FAIL, BUILT_IN_FAIL)?,
        })
    }

    /// The page after a login.
    #[must_use]
    pub fn ok(&self, claims: &Claims) -> Page {
        let picture = claims.text("picture").filter(|url| is_picture(url)).unwrap_or_default();
        let html = self.ok.render(&context! {
            Name => claims.display_name(),
            Picture => picture,
            Email => claims.text("email").unwrap_or_default(),
            Issuer => claims.text("iss").unwrap_or_default(),
            Expiry => expiry(claims.expiry()),
        });
        Page::new(200, html, self.ok.built_in)
    }

    /// The page after a failure; `retry` is where another attempt starts, if one is possible.
    #[must_use]
    pub fn fail(&self, message: &str, retry: Option<&str>) -> Page {
        let html =
            self.fail.render(&context! { Msg => message, Retry => retry.unwrap_or_default() });
        Page::new(400, html, self.fail.built_in)
    }
}

impl Template {
    fn find(folders: &[&Path], name: &str, built_in: &str) -> Result<Self, PagesError> {
        for folder in folders {
            let path = folder.join(name);
            if let Ok(source) = fs::read_to_string(&path) {
                return Self::new(&path.display().to_string(), &source, false);
            }
        }
        Self::new(name, built_in, true)
    }

    fn new(name: &str, source: &str, built_in: bool) -> Result<Self, PagesError> {
        let template = |reason: String| PagesError::Template { name: name.to_owned(), reason };
        let source = go_template::translate(source).map_err(|error| template(error.to_string()))?;
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment
            .add_template_owned("page", source)
            .map_err(|error| template(error.to_string()))?;
        Ok(Self { environment, built_in })
    }

    fn render(&self, context: &minijinja::Value) -> String {
        // The templates hold fields and conditions alone, which cannot fail; a blank page would still be no lost login.
        self.environment
            .get_template("page")
            .and_then(|template| template.render(context))
            .unwrap_or_default()
    }
}

/// A picture is loaded by the browser, so it must be nothing but a picture on the web.
fn is_picture(url: &str) -> bool {
    Link::checked(url, false).is_ok()
}

fn expiry(expiry: DateTime<Utc>) -> String {
    expiry.with_timezone(&chrono::Local).format("%H:%M, %-d %B %Y").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claims::tests::unsigned;

    fn claims(more: &serde_json::Value) -> Claims {
        let mut claims = json!({"exp": 1_900_000_000, "iss": "https://i.example", "sub": "s"});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        Claims::of(&unsigned(&claims)).unwrap()
    }

    #[test]
    fn built_in_pages_escape_and_load_nothing() {
        let pages = Pages::load(None, None).unwrap();
        let evil = "<script>alert(1)</script>";
        let claims = claims(&json!({"name": evil, "picture": "https://elsewhere.example/a.png"}));
        for page in [pages.ok(&claims), pages.fail(evil, Some("http://localhost:1/login/x"))] {
            assert!(!page.html.contains("<script"), "{}", page.html);
            assert!(page.html.contains("&lt;script"), "{}", page.html);
            for outside in ["src=", "url(", "@import", "<link", "elsewhere"] {
                assert!(!page.html.contains(outside), "{outside}");
            }
            assert!(!page.html.contains("{{"), "{}", page.html);
            assert!(page.html.contains("prefers-color-scheme: dark"));
        }
    }

    #[test]
    fn kubekeys_templates_work_as_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let ok = r#"<img src="{{ .Picture }}" alt="you"><h1>You are {{ .Name }}</h1>"#;
        fs::write(folder.path().join(OK), ok).unwrap();
        fs::write(folder.path().join(FAIL), "<p>{{.Msg}}</p>").unwrap();
        let pages = Pages::load(None, Some(folder.path())).unwrap();
        let page = pages.ok(&claims(&json!({"name": "A & B", "picture": "https://p/x?a=1&b=2"})));
        assert_eq!(
            page.html,
            r#"<img src="https:&#x2f;&#x2f;p&#x2f;x?a=1&amp;b=2" alt="you"><h1>You are A &amp; B</h1>"#
        );
        assert!(!page.built_in);
        assert_eq!(pages.fail("\"no\"", None).html, "<p>&quot;no&quot;</p>");
    }

    #[test]
    fn a_picture_is_nothing_but_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(OK), "[{{.Picture}}]").unwrap();
        let pages = Pages::load(Some(folder.path()), None).unwrap();
        for picture in ["javascript:alert(1)", "data:text/html,x", "//p/x", "http://p/x", ""] {
            assert_eq!(pages.ok(&claims(&json!({"picture": picture}))).html, "[]", "{picture}");
        }
    }

    #[test]
    fn folders_are_searched_in_order_and_named_ones_must_exist() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(second.path().join(OK), "second").unwrap();
        fs::write(second.path().join(FAIL), "second").unwrap();
        fs::write(first.path().join(OK), "first").unwrap();
        let pages = Pages::load(Some(first.path()), Some(second.path())).unwrap();
        assert_eq!(pages.ok(&claims(&json!({}))).html, "first");
        assert_eq!(pages.fail("x", None).html, "second");
        let gone = first.path().join("gone");
        for (named, kubekeys) in [(Some(gone.as_path()), None), (None, Some(gone.as_path()))] {
            let error = Pages::load(named, kubekeys).unwrap_err().to_string();
            assert!(error.contains("gone"), "{error}");
        }
    }
}
