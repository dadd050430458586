//! Logging in where no browser can be opened, by hand, and beside others; and what is said about it.

mod common;

use std::time::Duration;

use common::{Plugin, World, any_port, query};
use oidc_provider::{Endpoint, GrantType};

/// `get-token` that chooses the way itself, on a machine without a display.
fn auto(world: &World) -> Plugin {
    let plugin = world.plugin().arg("get-token").args(world.flags());
    plugin.args(["--listen-address=127.0.0.1:0", "--token-store=none"])
}

/// The addresses in a line.
fn address(line: &str) -> &str {
    line.split_whitespace().find(|word| word.starts_with("http")).expect("an address")
}

/// A device, a browser that reaches the listener, and an address that is pasted: whichever comes first.
#[test]
fn all_ways_at_the_same_time() {
    for way in ["device", "browser", "pasted", "code"] {
        let world = World::new();
        let plugin = auto(&world).exec_info("v1", true);
        let plugin = plugin.env("SSH_CONNECTION", "192.0.2.1 5 192.0.2.9 22").env("USER", "ada");
        let mut running = plugin.spawn();
        let device = running.line_with("enter the code");
        let listener = running.line_with("in a browser on this machine");
        let port = url::Url::parse(address(&listener)).unwrap().port().unwrap();
        running.line_with(&format!("ssh -L {port}:localhost:{port} ada@192.0.2.9"));
        let anywhere = running.line_with("paste here the address");
        match way {
            "device" => {
                let code = device.split_whitespace().last().unwrap();
                assert!(world.issuer.approve_device(code, "alice").unwrap());
            }
            "browser" => assert_eq!(world.sign_in(address(&listener)).status, 200),
            _ => {
                let back = world.way_back(address(&anywhere));
                // What is none is said, and the login goes on.
                running.type_in(&format!("{}\n", back.replace("state=", "state=x")));
                running.line_with("this address belongs to another login");
                let code = &query(&back)["code"];
                running.type_in(&format!("{}\n", if way == "code" { code } else { &back }));
            }
        }
        running.finish().credential();
    }
}

/// Without a device grant SSH was a dead end.
#[test]
fn a_machine_without_a_display_or_a_device_grant() {
    let world = World::with(|issuer| {
        issuer.clients[0].grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    });
    let mut running = auto(&world)
        .exec_info("v1", true)
        .env("SSH_CONNECTION", "192.0.2.1 5 192.0.2.9 2222")
        .spawn();
    running.line_with("Log in at http://localhost:");
    running.line_with("ssh -p 2222 -L ");
    let anywhere = running.line_with("paste here the address");
    running.type_in(&format!("{}\n", world.way_back(address(&anywhere))));
    running.finish().credential();
}

#[test]
fn a_person_who_says_no_on_the_device_means_it() {
    let world = World::new();
    let mut running = auto(&world).exec_info("v1", true).spawn();
    let device = running.line_with("enter the code");
    assert!(world.issuer.deny_device(device.split_whitespace().last().unwrap()));
    running.finish().fails_with("access_denied");
}

/// A pseudo terminal: kubectl's person's end, and the plugin's.
#[cfg(target_os = "linux")]
struct Terminal {
    person: std::fs::File,
    programs: std::fs::File,
}

#[cfg(target_os = "linux")]
impl Terminal {
    fn open() -> Self {
        use rustix::{
            fs::{Mode, OFlags},
            pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        };
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let programs =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        Self { person: person.into(), programs: programs.into() }
    }

    fn modes(&self) -> rustix::termios::LocalModes {
        rustix::termios::tcgetattr(&self.programs).unwrap().local_modes
    }

    fn spawn(&self, mut plugin: Plugin) -> common::Running {
        plugin.0.stdin(self.programs.try_clone().unwrap());
        plugin.spawn_with_stdin()
    }

    fn type_in(&self, text: &str) {
        use std::io::Write as _;
        (&self.person).write_all(text.as_bytes()).unwrap();
    }

