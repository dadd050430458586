//! Every error that a command can end with, one of each variant, has its cause in plain words and a command or a setting that
//! helps: none is a library's own text. `failures.rs` has them as they come about.

mod common;

use std::{fs, io, path::PathBuf, time::Duration};

use chrono::{TimeDelta, Utc};
use common::plain::check;
use kubectl_oidc::{
    address::Link,
    callback::ListenError,
    claims::ClaimsError,
    cluster::ClusterError,
    command::CommandError,
    discovery::DiscoveryError,
    exec_credential::ExecInfoError,
    grant::{LoginError, ready::ReadyError},
    http::{HttpError, TrustError},
    issuer::{IssuerError, Person},
    kubeconfig::KubeconfigError,
    lock::LockError,
    metadata::MetadataError,
    oauth::OAuthError,
    pages::PagesError,
    required::OtherLogin,
    session::SessionError,
    settings::SettingsError,
    store::{CryptError, FolderError, KeyringError, StoreError},
    verify::VerifyError,
};

/// One of each variant. A new variant breaks the count beside it.
macro_rules! every {
    ($name:ident: $type:ident { $($pattern:pat),+ $(,)? } = $samples:expr) => {
        fn $name() -> Vec<$type> {
            let samples: Vec<$type> = $samples;
            $(assert!(
                samples.iter().any(|sample| matches!(sample, $pattern)),
                "{} has no sample of {}",
                stringify!($type),
                stringify!($pattern)
            );)+
            for sample in &samples {
                // Without a wildcard: whoever adds a variant comes here.
                match sample { $($pattern => {})+ }
            }
            samples
        }
    };
}

fn path() -> PathBuf {
    PathBuf::from("/some/where")
}

fn io_errors() -> Vec<io::Error> {
    // As the operating system makes them, with their numbers.
    let real = [fs::read("/nonexistent").unwrap_err(), fs::read("/").unwrap_err()];
    real.into_iter()
        .chain([io::Error::from_raw_os_error(28), io::ErrorKind::PermissionDenied.into()])
        .collect()
}

every!(settings: SettingsError { SettingsError::Missing(..), SettingsError::Invalid { .. }, SettingsError::NoDataFolder } = vec![
    SettingsError::Missing("--oidc-issuer-url", "KUBECTL_OIDC_ISSUER_URL"),
    SettingsError::Invalid { flag: "--oidc-issuer-url", value: "x".to_owned(), reason: "r".to_owned() },
    SettingsError::NoDataFolder,
]);

