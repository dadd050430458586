//! Flags become settings: what is missing or contradicts itself is said here.

use std::{path::PathBuf, time::Duration};

use directories::ProjectDirs;
use oauth2::{ClientSecret, ResourceOwnerPassword};
use ureq::http::{HeaderName, HeaderValue, header};
use url::Url;

use super::{
    Account, Browser, Client, Encryption, Exchange, Grant, Login, Redirect, SettingsError,
    StoreSettings, TokenSource, Trust,
    values::{checked_issuer, is_loopback, parse_url, scopes, text_of, uri, words},
};
use crate::{
    cli::{
        GrantType, IssuerFlags, LoginFlags, MachineFlags, PkceMethod, StoreFlags, TrustFlags,
        go::merged,
    },
    path::path_of,
    required::RequiredLogin,
};

impl Trust {
    pub(super) fn new(flags: &TrustFlags) -> Self {
        Self {
            files: flags.certificate_authority.iter().flat_map(|text| files(text)).collect(),
            data: flags
                .certificate_authority_data
                .iter()
                .filter_map(|data| text_of(data))
                .collect(),
            insecure: flags.insecure_skip_tls_verify,
        }
    }
}

/// One file, as kubelogin takes it, or several with commas between.
fn files(text: &str) -> Vec<PathBuf> {
    match path_of(text) {
        Some(whole) if !text.contains(',') || whole.exists() => vec![whole],
        _ => text.split(',').filter_map(path_of).collect(),
    }
}

impl StoreSettings {
    /// Checks the flags of the store.
    pub fn new(flags: &StoreFlags) -> Result<Self, SettingsError> {
        let named = flags.token_store_dir.as_deref().and_then(path_of).or_else(|| {
            let caches = flags.kube_cache_dir.as_deref().and_then(path_of)?;
            Some(caches.join("kubectl-oidc"))
        });
        // The same folder in another spelling is the same; a path that is relative to nothing stays as it is.
        let named = named
            .map(|dir| std::path::absolute(&dir).unwrap_or(dir).components().collect::<PathBuf>());
        let own =
            ProjectDirs::from("", "", "kubectl-oidc").map(|dirs| dirs.data_local_dir().to_owned());
        let user_dir = own.or_else(|| named.clone()).ok_or(SettingsError::NoDataFolder)?;
        let dir = named.unwrap_or_else(|| user_dir.clone());
        let account = if dir == user_dir { Account::Only } else { Account::Folder(dir.clone()) };
        let key_file = flags.token_store_key_file.as_deref().and_then(path_of);
        let passphrase = flags.token_store_passphrase.as_deref().and_then(text_of);
        let encryption = match (key_file, passphrase) {
            (Some(path), _) => Encryption::KeyFile(path),
            (None, Some(passphrase)) => Encryption::Passphrase(passphrase.into()),
            (None, None) => Encryption::None,
        };
        Ok(Self { kind: flags.token_store, dir, user_dir, account, encryption })
    }
}

/// Issuer and client.
pub(super) fn client(flags: &IssuerFlags, grant: &Grant) -> Result<Client, SettingsError> {
    let issuer = flags.oidc_issuer_url.as_deref().and_then(text_of);
    let id = flags.oidc_client_id.as_deref().and_then(text_of);
    // A ready token names its own issuer and audience; they are checked only if given.
    let ready = matches!(grant, Grant::Ready(_));
    let issuer = match issuer {
        Some(issuer) => checked_issuer(issuer)?,
        None if ready => String::new(),
        None => {
            return Err(SettingsError::Missing("--oidc-issuer-url", "KUBECTL_OIDC_ISSUER_URL"));
        }
    };
    let id = match id {
        Some(id) => id,
        None if ready => String::new(),
        None => return Err(SettingsError::Missing("--oidc-client-id", "KUBECTL_OIDC_CLIENT_ID")),
    };
    Ok(Client {
        issuer,
        id,
        discovery: discovery(flags)?,
        headers: headers(&merged(&flags.oidc_request_header))?,
        assertion: None,
        secret: flags.oidc_client_secret.as_deref().and_then(text_of).map(ClientSecret::new),
        scopes: scopes(&flags.oidc_extra_scope),
        extra_params: extra_params(merged(&flags.oidc_auth_request_extra_params))?,
        pkce: flags.oidc_use_pkce || flags.oidc_pkce_method != PkceMethod::No,
        use_access_token: flags.oidc_use_access_token,
        required: RequiredLogin::default(),
    })
}

