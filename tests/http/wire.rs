//! HTTP/1.1 itself: keep-alive, pipelining, pieces, `Expect`, and requests that are none.

use std::time::Duration;

use crate::harness::{Broker, Client, HttpConnection, on_each_peer};

/// Many requests on one connection, of several kinds.
#[test]
fn keep_alive() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = HttpConnection::new(broker.http);
        for number in 0..300 {
            let reply = connection.request("POST", "/pub?topic=t", b"x");
            assert_eq!((reply.status, reply.text()), (200, "OK"), "request {number}");
            assert_eq!(connection.request("GET", "/ping", b"").text(), "OK");
            assert_eq!(connection.request("POST", "/pub?topic=t", b"").status, 400);
        }
        assert_eq!(broker.topic("t")["message_count"], 300);
    });
}

/// Requests sent without waiting are answered in order.
#[test]
fn pipelined() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = HttpConnection::new(broker.http);
        let mut all = Vec::new();
        for number in 0..50 {
            let target = if number % 5 == 0 { "/pub" } else { "/pub?topic=t" };
            all.extend(
                format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx")
                    .into_bytes(),
            );
        }
        connection.send(&all);
        for number in 0..50 {
            let wanted = if number % 5 == 0 { 400 } else { 200 };
            assert_eq!(connection.response().status, wanted, "response {number}");
        }
        assert_eq!(broker.topic("t")["message_count"], 40);
    });
}

/// A request that comes byte by byte.
#[test]
fn in_pieces() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = HttpConnection::new(broker.http);
        for byte in b"POST /pub?topic=t HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" {
            connection.send(&[*byte]);
            std::thread::sleep(Duration::from_micros(200));
        }
        assert_eq!(connection.response().text(), "OK");
        assert_eq!(Client::consumer(&broker, "t", "c", 1).message().text(), "hello");
    });
}

/// `Expect: 100-continue` is answered before the body is sent.
#[test]
fn expect_continue() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = HttpConnection::new(broker.http);
        connection.send(
            b"POST /pub?topic=t HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\
              Expect: 100-continue\r\n\r\n",
        );
        assert_eq!(connection.head(), "HTTP/1.1 100 Continue");
        connection.send(b"hello");
        assert_eq!(connection.response().text(), "OK");
    });
}

/// HTTP/1.0 and `Connection: close` end the connection behind the response.
#[test]
fn closing() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = HttpConnection::new(broker.http);
        connection.send(b"GET /ping HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let reply = connection.response();
        assert_eq!((reply.text(), reply.header("Connection")), ("OK", Some("close")));
        assert!(connection.is_closed());
        let mut connection = HttpConnection::new(broker.http);
        connection.send(b"GET /ping HTTP/1.0\r\n\r\n");
        let head = connection.head();
        assert!(head.starts_with("HTTP/1.0 200 ") || head.starts_with("HTTP/1.1 200 "), "{head}");
    });
}

/// What is no HTTP gets 400 or nothing, and the broker goes on.
#[test]
fn not_http() {
    let rubbish: [&[u8]; 6] = [
        b"  V2PUB t\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /ping HTTP/9.9\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n",
        b"POST /pub?topic=t HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for request in rubbish {
            let mut connection = HttpConnection::new(broker.http);
            connection.send(request);
            let answer = connection.rest();
            let refused = answer.is_empty()
                || answer
                    .windows(4)
                    .any(|part| part == b" 400" || part == b" 505" || part == b" 500");
            assert!(refused, "{peer:?} {request:?}: {:?}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(broker.request("GET", "/ping", b"").text(), "OK");
        assert!(broker.topic("t").is_null() || broker.topic("t")["message_count"] == 0);
    });
}

/// A header of unreasonable size is refused, not gathered without end.
#[test]
fn endless_header() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut connection = HttpConnection::new(broker.http);
        connection.send(b"GET /ping HTTP/1.1\r\nHost: t\r\nX-Long: ");
        let mut sent = 0;
        while connection.try_send(&[b'x'; 65_536]) {
            sent += 65_536;
            assert!(sent < 64 << 20, "still listening after {sent} bytes");
        }
        assert_eq!(broker.request("GET", "/ping", b"").text(), "OK");
    });
}
