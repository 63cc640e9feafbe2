//! Bodies on their way in: chunks of all kinds, `Expect`, large ones, ones that break off, and ones
//! that are only announced.

use crate::harness::{
    Broker, Client, HttpConnection, SOON, eventually, on_each_peer, on_each_shoal, rss_bytes,
};

const HEAD: &str = "POST /pub?topic=t HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n";

#[test]
fn chunks_with_extensions_trailers_and_odd_lengths() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = HttpConnection::new(broker.http);
        let body = "5;name=\"a b\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\n";
        for trailer in ["\r\n", "X-Trailer: x\r\n\r\n"] {
            connection.send(format!("{HEAD}Trailer: X-Trailer\r\n\r\n{body}{trailer}").as_bytes());
            assert_eq!(connection.response().text(), "OK");
        }
        for byte in format!("{HEAD}\r\n{body}\r\n").bytes() {
            connection.send(&[byte]);
        }
        assert_eq!(connection.response().text(), "OK");
        let mut consumer = Client::consumer(&broker, "t", "c", 3);
        for _ in 0..3 {
            assert_eq!(consumer.message().text(), "hello0123456789");
        }
    });
}

/// Whatever a request's body is like, the next request begins where it ends.
#[test]
fn pipelined_requests_of_all_kinds() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-msg-size=10"]);
        let mut connection = HttpConnection::new(broker.http);
        let plain = "POST /pub?topic=t HTTP/1.1\r\nHost: t\r\nContent-Length: ";
        let requests = [
            (format!("{HEAD}\r\n1\r\nx\r\n0\r\n\r\n"), 200),
            ("GET /ping HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(), 200),
            (format!("{plain}1\r\n\r\nx"), 200),
            (format!("{plain}0\r\n\r\n"), 400),
            ("POST /nope HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nxyz".to_owned(), 404),
            (format!("{HEAD}\r\n14\r\n{}\r\n0\r\n\r\n", "x".repeat(20)), 413),
        ];
        // What is refused for its length comes last: the connection may end with it.
        let all: String = requests.iter().map(|(request, _)| request.as_str()).collect();
        connection.send(all.as_bytes());
        for (request, status) in &requests {
            assert_eq!(connection.response().status, *status, "{request}");
        }
        assert_eq!(broker.topic("t")["message_count"], 2);
    });
}

/// A client that asks first is told that its body is too long before it sends it.
#[test]
fn what_is_too_long_is_refused_before_it_is_sent() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-msg-size=10", "--max-body-size=20"]);
        for (target, bytes) in [("/pub?topic=t", 11), ("/mpub?topic=t", 21)] {
            let mut connection = HttpConnection::new(broker.http);
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: {bytes}\r\n\
                 Expect: 100-continue\r\n\r\n"
            );
            connection.send(head.as_bytes());
            assert_eq!(connection.response().status, 413, "{target}");
        }
    });
}

#[test]
fn large_bodies_arrive_whole() {
    on_each_peer(|peer| {
        let limits = ["--max-msg-size=33554432", "--max-body-size=33554432"];
        let broker = Broker::start(peer, &[limits[0], limits[1], "--memory-limit=256MB"]);
        let piece = [b'x'; 65_536];
        let pieces = vec![&piece[..]; 256];
        let mut connection = HttpConnection::new(broker.http);
        let reply = connection.chunked("POST", "/pub?topic=t", &pieces);
        assert_eq!(reply.status, 200, "{reply:?}");
        let message = Client::consumer(&broker, "t", "c", 1).message_within(2 * SOON);
        assert_eq!(message.body.len(), 16 << 20);
        let line = [&[b'y'; 1023][..], b"\n"].concat();
        let reply = connection.request("POST", "/mpub?topic=m", &line.repeat(16 * 1024));
        assert_eq!(reply.status, 200, "{reply:?}");
        let topic = broker.topic("m");
        assert_eq!(topic["message_count"], 16 * 1024);
        assert_eq!(topic["message_bytes"], 16 * 1024 * 1023);
    });
}