/// What the login must be like.
pub(super) fn required(flags: &LoginFlags) -> Result<RequiredLogin, SettingsError> {
    let acr: Vec<_> = flags.acr.iter().filter_map(|acr| text_of(acr)).collect();
    if let Some(value) = acr.iter().find(|acr| acr.contains(char::is_whitespace)) {
        let reason = "several values have commas between, and none has a blank".to_owned();
        return Err(SettingsError::Invalid { flag: "--acr", value: value.clone(), reason });
    }
    Ok(RequiredLogin { acr, max_age: flags.max_age })
}

/// The document's own address; over TLS, except on this machine.
fn discovery(flags: &IssuerFlags) -> Result<Option<Url>, SettingsError> {
    let flag = "--oidc-discovery-url";
    let Some(text) = flags.oidc_discovery_url.as_deref().and_then(text_of) else { return Ok(None) };
    let url = parse_url(flag, &text)?;
    if url.scheme() == "https" || is_loopback(&url) {
        return Ok(Some(url));
    }
    let reason = "it must begin with https://".to_owned();
    Err(SettingsError::Invalid { flag, value: text, reason })
}

/// Headers that say how long a request is and to whom it goes are not for others to set.
fn headers(given: &[(String, String)]) -> Result<Vec<(HeaderName, HeaderValue)>, SettingsError> {
    let invalid = |name: &str, reason: &str| SettingsError::Invalid {
        flag: "--oidc-request-header",
        // A value may be a secret.
        value: format!("{name}=…"),
        reason: reason.to_owned(),
    };
    let ours = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::HOST,
        header::TRANSFER_ENCODING,
    ];
    given
        .iter()
        .map(|(name, value)| {
            let header: HeaderName =
                name.parse().map_err(|_| invalid(name, "this is no name of a header"))?;
            if ours.contains(&header) {
                return Err(invalid(name, "this header is set by the request itself"));
            }
            let mut value: HeaderValue = value
                .parse()
                .map_err(|_| invalid(name, "the value has characters that a header cannot have"))?;
            value.set_sensitive(true);
            Ok((header, value))
        })
        .collect()
}

/// Parameters that make a login what it is are ours to set.
fn extra_params(given: Vec<(String, String)>) -> Result<Vec<(String, String)>, SettingsError> {
    let ours = [
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "nonce",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
    ];
    match given.iter().find(|(name, _)| ours.contains(&name.as_str())) {
        None => Ok(given),
        Some((name, value)) => Err(SettingsError::Invalid {
            flag: "--oidc-auth-request-extra-params",
            value: format!("{name}={value}"),
            reason: "this parameter is set by the login itself".to_owned(),
        }),
    }
}

