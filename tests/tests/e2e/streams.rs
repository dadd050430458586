//! Streams through the gateway: logs, commands, files and ports, by each protocol that kubectl has for them.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use sandbox::Kubectl;

use crate::harness::{LIMIT, Message, Rig, cluster, pod};

/// Whether kubectl shall try a WebSocket first; it uses SPDY if not.
const WEBSOCKET: [&str; 2] = ["true", "false"];

fn exec_by(rig: &Rig, websocket: &str) -> Kubectl {
    rig.admin()
        .environment("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket)
        .environment("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket)
}

#[test]
fn commands_run_in_pods() {
    let rig = Rig::shared();
    pod("commands");
    for websocket in WEBSOCKET {
        let kubectl = exec_by(&rig, websocket);
        for (words, input, code, stdout) in [
            (&["exec", "commands", "--", "echo", "hello"][..], "", 0, "hello\n"),
            // Only if the end of the input reaches the command does it end.
            (&["exec", "-i", "commands", "--", "cat"][..], "some input", 0, "some input"),
            (&["exec", "commands", "--", "sh", "-c", "echo out; exit 7"][..], "", 7, "out\n"),
        ] {
            let mark = cluster().audit().mark().unwrap();
            let output = kubectl.run_with_input(words, input).unwrap();
            let got = (output.code, &*output.stdout);
            assert_eq!(got, (Some(code), stdout), "{websocket} {words:?} {output:?}");
            // A WebSocket is asked for by GET, SPDY by POST: the protocol was the one this is about.
            let event = cluster().audit().wait_for(mark, LIMIT, |event| {
                event.request_uri.starts_with("/api/v1/namespaces/default/pods/commands/exec?")
            });
            let verb = if websocket == "true" { "get" } else { "create" };
            assert_eq!(event.unwrap().verb, verb);
        }
    }
}

#[test]
fn a_megabyte_goes_through_a_command_and_back() {
    let rig = Rig::shared();
    pod("megabyte");
    let input = "0123456789abcde\n".repeat(1 << 16);
    for websocket in WEBSOCKET {
        let kubectl = exec_by(&rig, websocket);
        let output = kubectl.must(["exec", "-i", "megabyte", "--", "cat"], &input).unwrap();
        assert!(output == input, "{websocket}: {} bytes of {}", output.len(), input.len());
    }
}

#[test]
fn logs_are_read_and_followed() {
    let rig = Rig::shared();
    pod("logs");
    cluster().write_pod_log("logs: before").unwrap();
    let kubectl = rig.admin();
    let read = kubectl.must(["logs", "logs"], "").unwrap();
    assert!(read.lines().any(|line| line == "logs: before"), "{read}");
    let mut follow = kubectl.start(["logs", "-f", "logs"]).unwrap();
    follow.line(LIMIT, |line| line == "logs: before").unwrap();
    for line in ["logs: after", "logs: long after"] {
        cluster().write_pod_log(line).unwrap();
        follow.line(LIMIT, |seen| seen == line).unwrap();
    }
}

#[test]
fn a_container_is_attached_to() {
    let rig = Rig::shared();
    pod("attached");
    for websocket in WEBSOCKET {
        let line = format!("attached: {websocket}");
        let kubectl = exec_by(&rig, websocket);
        let mut attached = kubectl.start(["attach", "attached"]).unwrap();
        // Attaching shows only what is logged from then on, and nothing says when that is.
        let start = Instant::now();
        while attached.line(Duration::from_millis(200), |seen| seen == line).is_err() {
            assert!(start.elapsed() < LIMIT, "{websocket}");
            cluster().write_pod_log(&line).unwrap();
        }
    }
}

#[test]
fn files_are_copied_both_ways() {
    let rig = Rig::shared();
    pod("copies");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for websocket in WEBSOCKET {
        let kubectl = exec_by(&rig, websocket);
        let content = format!("{websocket}: 0123456789abcdef").repeat(20_000);
        let (from, back) = (path("from"), path(&format!("back-{websocket}")));
        fs::write(&from, &content).unwrap();
        kubectl.must(["cp", &from, "copies:e2e-copied"], "").unwrap();
        assert!(fs::read_to_string(cluster().pod_folder().join("e2e-copied")).unwrap() == content);
        kubectl.must(["cp", "copies:e2e-copied", &back], "").unwrap();
        assert!(fs::read_to_string(&back).unwrap() == content, "{websocket}");
    }
}

#[test]
fn ports_are_forwarded() {
    let rig = Rig::shared();
    pod("ports");
    for websocket in WEBSOCKET {
        let kubectl = exec_by(&rig, websocket);
        for (port, request, want) in [
            (":7", "to and fro", "to and fro"),
            (":80", "GET /a HTTP/1.1\r\nhost: pod\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ] {
            let mut forward = kubectl.start(["port-forward", "ports", port]).unwrap();
            let from = "Forwarding from 127.0.0.1:";
            let line = forward.line(LIMIT, |line| line.starts_with(from)).unwrap();
            let number = line.trim_start_matches(from).split(' ').next().unwrap();
            // Several connections share one upgraded stream.
            for _ in 0..3 {
                let mut stream = TcpStream::connect(format!("127.0.0.1:{number}")).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                let mut answer = vec![0; want.len()];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(String::from_utf8(answer).unwrap(), want, "{websocket}");
            }
        }
    }
}

/// Without the key that HTTP/1.1 wants in a handshake and HTTP/2 does not have, kube-apiserver refuses: Envoy adds one.
#[test]
fn a_command_runs_over_http2_by_extended_connect() {
    let rig = Rig::shared();
    pod("tunnel");
    let path = "/api/v1/namespaces/default/pods/tunnel/exec?command=echo&command=hello&stdout=true";
    let message = Message::get(path)
        .bearer(&rig.admin_token())
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "v5.channel.k8s.io");
    let http2 = rig.http2();
    let (answer, mut tunnel) = http2.tunnel("websocket", message).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-protocol").as_deref(), Some("v5.channel.k8s.io"));
    // Channel 1 is standard output, 3 the command's status (kube-apiserver, remotecommand v5).
    let wanted = [&b"\x01hello\n"[..], br#""status":"Success""#];
    let has = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).any(|part| part == wanted);
    let bytes = tunnel.read_until(|bytes| wanted.iter().all(|wanted| has(bytes, wanted)));
    for wanted in wanted {
        assert!(has(&bytes, wanted), "{:?}", String::from_utf8_lossy(&bytes));
    }
}
