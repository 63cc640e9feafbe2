//! `/pub` and `/mpub`: the order of their checks, and what reaches the shard.

use super::super::testing::{Connection, FakeDesk, ask, facts, post, short};

fn desk() -> FakeDesk {
    FakeDesk::new(facts())
}

/// Status, body, and what the shards were asked.
fn check(uri: &str, body: &str, expected: &str, asked: &[&str]) {
    let desk = desk();
    assert_eq!(post(&desk, uri, body), expected, "{uri} {body:?}");
    assert_eq!(desk.asked(), asked, "{uri} {body:?}");
}

const CODE: fn(u16, &str) -> String = |status, code| format!("{status}|{{\"message\":\"{code}\"}}");

fn refused(uri: &str, body: &str, status: u16, code: &str, asked: &[&str]) {
    check(uri, body, &CODE(status, code), asked);
}

#[test]
fn a_message_reaches_the_owner_of_its_topic() {
    check("/pub?topic=orders", "hello", "200|OK", &["0 publish orders hello defer 0"]);
    check("/pub?topic=x%23ephemeral", "a\nb", "200|OK", &["1 publish x#ephemeral a\nb defer 0"]);
    check("/pub?topic=a&topic=b", "m", "200|OK", &["0 publish a m defer 0"]);
    let largest = "m".repeat(100);
    let asked = format!("0 publish a {largest} defer 0");
    check("/pub?topic=a", &largest, "200|OK", &[&asked]);
}

#[test]
fn the_checks_of_pub_come_in_the_original_order() {
    let big = "m".repeat(101);
    refused("/pub?topic=a;b", &big, 413, "MSG_TOO_BIG", &[]);
    refused("/pub?topic=a;b", "", 400, "MSG_EMPTY", &[]);
    refused("/pub?topic=a;b", "m", 400, "INVALID_REQUEST", &[]);
    refused("/pub?topic=a&x=%zz", "m", 400, "INVALID_REQUEST", &[]);
    refused("/pub?defer=x", "m", 400, "MISSING_ARG_TOPIC", &[]);
    refused("/pub", "m", 400, "MISSING_ARG_TOPIC", &[]);
    refused("/pub?topic=", "m", 400, "INVALID_TOPIC", &[]);
    refused("/pub?topic=a%20b&defer=x", "m", 400, "INVALID_TOPIC", &[]);
}

#[test]
fn a_bad_deferral_still_creates_the_topic() {
    for bad in ["", "x", "-1", "1.5", "3600001", "99999999999999999999", "1_0", "%201"] {
        let uri = format!("/pub?topic=a&defer={bad}");
        refused(&uri, "m", 400, "INVALID_DEFER", &["0 create a"]);
    }
    for (good, ms) in [("0", 0), ("1500", 1500), ("%2B7", 7), ("3600000", 3_600_000)] {
        let asked = format!("0 publish a m defer {ms}");
        check(&format!("/pub?topic=a&defer={good}"), "m", "200|OK", &[&asked]);
    }
}

#[test]
fn a_shard_that_refuses_is_unavailable() {
    let desk = desk();
    desk.refuse();
    for (uri, body) in [("/pub?topic=a", "m"), ("/mpub?topic=a", "m"), ("/mpub?topic=a", "")] {
        assert_eq!(post(&desk, uri, body), CODE(503, "EXITING"));
    }
}

