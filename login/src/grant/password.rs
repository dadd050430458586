//! User name and password from the settings or the terminal.

use std::io::{self, Write as _};

use oauth2::ResourceOwnerPassword;

use super::LoginError;

/// What is known, with what is not asked for.
pub fn ask(
    username: Option<&str>,
    password: Option<&ResourceOwnerPassword>,
    interactive: bool,
) -> Result<(String, ResourceOwnerPassword), LoginError> {
    let username = match username {
        Some(name) => name.to_owned(),
        None if interactive => line("Username: ")?,
        None => return Err(LoginError::NotInteractive("the user name", "give --username")),
    };
    let password = match password {
        Some(password) => password.clone(),
        None if interactive => {
            let password =
                rpassword::prompt_password("Password: ").map_err(LoginError::Terminal)?;
            ResourceOwnerPassword::new(password)
        }
        None => {
            return Err(LoginError::NotInteractive("the password", "set KUBECTL_OIDC_PASSWORD"));
        }
    };
    Ok((username, password))
}

fn line(prompt: &str) -> Result<String, LoginError> {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{prompt}");
    let _ = stderr.flush();
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(LoginError::Terminal)?;
    match line.trim() {
        "" => Err(LoginError::Input("no user name was entered".to_owned())),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_where_nobody_answers() {
        let password = ResourceOwnerPassword::new("p".to_owned());
        let known = ask(Some("a"), Some(&password), false).unwrap();
        assert_eq!((known.0.as_str(), known.1.secret().as_str()), ("a", "p"));
        for (username, password) in [(None, Some(&password)), (Some("a"), None)] {
            let error = ask(username, password, false).unwrap_err();
            assert!(matches!(error, LoginError::NotInteractive(..)), "{error}");
        }
    }
}
