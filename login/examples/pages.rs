//! Writes the built-in pages into a folder, as a browser would get them: for looking at them.

use std::{env, fs, path::Path, process};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kubectl_oidc::{claims::Claims, pages::Pages};
use serde_json::json;

fn main() {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: pages FOLDER");
        process::exit(2);
    };
    if let Err(error) = write(Path::new(&folder)) {
        eprintln!("pages: {error}");
        process::exit(1);
    }
}

fn write(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let claims = json!({
        "iss": "https://login.example.com/realms/engineering",
        "sub": "1d1c9f2e-6f0c-4c57-9a86-5b4c1f3a7d01",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "exp": 1_790_000_000,
    });
    let claims = Claims::of(&format!("e30.{}.e30", URL_SAFE_NO_PAD.encode(claims.to_string())))?;
    let pages = Pages::load(None, None)?;
    let failure = pages.fail(
        "the issuer refused: invalid_grant: Code not valid",
        Some("http://localhost:8000/login/example"),
    );
    fs::create_dir_all(folder)?;
    fs::write(folder.join("ok.html"), pages.ok(&claims).html)?;
    fs::write(folder.join("fail.html"), failure.html)?;
    Ok(())
}
