//! Auth servers that say no, say nothing, or say nonsense: nothing is allowed by any of it.

use std::time::{Duration, Instant};

use super::{Answer, AuthServer, auth, authed, granted};
use crate::harness::{Broker, Client, Peer, SOON, eventually, on_each_peer, on_each_shoal};

const FAILED: &str = "error: E_AUTH_FAILED AUTH failed";

/// What becomes of somebody whom these servers are asked about.
fn outcome(peer: Peer, flags: &[&str]) -> String {
    let broker = Broker::start(peer, flags);
    let mut client = Client::new(&broker);
    client.send(&auth("s3cret"));
    let answer = client.frame().describe();
    if answer.starts_with("error") {
        client.closed();
        if !peer.is_original() {
            // The client is not told why; the log is, without the secret.
            eventually("a line in the log", SOON, || {
                broker.log_line("AUTH: client 127.").is_some()
            });
            assert_eq!(broker.log_count("s3cret"), 0, "{:?}", broker.log_line("s3cret"));
        }
    }
    answer
}

fn answered(peer: Peer, answer: Answer) -> String {
    let server = AuthServer::start(move |_| answer.clone());
    outcome(peer, &[&server.flag(), "--http-client-request-timeout=2s"])
}

#[test]
fn answers_that_grant_nothing() {
    on_each_peer(|peer| {
        for (number, body) in [
            "",
            "{",
            "[]",
            "\"s3cret\"",
            "{}",
            r#"{"ttl":0,"authorizations":[]}"#,
            r#"{"ttl":-5}"#,
            r#"{"ttl":1.5}"#,
            r#"{"ttl":"60"}"#,
            r#"{"ttl":60,"identity":7}"#,
            r#"{"ttl":60,"authorizations":{}}"#,
            r#"{"ttl":60,"authorizations":[{"topic":"(s3cret","permissions":["publish"]}]}"#,
            r#"{"ttl":60,"authorizations":[{"channels":["*"],"permissions":["publish"]}]}"#,
            r#"{"ttl":60,"authorizations":[{"topic":"(?=x)","permissions":["publish"]}]}"#,
            r#"{"ttl":60,"authorizations":[{"permissions":["publish","s3cret"]}]}"#,
        ]
        .into_iter()
        .enumerate()
        {
            // Each is a process; the two shapes of Shoal share them out.
            if peer == (Peer::Shoal { shards: 1 + number % 2 }) || peer.is_original() {
                assert_eq!(answered(peer, Answer::Ok(body.to_string())), FAILED, "{body}");
            }
        }
    });
}

#[test]
fn statuses_that_are_not_200() {
    on_each_peer(|peer| {
        let Answer::Ok(body) = Answer::everything(60) else { unreachable!() };
        for status in [201, 204, 400, 401, 403, 404, 500] {
            let body = if status == 204 { String::new() } else { body.clone() };
            assert_eq!(answered(peer, Answer::Status(status, body)), FAILED, "{status}");
        }
    });
}

#[test]
fn an_answer_without_entries() {
    on_each_peer(|peer| {
        let none = "error: E_UNAUTHORIZED AUTH no authorizations found";
        for answer in [Answer::grant(60, ""), Answer::Ok("{\"ttl\":1}".to_string())] {
            let server = AuthServer::start(move |_| answer.clone());
            let broker = Broker::start(peer, &[&server.flag()]);
            let mut client = Client::new(&broker);
            client.send(&auth("s3cret"));
            client.expect(none);
            client.closed();
        }
    });
}

#[test]
fn servers_that_are_down_or_hang() {
    on_each_peer(|peer| {
        let down = format!("--auth-http-address={}", AuthServer::down());
        assert_eq!(outcome(peer, &[&down]), FAILED);
        let hanging = format!("--auth-http-address={}", AuthServer::hanging());
        let start = Instant::now();
        assert_eq!(outcome(peer, &[&hanging, "--http-client-request-timeout=1s"]), FAILED);
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
        let cut = Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ttl\"".to_vec());
        assert_eq!(answered(peer, cut), FAILED);
        assert_eq!(answered(peer, Answer::Raw(b"what?\r\n\r\n".to_vec())), FAILED);
        assert_eq!(answered(peer, Answer::Raw(Vec::new())), FAILED);
    });
}

/// One that works is enough, wherever it stands in the row.
#[test]
fn another_server_answers() {
    on_each_peer(|peer| {
        let good = AuthServer::start(|_| Answer::everything(60));
        let bad = AuthServer::start(|_| Answer::Status(500, String::new()));
        let down = format!("--auth-http-address={}", AuthServer::down());
        let hanging = format!("--auth-http-address={}", AuthServer::hanging());
        let flags =
            [&bad.flag(), &down, &good.flag(), &hanging, "--http-client-request-timeout=1s"];
        let broker = Broker::start(peer, &flags);
        for round in 0..6 {
            let mut client = Client::new(&broker);
            client.send(&auth(&format!("s3cret{round}")));
            client.expect(&granted(1));
        }
        assert_eq!(good.seen().len(), 6);
    });
}

#[test]
fn what_is_too_much_is_refused() {
    on_each_shoal("the original has no such bounds", |peer| {
        assert_eq!(answered(peer, Answer::Huge(300 * 1024)), FAILED);
        let patterns: Vec<String> = (0..1100).map(|number| format!("\"p{number}\"")).collect();
        let many = format!("{{\"channels\":[{}]}}", patterns.join(","));
        assert_eq!(answered(peer, Answer::grant(60, &many)), FAILED);
        let large = r#"{"topic":"((x{99}){99}){99}"}"#;
        assert_eq!(answered(peer, Answer::grant(60, large)), FAILED);
        let server = AuthServer::start(|_| Answer::everything(60));
        let broker = Broker::start(peer, &[&server.flag()]);
        authed(&broker, &"s".repeat(16 * 1024));
        let mut client = Client::new(&broker);
        client.send(&auth(&"s".repeat(16 * 1024 + 1)));
        client.expect(FAILED);
        assert_eq!(server.seen().len(), 1);
    });
}

/// What cannot be asked at all is said at the start.
#[test]
fn addresses_that_are_none() {
    on_each_shoal("the original finds out when it asks", |peer| {
        for (flag, problem) in [
            ("--auth-http-address=ftp://h/", "--auth-http-address: unsupported protocol scheme"),
            ("--auth-http-address=h:x", "--auth-http-address: "),
            ("--http-require-auth", "--http-require-auth needs an --auth-http-address"),
        ] {
            let dir = crate::harness::TempDir::new();
            let exit = Broker::run(Broker::command(peer, &[flag], &dir), SOON);
            assert_eq!(exit.status.code(), Some(1), "{flag}");
            assert!(exit.output.contains(problem), "{flag}: {}", exit.output);
        }
    });
}
