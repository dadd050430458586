//! User name and password from the settings or the terminal.

use oauth2::ResourceOwnerPassword;

use super::LoginError;
use crate::terminal;

/// What is known, with what is not asked for.
pub fn ask(
    username: Option<&str>,
    password: Option<&ResourceOwnerPassword>,
    interactive: bool,
) -> Result<(String, ResourceOwnerPassword), LoginError> {
    let username = match username {
        Some(name) => name.to_owned(),
        None if interactive => {
            match terminal::line("Username: ").or_else(LoginError::unread)?.trim() {
                "" => {
                    return Err(LoginError::Input(
                        "no user name was entered; give --username".to_owned(),
                    ));
                }
                name => name.to_owned(),
            }
        }
        None => return Err(LoginError::NotInteractive("the user name", "give --username")),
    };
    let password = match password {
        Some(password) => password.clone(),
        None if interactive => {
            let password = terminal::secret("Password: ").or_else(LoginError::unread)?;
            ResourceOwnerPassword::new(password)
        }
        None => {
            return Err(LoginError::NotInteractive("the password", "set KUBECTL_OIDC_PASSWORD"));
        }
    };
    Ok((username, password))
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