every!(exec_info: ExecInfoError { ExecInfoError::Malformed(_), ExecInfoError::Version(_) } = {
    let read = |text: &str| kubectl_oidc::exec_credential::ExecInfo::read(Some(text), false).unwrap_err();
    vec![read("{"), read("[]"), read(r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1"}"#)]
});

every!(http: HttpError { HttpError::Unreachable { .. }, HttpError::Untrusted { .. }, HttpError::Unproven(_), HttpError::Status { .. }, HttpError::Body { .. } } = {
    let host = || "h:443".to_owned();
    let url = || "https://h/x".to_owned();
    let mut all = vec![
        HttpError::Unreachable { host: host(), reason: "nothing listens there".to_owned() },
        HttpError::Untrusted { host: host(), reason: "no certificate authority known here signed it".to_owned() },
        HttpError::Untrusted { host: host(), reason: "it was revoked".to_owned() },
        HttpError::Body { url: url(), reason: "it is empty".to_owned() },
        HttpError::Unproven("the key file x holds none; --client-assertion-key-file wants one".to_owned()),
    ];
    all.extend([302, 400, 403, 404, 407, 429, 500, 503].map(|status| HttpError::Status { url: url(), status }));
    all
});

every!(discovery: DiscoveryError { DiscoveryError::Fetch { .. }, DiscoveryError::OtherIssuer { .. }, DiscoveryError::Insecure { .. }, DiscoveryError::NotOffered(_) } = {
    let fetched = |error| DiscoveryError::Fetch { issuer: "https://i".to_owned(), error };
    let mut all: Vec<_> = http().into_iter().map(fetched).collect();
    all.push(DiscoveryError::OtherIssuer { issuer: "https://i".to_owned(), found: "https://j".to_owned() });
    all.push(DiscoveryError::Insecure { name: "token_endpoint", error: Link::checked("x", false).unwrap_err() });
    all.push(DiscoveryError::NotOffered("token endpoint"));
    all
});

every!(oauth: OAuthError { OAuthError::Refused { .. }, OAuthError::Http(_), OAuthError::Malformed(_), OAuthError::Discovery(_), OAuthError::DeviceTimeout } = {
    let codes = [
        "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "access_denied", "invalid_grant",
        "slow_down", "temporarily_unavailable", "server_error", "HTTP 401", "something_new",
    ];
    let refused = |code: &str| OAuthError::Refused { code: code.to_owned(), description: None, client: "c".to_owned() };
    let mut all: Vec<_> = codes.into_iter().map(refused).collect();
    all.extend(http().into_iter().map(OAuthError::Http));
    all.extend(discovery().into_iter().map(OAuthError::Discovery));
    all.push(OAuthError::Malformed("it holds nothing".to_owned()));
    all.push(OAuthError::DeviceTimeout);
    all
});

every!(verify: VerifyError {
    VerifyError::Malformed(_), VerifyError::Header, VerifyError::Algorithm(_), VerifyError::Signature { .. }, VerifyError::Issuer { .. },
    VerifyError::Audience { .. }, VerifyError::Nonce, VerifyError::Subject, VerifyError::Skew { .. }, VerifyError::Expired(_), VerifyError::NotYetValid(_),
    VerifyError::Login(_),
} = vec![
    VerifyError::Malformed(ClaimsError::Opaque), VerifyError::Malformed(ClaimsError::Payload), VerifyError::Malformed(ClaimsError::NoExpiry),
    VerifyError::Header, VerifyError::Algorithm("none".to_owned()), VerifyError::Signature { key_id: "k".to_owned(), keys: 1 },
    VerifyError::Issuer { expected: "a".to_owned(), found: "b".to_owned() },
    VerifyError::Audience { expected: "a".to_owned(), found: vec!["b".to_owned()] },
    VerifyError::Nonce, VerifyError::Subject,
    VerifyError::Skew { by: TimeDelta::hours(1), ahead: true, seems: "expired" },
    VerifyError::Expired(Utc::now()), VerifyError::NotYetValid(Utc::now()),
    VerifyError::Login(OtherLogin::Acr { wanted: vec!["mfa".to_owned()], found: "1".to_owned() }),
    VerifyError::Login(OtherLogin::Old { ago: 901, most: 900 }), VerifyError::Login(OtherLogin::NoTime),
]);

every!(trust: TrustError { TrustError::Read { .. }, TrustError::NoCertificate(_), TrustError::Proxy(_), TrustError::Encoding } = {
    let mut all: Vec<_> = io_errors().into_iter().map(|error| TrustError::Read { path: path(), error }).collect();
    all.extend([TrustError::NoCertificate("/some/where".to_owned()), TrustError::Proxy("x".to_owned()), TrustError::Encoding]);
    all
});

every!(issuer: IssuerError {
    IssuerError::OAuth(_), IssuerError::Trust(_), IssuerError::NoIdToken, IssuerError::NoAccessToken, IssuerError::Keys(_), IssuerError::OtherPerson { .. }, IssuerError::Verify(_),
} = {
    let person = |name: &str| Person { subject: name.to_owned(), name: name.to_owned() };
    let mut all: Vec<_> = oauth().into_iter().map(IssuerError::OAuth).collect();
    all.extend(trust().into_iter().map(IssuerError::Trust));
    all.extend(verify().into_iter().map(IssuerError::Verify));
    all.extend([IssuerError::NoIdToken, IssuerError::NoAccessToken, IssuerError::Keys("it is no JSON".to_owned())]);
    all.push(IssuerError::OtherPerson { expected: person("a"), found: person("b") });
    all
});

every!(ready: ReadyError { ReadyError::Absent(_), ReadyError::Refused { .. }, ReadyError::Expired { .. } } = {
    let refused = |error| ReadyError::Refused { source_name: "$X".to_owned(), error };
    let mut all: Vec<_> = verify().into_iter().map(refused).collect();
    all.push(ReadyError::Absent("the environment has no variable X, which --token-env names".to_owned()));
    all.push(ReadyError::Expired { source_name: "$X".to_owned(), ago: TimeDelta::hours(1) });
    all
});

every!(listen: ListenError { ListenError::Taken(..), ListenError::Address(_), ListenError::NoAddress } = {
    let address = || "127.0.0.1:8000".to_owned();
    vec![
        ListenError::Taken(vec![address()], false), ListenError::Taken(vec![address(), address()], true), ListenError::NoAddress,
        ListenError::Address(io_errors().into_iter().map(|error| (address(), error)).collect()),
    ]
});

every!(pages: PagesError { PagesError::Folder { .. }, PagesError::Template { .. } } = {
    let mut all: Vec<_> = io_errors().into_iter().map(|error| PagesError::Folder { path: path(), error }).collect();
    all.push(PagesError::Template { name: "html_ok.tmpl".to_owned(), reason: "r".to_owned() });
    all
});

every!(login: LoginError {
    LoginError::Issuer(_), LoginError::Listen(_), LoginError::ListenerTls(_), LoginError::Ready(_), LoginError::Pages(_), LoginError::Callback { .. }, LoginError::Timeout { .. },
    LoginError::Impatient { .. }, LoginError::Contested, LoginError::NotInteractive(..), LoginError::Nobody, LoginError::PasswordIsNot(_), LoginError::Input(_), LoginError::Terminal(_),
    LoginError::NothingEntered, LoginError::Interrupted,
} = {
    let callback = |code: &str| LoginError::Callback { code: code.to_owned(), description: None, redirect: "http://localhost:8000".to_owned() };
    let mut all: Vec<_> = issuer().into_iter().map(LoginError::Issuer).collect();
    all.extend(listen().into_iter().map(LoginError::Listen));
    all.extend(ready().into_iter().map(LoginError::Ready));
    all.extend(pages().into_iter().map(LoginError::Pages));
    all.extend(["access_denied", "invalid_scope", "unauthorized_client", "server_error"].map(callback));
    all.extend(io_errors().into_iter().map(LoginError::Terminal));
    all.extend([
        LoginError::ListenerTls("/x is no PEM file".to_owned()),
        LoginError::Timeout { seconds: 1, redirect: "http://localhost:8000".to_owned(), client: "c".to_owned() },
        LoginError::Impatient { seconds: 1 }, LoginError::Contested, LoginError::NotInteractive("the code", "use --grant-type=device-code"),
        LoginError::PasswordIsNot(OtherLogin::NoTime),
        LoginError::Nobody, LoginError::Input("no code was entered; paste the code".to_owned()), LoginError::NothingEntered, LoginError::Interrupted,
    ]);
    all
});

every!(store: StoreError { StoreError::Keyring(_), StoreError::Folder(_), StoreError::File { .. }, StoreError::Crypt { .. } } = {
    let keyring = [
        KeyringError::Absent("x".to_owned()), KeyringError::Locked("x".to_owned()), KeyringError::Silent(Duration::from_secs(3)),
        KeyringError::Failed("x".to_owned()),
    ];
    let mut all: Vec<_> = keyring.into_iter().map(StoreError::Keyring).collect();
    all.extend([FolderError::Writable { path: path(), mode: 0o777 }, FolderError::Owner { path: path(), owner: 0 }].map(StoreError::Folder));
    all.extend(io_errors().into_iter().map(|error| StoreError::Folder(FolderError::Unknown { path: path(), error })));
    all.extend(io_errors().into_iter().map(|error| StoreError::File { path: path(), error }));
    let crypt = [
        CryptError::KeyFile { path: "/x".to_owned(), reason: "it is empty".to_owned() }, CryptError::Encrypt("x".to_owned()), CryptError::Decrypt,
    ];
    all.extend(crypt.into_iter().map(|error| StoreError::Crypt { path: path(), error }));
    all
});

every!(lock: LockError { LockError::Busy { .. }, LockError::File { .. } } = {
    let mut all: Vec<_> = io_errors().into_iter().map(|error| LockError::File { path: path(), error }).collect();
    all.push(LockError::Busy { path: path(), waited: Duration::from_secs(1) });
    all
});

every!(session: SessionError {
    SessionError::Store(_), SessionError::Lock(_), SessionError::Login(_), SessionError::Ready(_), SessionError::Other(_), SessionError::Again(_),
    SessionError::NotRenewed(_), SessionError::NotLoggedIn { .. },
} = {
    let mut all: Vec<_> = store().into_iter().map(SessionError::Store).collect();
    all.extend(lock().into_iter().map(SessionError::Lock));
    all.extend(login().into_iter().map(SessionError::Login));
    all.extend(ready().into_iter().map(SessionError::Ready));
    all.extend(issuer().into_iter().map(SessionError::NotRenewed));
    // What another process said, which is one of these.
    all.extend(login().into_iter().flat_map(|error| [SessionError::Other(error.to_string()), SessionError::Again(error.to_string())]));
    all.push(SessionError::NotLoggedIn { issuer: "https://i".to_owned(), client: "c".to_owned() });
    all
});

every!(kubeconfig: KubeconfigError {
    KubeconfigError::Read { .. }, KubeconfigError::Malformed { .. }, KubeconfigError::Write { .. }, KubeconfigError::Locked(_), KubeconfigError::NoContext, KubeconfigError::Nowhere(_),
    KubeconfigError::Absent { .. }, KubeconfigError::OtherCluster { .. }, KubeconfigError::Taken { .. }, KubeconfigError::NoHome,
} = {
    let mut all: Vec<_> = io_errors().into_iter().map(|error| KubeconfigError::Read { path: path(), error }).collect();
    all.extend(io_errors().into_iter().map(|error| KubeconfigError::Write { path: path(), error }));
    all.extend([
        KubeconfigError::Malformed { path: path(), reason: "it is not a mapping".to_owned() }, KubeconfigError::Locked(path()), KubeconfigError::NoContext,
        KubeconfigError::Nowhere(vec![path(), path()]),
        KubeconfigError::Absent { kind: "user", name: "x".to_owned() },
        KubeconfigError::OtherCluster { name: "x".to_owned(), found: "https://y".to_owned() }, KubeconfigError::NoHome,
        KubeconfigError::Taken { kind: "context", name: "x".to_owned() },
    ]);
    all
});

every!(cluster: ClusterError { ClusterError::Http(_), ClusterError::Trust(_), ClusterError::Unauthorized(_), ClusterError::Login { .. }, ClusterError::Refused { .. }, ClusterError::Unsupported(_) } = {
    let mut all: Vec<_> = http().into_iter().map(ClusterError::Http).collect();
    all.extend(trust().into_iter().map(ClusterError::Trust));
    all.push(ClusterError::Unauthorized("https://s".to_owned()));
    let message = "condition a: m; log in again: kubectl oidc login --acr=mfa".to_owned();
    all.push(ClusterError::Login { server: "https://s".to_owned(), message });
    all.push(ClusterError::Refused { server: "https://s".to_owned(), status: 403, message: "m".to_owned() });
    all.push(ClusterError::Unsupported("tls-server-name"));
    all
});

every!(gateway: MetadataError {
    MetadataError::Url(_), MetadataError::Http(_), MetadataError::Trust(_), MetadataError::Untold { .. }, MetadataError::OtherResource { .. },
    MetadataError::Unusable { .. }, MetadataError::NoSuchIssuer { .. }, MetadataError::SeveralIssuers { .. },
} = {
    let asked = || "https://g".to_owned();
    let mut all: Vec<_> = http().into_iter().map(MetadataError::Http).collect();
    all.extend(trust().into_iter().map(MetadataError::Trust));
    all.push(MetadataError::Url("g".to_owned()));
    all.push(MetadataError::Untold { url: asked(), status: 404 });
    all.push(MetadataError::OtherResource { asked: asked(), said: "https://h".to_owned() });
    all.push(MetadataError::Unusable { asked: asked(), reason: "it names no issuer".to_owned() });
    all.push(MetadataError::NoSuchIssuer { asked: asked(), wanted: "https://i".to_owned(), issuers: vec!["https://j".to_owned()] });
    all.push(MetadataError::SeveralIssuers { asked: asked(), issuers: vec!["https://i".to_owned(), "https://j".to_owned()] });
    all
});

every!(command: CommandError {
    CommandError::Settings(_), CommandError::ExecInfo(_), CommandError::Session(_), CommandError::Store(_), CommandError::Kubeconfig(_), CommandError::Issuer(_),
    CommandError::Cluster(_), CommandError::Gateway(_), CommandError::Output(_), CommandError::Other(_),
} = {
    let mut all: Vec<CommandError> = settings().into_iter().map(Into::into).collect();
    all.extend(exec_info().into_iter().map(CommandError::from));
    all.extend(session().into_iter().map(CommandError::from));
    all.extend(store().into_iter().map(CommandError::from));
    all.extend(kubeconfig().into_iter().map(CommandError::from));
    all.extend(issuer().into_iter().map(CommandError::from));
    all.extend(cluster().into_iter().map(CommandError::from));
    all.extend(gateway().into_iter().map(CommandError::from));
    all.extend(io_errors().into_iter().map(CommandError::from));
    // Its texts are at the places that make them, and come by below.
    all.push(CommandError::Other("see --help".to_owned()));
    all
});

#[test]
fn every_error_has_a_cause_and_a_way_out() {
    let all = command();
    assert!(all.len() > 300, "{}", all.len());
    let bad = |error: &&CommandError| {
        let text = error.to_string();
        std::panic::catch_unwind(|| check(&text)).is_err()
    };
    let bad: Vec<_> = all.iter().filter(bad).map(ToString::to_string).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