/// A body that breaks off is no message.
#[test]
fn a_body_that_breaks_off_is_not_queued() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for rest in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"]
        {
            let mut connection = HttpConnection::new(broker.http);
            connection.send(format!("POST /pub?topic=t HTTP/1.1\r\nHost: t\r\n{rest}").as_bytes());
            drop(connection);
        }
        assert_eq!(broker.request("POST", "/pub?topic=t", b"whole").status, 200);
        eventually("the whole message is there", SOON, || {
            broker.topic("t")["message_count"].as_u64() >= Some(1)
        });
        assert_eq!(broker.topic("t")["message_count"], 1);
    });
}

/// Memory is taken for what came, not for what was announced.
#[test]
fn an_announced_body_takes_no_memory() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-msg-size=67108864", "--max-body-size=67108864"]);
        assert_eq!(broker.request("POST", "/pub?topic=t", b"x").status, 200);
        let before = rss_bytes(broker.pid());
        let head = "HTTP/1.1\r\nHost: t\r\nContent-Length: 67108864\r\n\r\nx";
        let connections: Vec<HttpConnection> = (0..64)
            .map(|number| {
                let target = if number % 2 == 0 { "/pub?topic=t" } else { "/mpub?topic=t" };
                let mut connection = HttpConnection::new(broker.http);
                connection.send(format!("POST {target} {head}").as_bytes());
                connection
            })
            .collect();
        assert_eq!(broker.request("GET", "/ping", b"").text(), "OK");
        std::thread::sleep(std::time::Duration::from_millis(100));
        let grown = rss_bytes(broker.pid()).saturating_sub(before);
        assert!(grown < 256 << 20, "64 times 64 MiB are announced, {grown} bytes were taken");
        drop(connections);
    });
}

/// Large bodies that do not come to an end take what they may take together, and no more; those
/// that find no room are refused, and give back what they had.
#[test]
fn many_large_bodies_take_bounded_memory() {
    const ROOM: u64 = 16 << 20;
    on_each_shoal("the original has no such bound", |peer| {
        let room = format!("--http-body-memory={ROOM}");
        let broker = Broker::start(peer, &[&room, "--max-body-size=16777216"]);
        assert_eq!(broker.request("POST", "/pub?topic=t", b"x").status, 200);
        let before = rss_bytes(broker.pid());
        let line = line_of(4 << 20);
        let head = "POST /mpub?topic=t HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
        let begun = [head.as_bytes(), format!("{:x}\r\n", line.len()).as_bytes(), &line].concat();
        let mut most = 0;
        let replies = std::thread::scope(|scope| {
            let send = || {
                let mut connection = HttpConnection::new(broker.http);
                connection.try_send(&begun);
                let reply = connection.response_within(SOON);
                reply.map(|reply| (reply.status, reply.text().to_owned()))
            };
            let sent: Vec<_> = (0..16).map(|_| scope.spawn(send)).collect();
            while !sent.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                most = most.max(rss_bytes(broker.pid()));
                let used = value(&broker, "nsq_http_body_memory_bytes");
                assert!(used <= ROOM as f64, "{used}");
            }
            sent.into_iter().filter_map(|sent| sent.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(!replies.is_empty() && replies.len() < 16, "{replies:?}");
        for reply in &replies {
            assert_eq!(*reply, (503, "{\"message\":\"TOO_MANY_BODIES\"}".to_owned()));
        }
        let grown = most.saturating_sub(before);
        assert!(grown < 4 * ROOM, "{grown} bytes");
        eventually("the memory is given back", SOON, || {
            value(&broker, "nsq_http_body_memory_bytes") == 0.0
        });
        // A client that was still sending may have been cut off before it heard why.
        let refused = value(&broker, "nsq_http_bodies_refused_total") as usize;
        assert!((replies.len()..16).contains(&refused), "{refused}, {replies:?}");
        let reply = broker.request("POST", "/mpub?topic=t", &line_of(4 << 20));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(broker.topic("t")["message_count"], 1 + (4 << 10), "nothing was taken by half");
    });
}

/// A number of the broker's, without labels.
fn value(broker: &Broker, name: &str) -> f64 {
    let page = broker.request("GET", "/metrics", b"");
    let mut lines = page.text().lines().filter_map(|line| line.strip_prefix(name));
    lines.find_map(|rest| rest.strip_prefix(' ')).unwrap().parse().unwrap()
}

/// Lines of a kibibyte, so many bytes of them.
fn line_of(bytes: usize) -> Vec<u8> {
    [&[b'z'; 1023][..], b"\n"].concat().repeat(bytes / 1024)
}