    /// Waits until characters are handed on one by one.
    fn wait_for_raw(&self) {
        let start = std::time::Instant::now();
        while self.modes().contains(rustix::termios::LocalModes::ICANON) {
            assert!(start.elapsed() < common::PATIENCE, "nobody reads");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A terminal's line ends after 4,095 characters; codes and addresses are longer.
#[test]
#[cfg(target_os = "linux")]
fn a_pasted_address_of_sixty_thousand_characters_is_read_whole() {
    let world = World::new();
    let terminal = Terminal::open();
    let before = terminal.modes();
    let keyboard = world.get_token().args(["--grant-type=authcode-keyboard", "--token-store=none"]);
    let plugin = keyboard.args(["--oidc-redirect-url=http://localhost:1/cb"]).exec_info("v1", true);
    let mut running = terminal.spawn(plugin);
    let authorization = running.login_url();
    terminal.wait_for_raw();
    let back = world.way_back(&authorization);
    let code = query(&back)["code"].clone();
    let long = format!(
        "http://localhost:1/cb?padding={}&{}",
        "x".repeat(60_000),
        back.split_once('?').unwrap().1
    );
    assert!(long.ends_with(&query(&back)["state"]) || long.contains(&code));
    // A mistake first, taken back.
    terminal.type_in("ü\x7f");
    terminal.type_in(&long);
    terminal.type_in("\r");
    running.finish().credential();
    assert_eq!(terminal.modes(), before);
}

/// An interrupt at the password left the terminal without an echo.
#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_at_a_password_leaves_the_terminal_as_it_was() {
    let world = World::new();
    for (typed, want) in [
        ("secr\x03", "the login was cancelled"),
        ("\x04", "the input has ended"),
        ("s3cr3t!\r", "invalid_grant"),
    ] {
        let terminal = Terminal::open();
        let before = terminal.modes();
        let plugin = world.get_token().args(["--username=alice", "--token-store=none"]);
        let plugin = plugin.arg(format!("--token-store-dir=~/{}", typed.len()));
        let running = terminal.spawn(plugin.exec_info("v1", true));
        terminal.wait_for_raw();
        assert!(!terminal.modes().contains(rustix::termios::LocalModes::ECHO));
        terminal.type_in(typed);
        let outcome = running.finish();
        outcome.fails_with(want);
        assert!(
            !outcome.stderr.contains("secr") && !outcome.stderr.contains("s3cr3t"),
            "{outcome:?}"
        );
        assert_eq!(terminal.modes(), before, "{typed:?}");
    }
    let terminal = Terminal::open();
    let running =
        terminal.spawn(world.get_token().args(["--username=alice"]).exec_info("v1", true));
    terminal.wait_for_raw();
    terminal.type_in("secrex\x08t\r");
    running.finish().credential();
}

/// `kubectl oidc login`: "a similar subcommand exists: 'logout'".
#[test]
fn login_logs_in_and_says_who() {
    let world = World::new();
    let flags = world.flags();
    let login = || {
        world.plugin().arg("login").args(&flags).args(any_port()).arg("--oidc-extra-scope=profile")
    };
    let outcome = world.log_in(login());
    assert!(outcome.stdout.starts_with("Logged in as alice until "), "{outcome:?}");
    let again = login().run();
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""), "{again:?}");
    let requests = world.issuer.requests(Endpoint::Token);
    world.log_in(login().arg("--force"));
    assert_eq!(world.issuer.requests(Endpoint::Token), requests + 1, "a login, not a renewal");
}

/// A browser opened, or a session ended: why is said, once.
#[test]
fn why_a_login_is_needed_is_said() {
    let world = World::new();
    let first = world.log_in(world.get_token());
    assert!(!first.stderr.contains("is needed"), "{first:?}");
    world.issuer.end_logins("alice");
    let outcome = world.log_in(world.get_token().arg("--force-refresh"));
    let line = format!("The session at {} has ended: a new login is needed.", world.issuer.url());
    assert_eq!(outcome.stderr.matches(&line).count(), 1, "{outcome:?}");

    let world = World::with(|issuer| {
        issuer.clients[0].refresh_tokens = oidc_provider::RefreshTokens::Never;
        issuer.token_lifetime_seconds = 5;
    });
    world.log_in(world.get_token());
    let outcome = world.log_in(world.get_token());
    assert!(outcome.stderr.contains("gave nothing to renew it with"), "{outcome:?}");
    assert!(outcome.stderr.contains("offline_access"), "{outcome:?}");
}

/// A rate limit's no is no reason for a login, but its name is said.
#[test]
fn a_refresh_that_is_refused_for_now_is_named() {
    use oidc_provider::{Answer, Misbehaviour};
    let world = World::with(|issuer| issuer.token_lifetime_seconds = 1);
    world.log_in(world.get_token());
    let file = common::only_file(&world.path(".local/share/kubectl-oidc/tokens"));
    let text = std::fs::read_to_string(&file).unwrap();
    // As if a minute had passed.
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["ahead_seconds"] = 60.into();
    std::fs::write(&file, record.to_string()).unwrap();
    for (answer, want) in [
        (Answer::Status(429), "slow_down"),
        (
            Answer::Body {
                status: 403,
                content_type: "text/html".to_owned(),
                body: "<html>".to_owned(),
            },
            "answered 403",
        ),
        (Answer::Status(503), "answered 503"),
    ] {
        world.issuer.misbehave(Endpoint::Token, Misbehaviour::answer(answer)).unwrap();
        let outcome = world.get_token().run();
        outcome.fails_with("the token has expired and cannot be renewed now");
        outcome.fails_with(want);
        outcome.fails_with("try again in some minutes");
    }
}