fn chunked(uri: &str, chunks: &[&str]) -> String {
    let mut text = format!("POST {uri} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in chunks {
        text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    text + "0\r\n\r\n"
}

#[test]
fn chunked_bodies_are_messages_too() {
    let desk = desk();
    assert_eq!(short(&ask(&desk, &chunked("/pub?topic=a", &["he", "llo"]))), "200|OK");
    assert_eq!(desk.asked(), ["0 publish a hello defer 0"]);
    assert_eq!(short(&ask(&desk, &chunked("/pub?topic=a", &[]))), CODE(400, "MSG_EMPTY"));
    let half = "m".repeat(60);
    let response = ask(&desk, &chunked("/pub?topic=a", &[&half, &half]));
    assert_eq!(short(&response), CODE(413, "MSG_TOO_BIG"));
    assert_eq!(desk.asked(), [""; 0]);
    let lines = ["one\ntw", "o\n", "\nthree"];
    assert_eq!(short(&ask(&desk, &chunked("/mpub?topic=a", &lines))), "200|OK");
    assert_eq!(desk.asked(), ["0 publish a one|two|three defer 0"]);
    let broken =
        "POST /pub?topic=a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    let response = ask(&desk, broken);
    assert_eq!(short(&response), CODE(500, "INTERNAL_ERROR"));
    assert!(response.contains("Connection: close\r\n"), "{response}");
}

#[test]
fn lines_become_messages() {
    check("/mpub?topic=a", "x\r\n\n\ny", "200|OK", &["0 publish a x\r|y defer 0"]);
    check("/mpub?topic=a&binary=false", "x", "200|OK", &["0 publish a x defer 0"]);
    check("/mpub?topic=a&binary=0&defer=5", "x", "200|OK", &["0 publish a x defer 5"]);
    check("/mpub?topic=a", "", "200|OK", &["0 create a"]);
    check("/mpub?topic=a", "\n\n", "200|OK", &["0 create a"]);
}

#[test]
fn the_checks_of_mpub_come_in_the_original_order() {
    let (long_line, long_body) = ("m".repeat(101), "m\n".repeat(251));
    refused("/mpub?topic=a;b", &long_body, 413, "BODY_TOO_BIG", &[]);
    refused("/mpub?topic=a;b", &long_line, 400, "INVALID_REQUEST", &[]);
    refused("/mpub", "m", 400, "MISSING_ARG_TOPIC", &[]);
    refused("/mpub?topic=$", "m", 400, "INVALID_TOPIC", &[]);
    refused("/mpub?topic=a", &format!("m\n{long_line}\n"), 413, "MSG_TOO_BIG", &["0 create a"]);
    let desk = desk();
    let response = ask(&desk, &chunked("/mpub?topic=a", &[&long_body]));
    assert_eq!(short(&response), CODE(413, "BODY_TOO_BIG"));
    assert_eq!(desk.asked(), ["0 create a"]);
}

#[test]
fn binary_bodies_and_their_faults() {
    let two = "\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc";
    let asked = ["0 publish a a|bc defer 0"];
    for yes in ["true", "1", "", "TRUE", "yes"] {
        check(&format!("/mpub?topic=a&binary={yes}"), two, "200|OK", &asked);
    }
    check("/mpub?topic=a&binary=1", &format!("{two}trailing"), "200|OK", &asked);
    let uri = "/mpub?topic=a&binary=true";
    for bad in ["", "\0\0", "\0\0\0\0", "\0\0\0\x7f"] {
        refused(uri, bad, 413, "BAD_BODY", &["0 create a"]);
    }
    for bad in ["\0\0\0\x01", "\0\0\0\x01\0\0\0\0", "\0\0\0\x01\0\0\0\x65", "\0\0\0\x01\0\0\0\x02b"]
    {
        refused(uri, bad, 413, "BAD_MESSAGE", &["0 create a"]);
    }
}

#[test]
fn a_body_that_breaks_off_is_no_message() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    connection.send(b"POST /pub?topic=a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
    assert_eq!(connection.received(), "");
    connection.peer.end();
    assert_eq!(short(&connection.received()), CODE(500, "INTERNAL_ERROR"));
    assert_eq!(desk.asked(), [""; 0]);
    assert!(connection.is_over());
}

#[test]
fn a_body_in_small_pieces_is_one_message() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    let request = "POST /pub?topic=a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    for byte in request.bytes() {
        connection.send(&[byte]);
    }
    assert_eq!(short(&connection.received()), "200|OK");
    assert_eq!(desk.asked(), ["0 publish a hello defer 0"]);
}
