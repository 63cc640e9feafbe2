//! Many who want to be let in at once, and servers that take their time over it.

use std::thread;
use std::time::{Duration, Instant};

use super::{Answer, AuthServer, auth, authed};
use crate::harness::{Broker, Client, SOON, on_each_peer, on_each_shoal, publish};

/// Who waits for a server that hangs is alone with that.
#[test]
fn a_hanging_server_is_in_the_way_of_nobody_else() {
    on_each_peer(|peer| {
        let server = AuthServer::start(|asked| match asked.line.contains("secret=quick") {
            true => Answer::everything(600),
            false => Answer::everything(600).after(Duration::from_secs(60)),
        });
        let flags = [&server.flag(), "--http-client-request-timeout=50s"];
        let broker = Broker::start(peer, &flags);
        let mut client = authed(&broker, "quick");
        let waiting: Vec<Client> = (0..60)
            .map(|number| {
                let mut client = Client::new(&broker);
                client.send(&auth(&format!("slow{number}")));
                client
            })
            .collect();
        let start = Instant::now();
        for _ in 0..100 {
            client.publish("t", b"x");
        }
        authed(&broker, "quick2").publish("t", b"x");
        assert_eq!(broker.request("GET", "/ping", b"").status, 200);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        // Even while one waits, it is known to be there.
        for mut client in waiting {
            client.silent(Duration::from_millis(1));
        }
    });
}

/// Those of whom the same is known are asked about together.
#[test]
fn a_stampede_is_one_question() {
    on_each_shoal("the original asks for each", |peer| {
        let server = AuthServer::start(|_| Answer::everything(1).after(Duration::from_secs(3)));
        let broker = Broker::start(peer, &[&server.flag()]);
        let mut clients: Vec<Client> = (0..50).map(|_| Client::new(&broker)).collect();
        for client in &mut clients {
            client.send(&auth("same"));
        }
        for client in &mut clients {
            assert!(client.frame().describe().contains("permission_count"));
        }
        let first = server.seen().len();
        assert!((1..5).contains(&first), "{first} questions");
        thread::sleep(Duration::from_millis(1200));
        // Their grants end together.
        for client in &mut clients {
            client.send(&publish("t", b"x"));
        }
        for client in &mut clients {
            client.ok();
        }
        let second = server.seen().len() - first;
        assert!((1..5).contains(&second), "{second} questions");
        assert_eq!(broker.topic("t")["message_count"], 50);
    });
}

/// So many different ones at a time, and no more; the others have their turn.
#[test]
fn questions_wait_for_their_turn() {
    on_each_shoal("the original asks for all at once", |peer| {
        let server =
            AuthServer::start(|_| Answer::everything(60).after(Duration::from_millis(300)));
        let broker = Broker::start(peer, &[&server.flag()]);
        let mut clients: Vec<Client> = (0..200).map(|_| Client::new(&broker)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&auth(&format!("secret{number}")));
        }
        for client in &mut clients {
            let answer = client.frame().describe();
            assert!(answer.contains("permission_count"), "{answer}");
        }
        assert_eq!(server.seen().len(), 200);
        assert!(server.busiest() <= 128, "{} at once", server.busiest());
    });
}

/// What leaves while somebody is asked about it leaves nothing behind.
#[test]
fn clients_that_do_not_wait() {
    on_each_peer(|peer| {
        let server =
            AuthServer::start(|_| Answer::everything(60).after(Duration::from_millis(500)));
        let broker = Broker::start(peer, &[&server.flag()]);
        for number in 0..20 {
            let mut client = Client::new(&broker);
            client.send(&auth(&format!("s3cret{}", number % 3)));
            if number % 2 == 0 {
                // It hears the answer, and what is behind it is carried out.
                client.send(&publish("left", b"x"));
                client.half_close();
                if number == 0 {
                    assert!(client.frame().describe().contains("permission_count"));
                    client.ok();
                    client.closed();
                }
            }
        }
        authed(&broker, "s3cret").publish("t", b"x");
    });
}
