//! A small site on a real socket, and clients of all kinds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::Method;

use super::{Limits, Request, Site, serve};
use crate::http::respond::{Failure, Response, v1_text};
use crate::http::router::Router;
use crate::net::connections::ConnectionCounts;
use crate::net::listeners::bind;
use crate::net::thread::LightThread;

const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
enum Endpoint {
    Echo,
    Remote,
    Panic,
    Slow,
}

struct TestSite(Router<Endpoint>);

impl TestSite {
    fn new() -> TestSite {
        TestSite(Router::new(&[
            (Method::POST, "/echo/{word}", Endpoint::Echo),
            (Method::GET, "/remote", Endpoint::Remote),
            (Method::POST, "/remote", Endpoint::Remote),
            (Method::GET, "/panic", Endpoint::Panic),
            (Method::GET, "/slow", Endpoint::Slow),
        ]))
    }
}

impl Site for TestSite {
    type Endpoint = Endpoint;

    fn routes(&self) -> &Router<Endpoint> {
        &self.0
    }

    fn body_bytes_max(&self, endpoint: Endpoint) -> Option<u64> {
        matches!(endpoint, Endpoint::Echo).then_some(10)
    }

    fn is_logged(&self, _: Endpoint) -> bool {
        true
    }

    async fn handle(&self, endpoint: Endpoint, request: Request<'_>) -> Result<Response, Failure> {
        match endpoint {
            Endpoint::Echo => {
                let word = request.params.get("word").unwrap_or_default().to_owned();
                let say = request.query()?.get("say").map(|say| say.into_owned());
                let body = [word.into_bytes(), say.unwrap_or_default(), request.body].concat();
                Ok(v1_text(body))
            }
            Endpoint::Remote => Ok(v1_text(request.remote.to_owned())),
            Endpoint::Panic => panic!("on purpose"),
            Endpoint::Slow => {
                glommio::timer::Timer::new(Duration::from_millis(300)).await;
                Ok(v1_text("at last"))
            }
        }
    }
}

struct Server {
    address: String,
    thread: LightThread,
    counts: flume::Receiver<ConnectionCounts>,
}

const LIMITS: Limits =
    Limits { connections_max: 10, idle: SOON, request: SOON, answer: SOON, keep_alive: true };

fn server(limits: Limits) -> Server {
    let bound = bind("HTTP", "127.0.0.1:0").unwrap().unwrap();
    let address = bound.address.to_string();
    let (sender, counts) = flume::bounded(1);
    let thread = LightThread::start("test", move |stop| async move {
        let listening = serve(bound, Rc::new(TestSite::new()), limits).unwrap();
        stop.wait().await;
        sender.send(listening.counter().counts()).unwrap();
        listening.stop(SOON).await;
    });
    Server { address, thread: thread.unwrap(), counts }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(&self.address).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        client
    }

    /// Sends bytes on a new connection, no more after them, and reads what comes until the end.
    fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        read_to_end(client)
    }

    fn stop(self) -> ConnectionCounts {
        let start = Instant::now();
        self.thread.stop(SOON);
        assert!(start.elapsed() < SOON / 2, "stopping took {:?}", start.elapsed());
        self.counts.recv_timeout(SOON).unwrap()
    }
}

