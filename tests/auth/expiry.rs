//! Grants end: what wants one then is asked about again, and nothing else is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::{Answer, AuthServer, authed};
use crate::harness::{Broker, on_each_peer, publish};

const EXPIRED: Duration = Duration::from_millis(2200);

/// A server whose first answer is a grant of a second, and whose others are `later`.
fn server(later: Answer) -> AuthServer {
    let count = Arc::new(AtomicUsize::new(0));
    AuthServer::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::everything(1),
        _ => later.clone(),
    })
}

#[test]
fn a_grant_is_renewed_when_it_is_wanted() {
    on_each_peer(|peer| {
        let server = server(Answer::everything(60));
        let broker = Broker::start(peer, &[&server.flag()]);
        let mut client = authed(&broker, "s3cret");
        client.publish("t", b"x");
        sleep(EXPIRED);
        client.command("NOP");
        // What is behind it waits, and stays in order.
        client
            .send(&[publish("t", b"y"), publish("t", b"z"), b"SUB t c\nRDY 9\n".to_vec()].concat());
        for _ in 0..3 {
            client.ok();
        }
        let bodies: Vec<String> = (0..3).map(|_| client.message().text().to_owned()).collect();
        assert_eq!(bodies, ["x", "y", "z"]);
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].line, seen[1].line);
    });
}

#[test]
fn a_renewal_that_brings_nothing_ends_the_connection() {
    on_each_peer(|peer| {
        for (later, wanted) in [
            (Answer::Status(500, String::new()), "E_AUTH_FAILED AUTH failed"),
            (Answer::grant(60, ""), r#"E_UNAUTHORIZED AUTH failed for PUB on "t" """#),
        ] {
            let server = server(later);
            let broker = Broker::start(peer, &[&server.flag()]);
            let mut client = authed(&broker, "s3cret");
            sleep(EXPIRED);
            client.send(&publish("t", b"x"));
            client.expect(&format!("error: {wanted}"));
            client.closed();
            assert!(broker.topic("t").is_null());
        }
    });
}

#[test]
fn who_has_subscribed_stays() {
    on_each_peer(|peer| {
        let server = server(Answer::Status(500, String::new()));
        let broker = Broker::start(peer, &[&server.flag()]);
        let mut client = authed(&broker, "s3cret");
        client.subscribe("t", "c");
        sleep(EXPIRED);
        client.command("RDY 2");
        assert_eq!(broker.request("POST", "/pub?topic=t", b"x").status, 200);
        let id = client.delivery("x", 1);
        client.fin(&id);
        client.command("CLS");
        client.expect("CLOSE_WAIT");
        assert_eq!(server.seen().len(), 1);
    });
}
