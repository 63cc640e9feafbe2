//! `/pub` and `/mpub`: the order of their checks, and what is queued.

use std::time::Duration;

use crate::harness::{Broker, Client, HttpConnection, Peer, bytes, on_each_peer};

const EMPTY: &str = r#"{"message":"MSG_EMPTY"}"#;
const NO_TOPIC: &str = r#"{"message":"MISSING_ARG_TOPIC"}"#;
const BAD_TOPIC: &str = r#"{"message":"INVALID_TOPIC"}"#;
const BAD_REQUEST: &str = r#"{"message":"INVALID_REQUEST"}"#;
const BAD_DEFER: &str = r#"{"message":"INVALID_DEFER"}"#;
const TOO_BIG: &str = r#"{"message":"MSG_TOO_BIG"}"#;
const BODY_TOO_BIG: &str = r#"{"message":"BODY_TOO_BIG"}"#;
const BAD_BODY: &str = r#"{"message":"BAD_BODY"}"#;
const BAD_MESSAGE: &str = r#"{"message":"BAD_MESSAGE"}"#;

/// Target, body, status and reply; with a declared length, then in chunks.
type Row<'a> = (&'a str, &'a [u8], u16, &'a str);

fn check(flags: &[&str], rows: &[Row<'_>]) {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, flags);
        for row in rows {
            check_row(peer, &broker, row);
        }
    });
}

fn check_row(peer: Peer, broker: &Broker, (target, body, status, reply): &Row<'_>) {
    let whole = broker.request("POST", target, body);
    let got = (whole.status, whole.text());
    assert_eq!(got, (*status, *reply), "{peer:?} {target} {} bytes", body.len());
    // Big bodies in a few chunks, small ones byte by byte.
    let piece = body.len() / 7 + 1;
    let pieces: Vec<&[u8]> = body.chunks(piece).collect();
    let chunked = HttpConnection::new(broker.http).chunked("POST", target, &pieces);
    assert_eq!((chunked.status, chunked.text()), (*status, *reply), "{peer:?} chunked {target}");
}

#[test]
fn pub_checks_in_order() {
    let exact = vec![b'x'; 100];
    let too_big = vec![b'x'; 101];
    check(
        &["--max-msg-size=100", "--max-req-timeout=2s"],
        &[
            ("/pub?topic=t", b"x", 200, "OK"),
            ("/pub?topic=t", &exact, 200, "OK"),
            ("/pub?topic=t", &too_big, 413, TOO_BIG),
            ("/pub", &too_big, 413, TOO_BIG),
            ("/pub", b"", 400, EMPTY),
            ("/pub?topic=a$b", b"", 400, EMPTY),
            ("/pub?topic=%zz", b"", 400, EMPTY),
            ("/pub", b"x", 400, NO_TOPIC),
            ("/pub?topic=%zz", b"x", 400, BAD_REQUEST),
            ("/pub?topic=t;a=b", b"x", 400, BAD_REQUEST),
            ("/pub?topic=", b"x", 400, BAD_TOPIC),
            ("/pub?topic=a$b", b"x", 400, BAD_TOPIC),
            ("/pub?topic=a$b&defer=x", b"x", 400, BAD_TOPIC),
            ("/pub?topic=t&defer=", b"x", 400, BAD_DEFER),
            ("/pub?topic=t&defer=x", b"x", 400, BAD_DEFER),
            ("/pub?topic=t&defer=-1", b"x", 400, BAD_DEFER),
            ("/pub?topic=t&defer=1.5", b"x", 400, BAD_DEFER),
            ("/pub?topic=t&defer=0x10", b"x", 400, BAD_DEFER),
            ("/pub?topic=t&defer=2001", b"x", 400, BAD_DEFER),
            ("/pub?topic=t&defer=99999999999999999999", b"x", 400, BAD_DEFER),
            ("/pub?topic=t&defer=2000", b"x", 200, "OK"),
            ("/pub?topic=t&defer=%2B5", b"x", 200, "OK"),
            ("/pub?topic=t&defer=007", b"x", 200, "OK"),
            ("/pub?topic=t&defer=0", b"x", 200, "OK"),
            ("/pub?topic=e%23ephemeral", b"x", 200, "OK"),
            ("/pub?topic=t&topic=a$b", b"x", 200, "OK"),
        ],
    );
}

#[test]
fn mpub_text() {
    let too_long_line = [b"ok\n", &[b'x'; 101][..], b"\nok"].concat();
    let exact = [&[b'x'; 100][..], b"\n", &[b'y'; 100][..], b"\n"].concat();
    let too_big = [&b"x\n".repeat(251)[..], b"x"].concat();
    check(
        &["--max-msg-size=100", "--max-body-size=502"],
        &[
            ("/mpub?topic=t", b"a\nb\nc", 200, "OK"),
            ("/mpub?topic=t", b"", 200, "OK"),
            ("/mpub?topic=t", b"\n\n\n", 200, "OK"),
            ("/mpub?topic=t", &exact, 200, "OK"),
            ("/mpub?topic=t", &too_long_line, 413, TOO_BIG),
            ("/mpub?topic=t", &too_big, 413, BODY_TOO_BIG),
            ("/mpub", b"x", 400, NO_TOPIC),
            ("/mpub?topic=%zz", b"x", 400, BAD_REQUEST),
            ("/mpub?topic=a$b", b"x", 400, BAD_TOPIC),
            ("/mpub?topic=t&binary=false", b"a\nb", 200, "OK"),
            ("/mpub?topic=t&binary=0", b"a\nb", 200, "OK"),
        ],
    );
}