#[test]
fn quiet_says_nothing_but_where_to_log_in() {
    let world = World::new();
    let outcome = world.log_in(world.get_token().arg("--quiet"));
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(outcome.stderr.starts_with("Log in at "), "{outcome:?}");
    world.issuer.end_logins("alice");
    let command = format!("touch {}", world.path("opened").display());
    let plugin = world.plugin().arg("get-token").args(world.flags()).args([
        "--listen-address=127.0.0.1:0",
        "--quiet",
        "--force-refresh",
    ]);
    let outcome =
        plugin.args(["--browser-command", &command, "--authentication-timeout-sec=1"]).run();
    outcome.fails_with("nobody logged in within 1 s");
    assert_eq!(outcome.stderr.lines().count(), 1, "a browser opened: {outcome:?}");
}

/// k9s and its like draw on the terminal: a line of ours would stand in the middle of their picture.
#[test]
#[cfg(target_os = "linux")]
fn a_program_that_draws_on_the_terminal_gets_no_lines() {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        process::Stdio,
    };

    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let world = World::new();
    for drawing in [true, false] {
        let terminal = Terminal::open();
        if drawing {
            let mut modes = tcgetattr(&terminal.programs).unwrap();
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(&terminal.programs, OptionalActions::Now, &modes).unwrap();
        }
        let plugin = world.plugin().arg("get-token").args(world.flags());
        let mut plugin = plugin.args([
            "--listen-address=127.0.0.1:0",
            "--browser-command=true",
            "--authentication-timeout-sec=1",
            "--token-store=none",
        ]);
        let stderr = terminal.programs.try_clone().unwrap();
        plugin.0.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        assert!(!plugin.0.status().unwrap().success());
        (&terminal.programs).write_all(b"the end\n").unwrap();
        let lines = BufReader::new(&terminal.person).lines().map_while(Result::ok);
        let said: Vec<_> = lines.take_while(|line| !line.contains("the end")).collect();
        let login = said.iter().any(|line| line.contains("Log in with the browser"));
        assert_eq!(login, !drawing, "{said:?}");
    }
}

/// Whoever waits sees where the other is to be logged in, and goes on if it is killed.
#[test]
fn a_waiter_shows_the_address_and_goes_on_alone() {
    let world = World::new();
    let mut first = world.get_token().spawn();
    let url = first.login_url();
    let mut second = world.get_token().spawn();
    second.line_with("Waiting for another kubectl");
    let told = second.line_with("It waits for you at ");
    assert_eq!(address(&told), url);
    assert_eq!(world.sign_in(address(&told)).status, 200);
    assert_eq!(first.finish().credential(), second.finish().credential());

    let world = World::new();
    let mut first = world.get_token().spawn();
    let url = first.login_url();
    let mut second = world.get_token().spawn();
    second.line_with("It waits for you at ");
    first.kill();
    let own = second.login_url();
    assert_ne!(own, url);
    world.sign_in(&own);
    second.finish().credential();
    // Nothing of it stays.
    let locks = std::fs::read_dir(world.path(".local/share/kubectl-oidc/locks")).unwrap();
    let left: Vec<_> = locks
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().ends_with(".place"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn whoami_and_clean_say_what_to_do() {
    let world = World::new();
    let flags = world.flags();
    let outcome = world.plugin().arg("whoami").args(flags).run();
    outcome.fails_with("not logged in at");
    outcome.fails_with("kubectl oidc login");
    let outcome = world.plugin().arg("clean").run();
    assert_eq!(outcome.stderr, "No logins are stored.\n");
}

/// The portal's page has a command that reads a pasted token. A terminal's line ends after 4,095 characters, and tokens do not.
#[test]
#[cfg(target_os = "linux")]
fn the_portals_command_takes_a_token_whole() {
    use std::process::{Command, Stdio};
    let page =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../filter/portal/src/page.html");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, command) = page.split_once("--token=\"").unwrap();
    let (command, _) = command.split_once("\"\n").unwrap();
    let token = "x".repeat(20_000);
    for shell in ["sh", "bash"] {
        let terminal = Terminal::open();
        let before = terminal.modes();
        let mut run = Command::new(shell);
        run.args(["-c", &format!("printf %s \"{command}\"")]);
        run.stdin(terminal.programs.try_clone().unwrap()).stdout(Stdio::piped());
        let run = run.spawn().unwrap();
        terminal.wait_for_raw();
        terminal.type_in(&format!("{token}\r"));
        let read = run.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), token, "{shell}");
        assert_eq!(terminal.modes(), before, "{shell}");
    }
}
