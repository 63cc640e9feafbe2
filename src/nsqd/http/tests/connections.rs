//! What belongs to HTTP rather than to NSQ: routes that are not there, pipelining, limits, faults.

use std::time::Duration;

use super::super::serve::HEAD_TIME_MIN;
use super::super::testing::{Connection, FakeDesk, ask, facts, get, short, without_date};
use crate::http::dispatch::HEAD_BYTES_MAX;

fn desk() -> FakeDesk {
    FakeDesk::new(facts())
}

const V1_JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

#[test]
fn unknown_paths_and_wrong_methods() {
    let desk = desk();
    let nothing = ask(&desk, "GET /put HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(nothing.starts_with("HTTP/1.1 404 Not Found\r\n"), "{nothing}");
    assert!(nothing.contains(V1_JSON) && nothing.contains("X-Nsq-Content-Type: nsq; version=1.0"));
    assert!(nothing.ends_with("\r\n\r\n{\"message\":\"NOT_FOUND\"}"));
    let wrong = ask(&desk, "DELETE /config/x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(wrong.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{wrong}");
    assert!(wrong.contains("Allow: GET, OPTIONS, PUT\r\n"), "{wrong}");
    assert!(wrong.ends_with("{\"message\":\"METHOD_NOT_ALLOWED\"}"), "{wrong}");
    let head = ask(&desk, "HEAD /ping HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    assert!(head.ends_with("Content-Length: 32\r\n\r\n"), "no body: {head}");
    let options = ask(&desk, "OPTIONS /pub HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(options, "HTTP/1.1 200 OK\r\nAllow: OPTIONS, POST\r\nContent-Length: 0\r\n\r\n");
    let server = ask(&desk, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn almost_right_paths_are_redirected() {
    let desk = desk();
    let got = ask(&desk, "GET /PING/?a=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(
        got,
        "HTTP/1.1 301 Moved Permanently\r\nLocation: /ping?a=1\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Length: 44\r\n\r\n\
         <a href=\"/ping?a=1\">Moved Permanently</a>.\n\n"
    );
    let posted = ask(&desk, "POST //pub?topic=a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        posted,
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: /pub?topic=a\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(get(&desk, "/%70ing"), "200|OK");
    assert_eq!(get(&desk, "/%zz"), "400|400 Bad Request");
}

#[test]
fn requests_in_one_packet_are_answered_in_order() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    let mut requests = String::new();
    for number in 0..100 {
        let body = number.to_string();
        let length = body.len();
        requests.push_str(&format!(
            "POST /pub?topic=a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        requests.push_str("GET /config/data_path HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    connection.send(requests.as_bytes());
    let received = connection.received();
    assert_eq!(received.matches("\r\n\r\nOK").count(), 100);
    assert_eq!(received.matches("\r\n\r\n/d").count(), 100);
    let expected: Vec<_> = (0..100).map(|n| format!("0 publish a {n} defer 0")).collect();
    assert_eq!(desk.asked(), expected);
    assert!(!connection.is_over());
}

#[test]
fn continue_is_said_only_to_those_whose_body_is_wanted() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    let head = "POST /pub?topic=a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n";
    connection.send(format!("{head}Content-Length: 5\r\n\r\n").as_bytes());
    assert_eq!(connection.received(), "HTTP/1.1 100 Continue\r\n\r\n");
    connection.send(b"hello");
    assert_eq!(short(&connection.received()), "200|OK");
    connection.send(format!("{head}Content-Length: 101\r\n\r\n").as_bytes());
    let refusal = connection.received();
    assert_eq!(short(&refusal), "413|{\"message\":\"MSG_TOO_BIG\"}");
    assert!(refusal.starts_with("HTTP/1.1 413 Request Entity Too Large\r\n"), "{refusal}");
    assert!(refusal.contains("Connection: close\r\n"), "{refusal}");
    assert!(connection.is_over());
}

#[test]
fn a_small_body_that_nobody_wants_does_not_cost_the_connection() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    let head = "POST /topic/create?topic=a HTTP/1.1\r\nHost: h\r\n";
    connection.send(
        format!("{head}Content-Length: 3\r\n\r\nabcGET /ping HTTP/1.1\r\nHost: h\r\n\r\n")
            .as_bytes(),
    );
    let received = connection.received();
    assert!(!received.contains("Connection: close"));
    assert!(received.ends_with("OK"), "{received}");
    connection.send(format!("{head}Content-Length: 300000\r\n\r\nabc").as_bytes());
    let refusal = connection.received();
    assert!(refusal.contains("Connection: close\r\n"), "{refusal}");
    assert!(connection.is_over());
}

#[test]
fn connections_stay_unless_the_client_says_otherwise() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    connection.send(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(short(&connection.received()), "200|OK");
    assert!(!connection.is_over());
    connection.send(b"GET /ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(connection.received().contains("Connection: close\r\n"));
    assert!(connection.is_over());
    let mut old = Connection::new(&desk);
    old.send(b"GET /ping HTTP/1.0\r\n\r\n");
    assert!(old.received().starts_with("HTTP/1.0 200 OK\r\n"));
    assert!(old.is_over());
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_answer() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    connection.hold_answers();
    connection.send(b"POST /pub?topic=a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nm");
    connection.peer.end();
    assert_eq!(connection.received(), "");
    assert!(!connection.is_over());
    let (ticket, _) = desk.first_open();
    desk.settle(ticket);
    assert_eq!(short(&connection.received()), "200|OK");
    assert!(connection.is_over());
}

#[test]
fn a_request_for_which_nobody_waits_any_more_is_forgotten() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    connection.hold_answers();
    connection.send(b"POST /pub?topic=a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nm");
    assert_eq!(desk.waiting(), 1);
    let (ticket, _) = desk.first_open();
    drop(connection);
    assert_eq!(desk.waiting(), 0);
    desk.settle(ticket);
}

#[test]
fn heads_are_bounded_in_size_and_number() {
    let desk = desk();
    let long = "x".repeat(HEAD_BYTES_MAX);
    let big = ask(&desk, &format!("GET /ping HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"));
    assert!(big.starts_with("HTTP/1.1 431 "), "{big}");
    let endless = ask(&desk, &format!("GET /ping HTTP/1.1\r\nHost: h\r\nX: {long}{long}"));
    assert!(endless.starts_with("HTTP/1.1 431 "), "{endless}");
    let fits = "x".repeat(HEAD_BYTES_MAX - 100);
    let fits = ask(&desk, &format!("GET /ping HTTP/1.1\r\nHost: h\r\nX: {fits}\r\n\r\n"));
    assert_eq!(short(&fits), "200|OK");
    let many = "X: y\r\n".repeat(101);
    let many = ask(&desk, &format!("GET /ping HTTP/1.1\r\nHost: h\r\n{many}\r\n"));
    assert!(many.starts_with("HTTP/1.1 431 "), "{many}");
}

#[test]
fn what_is_not_http_is_refused() {
    let desk = desk();
    assert!(ask(&desk, "  V2 hello\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let hostless = ask(&desk, "GET /ping HTTP/1.1\r\n\r\n");
    assert_eq!(short(&hostless), "400|400 Bad Request: missing required Host header");
}

#[test]
fn a_head_that_does_not_end_ends_the_connection() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    for _ in 0..50 {
        connection.advance(HEAD_TIME_MIN);
    }
    connection.send(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(short(&connection.received()), "200|OK", "idle for long, and still there");
    connection.send(b"GET /pi");
    connection.advance(HEAD_TIME_MIN - Duration::from_millis(1));
    assert!(!connection.is_over());
    connection.advance(Duration::from_millis(1));
    connection.advance(HEAD_TIME_MIN - Duration::from_millis(1));
    assert!(!connection.is_over());
    connection.advance(Duration::from_millis(1));
    assert!(connection.is_over());
}

#[test]
fn a_panic_costs_its_request_only() {
    let desk = desk();
    let mut connection = Connection::new(&desk);
    desk.panic(true);
    connection.send(b"POST /topic/create?topic=a HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = without_date(&connection.received());
    assert_eq!(short(&response), "500|{\"message\":\"INTERNAL_ERROR\"}");
    desk.panic(false);
    connection.send(b"POST /topic/create?topic=a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(short(&connection.received()), "200|");
}

#[test]
fn plain_http_is_sent_to_https_where_it_is_required() {
    let mut facts = facts();
    facts.https_required_port = Some(14132);
    let desk = FakeDesk::new(facts);
    let refusal = ask(&desk, "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(refusal.contains("X-Nsq-Content-Type: nsq; version=1.0\r\n"), "{refusal}");
    assert_eq!(short(&refusal), "403|{\"message\": \"TLS_REQUIRED\", \"https_port\": 14132}");
}