/// How to log in.
pub(super) fn login(flags: &LoginFlags, machine: &MachineFlags) -> Result<Login, SettingsError> {
    let browser = match flags.browser_command.as_deref().and_then(text_of) {
        _ if flags.skip_open_browser => Browser::Print,
        Some(command) => Browser::Command(words("--browser-command", &command)?),
        None => Browser::Default,
    };
    let grant = match grant(flags, &browser) {
        None => Grant::TokenExchange(Exchange::new(machine)?),
        Some(grant) => grant,
    };
    let keyboard = matches!(grant, Grant::Keyboard);
    // kubelogin's flag is for both, and so is ours; it had one of its own for the keyboard once.
    let own = flags.oidc_redirect_url.as_deref().and_then(text_of).filter(|_| keyboard);
    let keyboard_redirect = match own {
        Some(own) => uri("--oidc-redirect-url", &own)?,
        None => uri(
            "--oidc-redirect-url-authcode-keyboard",
            &flags.oidc_redirect_url_authcode_keyboard,
        )?,
    };
    Ok(Login {
        grant,
        listen: flags.listen_address.iter().filter_map(|address| text_of(address)).collect(),
        redirect: redirect(flags, keyboard)?,
        keyboard_redirect,
        start_at_root: flags.start_at_root,
        browser,
        timeout: Duration::from_secs(flags.authentication_timeout_sec),
        afterwards: flags
            .open_url_after_authentication
            .as_deref()
            .and_then(text_of)
            .map(|url| parse_url("--open-url-after-authentication", &url))
            .transpose()?,
        listener_tls: match (&flags.local_server_cert, &flags.local_server_key) {
            (Some(cert), Some(key)) => path_of(cert).zip(path_of(key)),
            _ => None,
        },
        template_dir: flags.template_dir.as_deref().and_then(path_of),
    })
}

/// The grant, unless it is a token exchange.
fn grant(flags: &LoginFlags, browser: &Browser) -> Option<Grant> {
    let username = flags.username.as_deref().and_then(text_of);
    if let Some(path) = flags.token_file.as_deref().and_then(path_of) {
        return Some(Grant::Ready(TokenSource::File(path)));
    }
    if let Some(variable) = flags.token_env.as_deref().and_then(text_of) {
        return Some(Grant::Ready(TokenSource::Variable(variable)));
    }
    Some(match flags.grant_type {
        GrantType::TokenExchange => return None,
        GrantType::Auto if username.is_some() => password(flags, username),
        // Whoever says how the browser is opened, or that it is not, has one somewhere.
        GrantType::Auto if *browser == Browser::Default => Grant::BrowserOrDevice,
        GrantType::Auto | GrantType::Authcode => Grant::AuthorizationCode,
        GrantType::AuthcodeKeyboard => Grant::Keyboard,
        GrantType::DeviceCode => Grant::DeviceCode,
        GrantType::Password => password(flags, username),
        GrantType::ClientCredentials => Grant::ClientCredentials,
    })
}

fn password(flags: &LoginFlags, username: Option<String>) -> Grant {
    let password = flags.password.clone().map(ResourceOwnerPassword::new);
    Grant::Password { username, password }
}