#[test]
fn mpub_binary() {
    let rows: Vec<(Vec<u8>, u16, &str)> = [
        ("<0000000200000001>a<00000002>bb", 200, "OK"),
        ("<0000000200000001>a<00000002>bbtrailing", 200, "OK"),
        ("", 413, BAD_BODY),
        ("<000000>", 413, BAD_BODY),
        ("<00000000>", 413, BAD_BODY),
        ("<ffffffff>", 413, BAD_BODY),
        ("<00000065>", 413, BAD_BODY),
        ("<00000001>", 413, BAD_MESSAGE),
        ("<000000010000>", 413, BAD_MESSAGE),
        ("<0000000100000000>", 413, BAD_MESSAGE),
        ("<00000001ffffffff>", 413, BAD_MESSAGE),
        ("<0000000100000065>", 413, BAD_MESSAGE),
        ("<0000000200000001>a<00000002>b", 413, BAD_MESSAGE),
        ("<0000000200000001>a", 413, BAD_MESSAGE),
    ]
    .iter()
    .map(|(body, status, reply)| (bytes(body), *status, *reply))
    .collect();
    let targets =
        ["true", "1", "", "TRUE", "yes", "x"].map(|value| format!("/mpub?topic=t&binary={value}"));
    let all: Vec<Row<'_>> = targets
        .iter()
        .flat_map(|target| rows.iter().map(move |row| (target.as_str(), &row.0[..], row.1, row.2)))
        .collect();
    check(&["--max-msg-size=100", "--max-body-size=504"], &all);
}

/// What the accepted forms queue, and that a refused batch queues nothing.
#[test]
fn what_is_queued() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &["--max-msg-size=100"]);
        let post = |target: &str, body: &[u8]| broker.request("POST", target, body).status;
        assert_eq!(post("/pub?topic=t", b"one\ntwo\0\xff"), 200);
        assert_eq!(post("/mpub?topic=t", b"\na\r\n\nb b\n\nc"), 200);
        let binary = bytes("<0000000200000001>\n<00000002><0000>more");
        assert_eq!(post("/mpub?topic=t&binary=true", &binary), 200);
        let refused = [b"fine\n", &[b'x'; 101][..], b"\n"].concat();
        assert_eq!(post("/mpub?topic=t", &refused), 413);
        assert_eq!(post("/mpub?topic=t&binary=1", &bytes("<0000000200000001>a<0000>")), 413);
        let mut client = Client::consumer(&broker, "t", "c", 20);
        let wanted: [&[u8]; 6] = [b"one\ntwo\0\xff", b"a\r", b"b b", b"c", b"\n", b"\0\0"];
        for body in wanted {
            assert_eq!(client.message().body, body);
        }
        client.silent(Duration::from_millis(300));
        assert_eq!(broker.topic("t")["message_count"], 6);
        assert_eq!(broker.topic("t")["message_bytes"], 9 + 2 + 3 + 1 + 1 + 2);
    });
}

/// The topic is made before the delay, or the batch, is looked at.
#[test]
fn topic_made_early() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let post = |target: &str, body: &[u8]| broker.request("POST", target, body).status;
        assert_eq!(post("/pub?topic=defer&defer=x", b"x"), 400);
        assert_eq!(post("/mpub?topic=binary&binary=1", b"x"), 413);
        assert_eq!(post("/mpub?topic=none", b""), 200);
        assert_eq!(post("/pub?topic=empty", b""), 400);
        for topic in ["defer", "binary", "none"] {
            assert_eq!(broker.topic(topic)["message_count"], 0, "{topic}");
        }
        assert!(broker.topic("empty").is_null());
    });
}

/// A body of the size limit goes through whole, and one byte more is refused, by default too.
#[test]
fn default_limits() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let largest: Vec<u8> = (0..1_048_576_u32).map(|n| (n * 7) as u8).collect();
        assert_eq!(broker.request("POST", "/pub?topic=t", &largest).status, 200);
        let pieces: Vec<&[u8]> = largest.chunks(10_000).collect();
        let mut connection = HttpConnection::new(broker.http);
        assert_eq!(connection.chunked("POST", "/pub?topic=t", &pieces).status, 200);
        assert_eq!(connection.request("POST", "/pub?topic=t&defer=3600000", b"x").status, 200);
        assert_eq!(connection.request("POST", "/pub?topic=t&defer=3600001", b"x").status, 400);
        let mut client = Client::consumer(&broker, "t", "c", 1);
        for _ in 0..2 {
            let message = client.message();
            assert!(message.body == largest, "{} bytes, or other ones", message.body.len());
            client.fin(&message.id);
        }
        let mut refused = HttpConnection::new(broker.http);
        refused.send(b"POST /pub?topic=t HTTP/1.1\r\nHost: t\r\nContent-Length: 1048577\r\n\r\n");
        let reply = refused.response();
        assert_eq!((reply.status, reply.text()), (413, TOO_BIG));
        let mut refused = HttpConnection::new(broker.http);
        // A declared length is looked at before the topic is.
        refused.send(b"POST /mpub HTTP/1.1\r\nHost: t\r\nContent-Length: 5242881\r\n\r\n");
        let reply = refused.response();
        assert_eq!((reply.status, reply.text()), (413, BODY_TOO_BIG));
    });
}