fn read_to_end(mut client: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = client.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

#[test]
fn requests_find_their_handlers_with_parameters_query_and_body() {
    let server = server(LIMITS);
    let body = "Content-Length: 4\r\n\r\nbody";
    let answer =
        server.ask(&format!("POST /echo/w%6frd?say=%20and+ HTTP/1.1\r\nHost: h\r\n{body}"));
    assert!(answer.ends_with("\r\n\r\nword and body"), "{answer}");
    assert!(answer.contains("\r\nX-Nsq-Content-Type: nsq; version=1.0\r\n"), "{answer}");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    let answer = server.ask(&format!("POST /echo/x HTTP/1.1\r\nHost: h\r\n{chunked}"));
    assert!(answer.ends_with("\r\n\r\nxabc"), "{answer}");
    let answer = server.ask("GET /remote HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.contains("\r\n\r\n127.0.0.1:"), "{answer}");
    let answer = server.ask("POST /echo/x?a;b HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with(r#"{"message":"INVALID_REQUEST"}"#), "{answer}");
    server.stop();
}

#[test]
fn other_requests_are_answered_as_the_broker_does() {
    let server = server(LIMITS);
    for (request, expected, header) in [
        ("GET /nothing", "HTTP/1.1 404 Not Found", "X-Nsq-Content-Type: nsq; version=1.0"),
        ("PUT /remote", "HTTP/1.1 405 Method Not Allowed", "Allow: GET, OPTIONS, POST"),
        ("OPTIONS /slow", "HTTP/1.1 200 OK", "Allow: GET, OPTIONS"),
        ("GET /remote/?x=1", "HTTP/1.1 301 Moved Permanently", "Location: /remote?x=1"),
        ("POST /Echo/w", "HTTP/1.1 307 Temporary Redirect", "Location: /echo/w"),
        ("GET /remote%zz", "HTTP/1.1 400 Bad Request", "Connection: close"),
        ("GET /panic", "HTTP/1.1 500 Internal Server Error", "Content-Length: 28"),
    ] {
        let answer = server.ask(&format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(status(&answer), expected, "{request}");
        assert!(answer.contains(&format!("\r\n{header}\r\n")), "{request}: {answer}");
    }
    let answer = server.ask("GET /remote HTTP/1.1\r\n\r\n");
    assert!(answer.ends_with("400 Bad Request: missing required Host header"), "{answer}");
    assert_eq!(status(&server.ask("garbage\r\n\r\n")), "HTTP/1.1 400 Bad Request");
    server.stop();
}

#[test]
fn bodies_have_a_limit_where_they_are_read() {
    let server = server(LIMITS);
    let post = |path: &str, length: usize, body: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}");
        server.ask(&format!("{head}\r\n\r\n{body}"))
    };
    assert!(post("/echo/x", 10, "0123456789").ends_with("x0123456789"));
    let answer = post("/echo/x", 11, "0123456789a");
    assert_eq!(status(&answer), "HTTP/1.1 413 Request Entity Too Large");
    assert!(answer.ends_with(r#"{"message":"BODY_TOO_BIG"}"#), "{answer}");
    let chunks = "Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n";
    let answer = server.ask(&format!("POST /echo/x HTTP/1.1\r\nHost: h\r\n{chunks}"));
    assert_eq!(status(&answer), "HTTP/1.1 413 Request Entity Too Large");
    // Nobody waits for a body that is not looked at, nor is a large one taken.
    let answer = post("/remote", 1 << 40, &"x".repeat(1 << 20));
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    server.stop();
}

#[test]
fn requests_in_one_go_are_answered_in_order() {
    let server = server(LIMITS);
    let request = |word: &str| format!("POST /echo/{word} HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = server.ask(&[request("one"), request("two"), request("three")].concat());
    let bodies: Vec<&str> =
        answer.split("HTTP/1.1 ").filter_map(|part| part.split("\r\n\r\n").nth(1)).collect();
    assert_eq!(bodies, ["one", "two", "three"]);
    assert_eq!(server.stop().accepted, 1);
}

#[test]
fn a_slow_request_ends_its_connection_and_an_idle_one_may_wait() {
    let server = server(Limits { request: Duration::from_millis(300), ..LIMITS });
    let mut idle = server.connect();
    let mut head = server.connect();
    let mut body = server.connect();
    body.write_all(b"POST /echo/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\na").unwrap();
    let start = Instant::now();
    while head.write_all(b"G").is_ok() {
        assert!(start.elapsed() < SOON, "a byte from time to time is not enough");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(read_to_end(body), "");
    idle.write_all(b"GET /remote HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(status(&read_to_end(idle)), "HTTP/1.1 200 OK");
    assert_eq!(server.stop().silent, 2);
}

#[test]
fn an_idle_connection_has_a_deadline_of_its_own_and_work_has_none() {
    let server = server(Limits {
        idle: Duration::from_millis(100),
        answer: Duration::from_millis(100),
        ..LIMITS
    });
    let answer = server.ask("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(answer.ends_with("at last"), "{answer}");
    let mut idle = server.connect();
    idle.write_all(b"GET /remote HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(status(&read_to_end(idle)), "HTTP/1.1 200 OK");
    server.stop();
}

#[test]
fn a_stop_waits_for_work_and_not_for_idle_clients() {
    let server = server(LIMITS);
    let idle = server.connect();
    let mut busy = server.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.stop().open, 2);
    let answer = read_to_end(busy);
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("at last"), "{answer}");
    assert_eq!(read_to_end(idle), "");
}