fn redirect(flags: &LoginFlags, keyboard: bool) -> Result<Redirect, SettingsError> {
    let host = flags.oidc_redirect_url_hostname.as_deref().and_then(text_of);
    let whole = flags.oidc_redirect_url.as_deref().and_then(text_of);
    if let Some(text) = whole.filter(|_| !keyboard) {
        let url = parse_url("--oidc-redirect-url", &text)?;
        return Ok(Redirect::Whole(url, text));
    }
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if is_bare_ipv6 { format!("[{host}]") } else { host };
    parse_url("--oidc-redirect-url-hostname", &format!("http://{host}"))?;
    Ok(Redirect::Host(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, tests::settings};

    fn with(flags: &[&str]) -> Settings {
        let base = ["--oidc-issuer-url=https://i.example/r", "--oidc-client-id=c"];
        settings(&[&base, flags].concat()).unwrap()
    }

    #[test]
    fn scopes_from_kanidms_guide_and_others() {
        for (flags, want) in [
            (&[][..], "openid"),
            (&["--oidc-extra-scope", "openid profile groups email"], "openid profile groups email"),
            (&["--oidc-extra-scope=email", "--oidc-extra-scope=profile"], "openid email profile"),
            (&["--oidc-extra-scope=a,b, a"], "openid a b"),
        ] {
            assert_eq!(with(flags).client.scopes.join(" "), want, "{flags:?}");
        }
    }

    #[test]
    fn issuer_needs_tls_beyond_this_machine() {
        for (issuer, ok) in [
            ("https://i.example", true),
            ("http://127.0.0.1:8080/realms/x", true),
            ("http://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("http://i.example", false),
            ("http://127.0.0.1.i.example", false),
            ("https://i.example/?a=b", false),
            ("i.example", false),
        ] {
            let flag = format!("--oidc-issuer-url={issuer}");
            assert_eq!(settings(&[&flag, "--oidc-client-id=c"]).is_ok(), ok, "{issuer}");
        }
    }

    #[test]
    fn grant_follows_kubelogins_rule() {
        let grant = |flags: &[&str]| format!("{:?}", with(flags).login.grant);
        assert!(grant(&[]).starts_with("BrowserOrDevice"));
        assert!(grant(&["--skip-open-browser"]).starts_with("AuthorizationCode"));
        assert!(grant(&["--browser-command=firefox -P x"]).starts_with("AuthorizationCode"));
        assert!(grant(&["--username=a"]).starts_with("Password"));
        assert!(grant(&["--grant-type=authcode", "--username=a"]).starts_with("AuthorizationCode"));
        assert!(grant(&["--token-env=X"]).starts_with("Ready"));
    }

    #[test]
    fn a_parameter_of_the_login_itself_cannot_be_added() {
        let base = ["--oidc-issuer-url=https://i.example", "--oidc-client-id=c"];
        for (parameter, ok) in
            [("hd=x", true), ("prompt=login", true), ("state=x", false), ("scope=x", false)]
        {
            let flag = format!("--oidc-auth-request-extra-params={parameter}");
            assert_eq!(settings(&[&base, &[&*flag][..]].concat()).is_ok(), ok, "{parameter}");
        }
    }

    #[test]
    fn redirect_uris_are_checked_before_anybody_is_sent_there() {
        let base = ["--oidc-issuer-url=https://i.example", "--oidc-client-id=c"];
        for (flag, ok) in [
            ("--oidc-redirect-url=https://login.example/cb", true),
            ("--oidc-redirect-url=login.example/cb", false),
            ("--oidc-redirect-url=urn:x", false),
            ("--oidc-redirect-url-hostname=::1", true),
            ("--oidc-redirect-url-hostname=a b", false),
            ("--oidc-redirect-url-authcode-keyboard=urn:ietf:wg:oauth:2.0:oob", true),
            ("--oidc-redirect-url-authcode-keyboard=oob", false),
            ("--oidc-discovery-url=https://i.example/.well-known/x", true),
            ("--oidc-discovery-url=http://127.0.0.1:1/x", true),
            ("--oidc-discovery-url=http://i.example/x", false),
            ("--oidc-request-header=Origin=localhost", true),
            ("--oidc-request-header=Content-Length=1", false),
            ("--oidc-request-header=a b=1", false),
            ("--oidc-request-header=A=x\ny", false),
            ("--open-url-after-authentication=javascript:alert(1)", false),
        ] {
            assert_eq!(settings(&[&base, &[flag][..]].concat()).is_ok(), ok, "{flag}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let settings = with(&[
            "--oidc-client-secret=s3cret",
            "--username=a",
            "--password=s3cret",
            "--token-store-passphrase=s3cret",
        ]);
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = settings(&["--oidc-client-id=c"]).unwrap_err().to_string();
        assert!(error.contains("--oidc-issuer-url"), "{error}");
        let error = settings(&["--oidc-issuer-url=https://i"]).unwrap_err().to_string();
        assert!(error.contains("--oidc-client-id"), "{error}");
        // An empty value is an absent one.
        let error = settings(&["--oidc-issuer-url=", "--oidc-client-id=c"]).unwrap_err();
        assert!(matches!(error, SettingsError::Missing("--oidc-issuer-url", _)), "{error}");
    }
}
