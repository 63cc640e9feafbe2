//! The client against servers that behave, and some that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use glommio::LocalExecutor;

use super::{Cause, Client, ClientOptions, Request, Url};

/// How a test's server deals with one connection.
type Serve = fn(TcpStream);

/// A server on a free port that serves each connection on a thread, for as long as the test runs.
fn server(serve: Serve) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The next request's head; `None` when the client closed.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

fn say(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
}

/// Answers every request with its number on the connection and its first line.
fn echo(mut stream: TcpStream) {
    let mut number = 0;
    while let Some(head) = head(&mut stream) {
        number += 1;
        let line = head.lines().next().unwrap();
        say(&mut stream, "200 OK", "", &format!("{number} {line}"));
    }
}

fn options() -> ClientOptions {
    ClientOptions {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(10),
        reply_bytes_max: 1000,
        user_agent: "test".to_owned(),
    }
}

fn url(address: SocketAddr, target: &str) -> Url {
    Url::parse(&format!("http://{address}{target}")).unwrap()
}

fn run<T>(work: impl std::future::Future<Output = T>) -> T {
    LocalExecutor::default().run(work)
}

async fn get(client: &Client, url: Url) -> String {
    let reply = client.send(Request::get(url)).await.unwrap();
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[test]
fn connections_are_kept_and_used_again() {
    let address = server(echo);
    run(async {
        let client = Client::new(options());
        assert_eq!(get(&client, url(address, "/a?b")).await, "1 GET /a?b HTTP/1.1");
        assert_eq!(get(&client, url(address, "/c")).await, "2 GET /c HTTP/1.1");
        let other = Client::new(options());
        assert_eq!(get(&other, url(address, "/d")).await, "1 GET /d HTTP/1.1");
    });
}

#[test]
fn a_name_is_looked_up() {
    let address = server(echo);
    run(async {
        let url = Url::parse(&format!("http://localhost:{}/x", address.port())).unwrap();
        assert_eq!(get(&Client::new(options()), url).await, "1 GET /x HTTP/1.1");
        let nowhere = Url::parse("http://no-such-host.invalid:1/").unwrap();
        let error = Client::new(options()).send(Request::get(nowhere)).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::Resolve { .. }), "{error}");
    });
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_no_error() {
    fn once(mut stream: TcpStream) {
        head(&mut stream).unwrap();
        say(&mut stream, "200 OK", "", "once");
    }
    let address = server(once);
    run(async {
        let client = Client::new(options());
        for _ in 0..3 {
            assert_eq!(get(&client, url(address, "/")).await, "once");
            glommio::timer::sleep(Duration::from_millis(30)).await;
        }
        // Also when it is found out only by using it.
        let post = client.send(Request::post(url(address, "/"), "x")).await;
        assert_eq!(&post.unwrap().body[..], b"once");
    });
}

#[test]
fn nobody_there_is_said_in_the_originals_words() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    run(async {
        let error = Client::new(options()).send(Request::get(url(address, "/x"))).await;
        let text = error.unwrap_err().to_string();
        let connect = format!("dial tcp {address}: connect: connection refused");
        assert_eq!(text, format!("Get \"http://{address}/x\": {connect}"));
    });
}

#[test]
fn one_deadline_holds_for_all_of_a_request() {
    fn slow(mut stream: TcpStream) {
        head(&mut stream).unwrap();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(100));
            if stream.write_all(b"x").is_err() {
                return;
            }
        }
    }
    let address = server(slow);
    run(async {
        let start = Instant::now();
        let request = Request::get(url(address, "/")).within(Duration::from_millis(400));
        let error = Client::new(options()).send(request).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::Deadline), "{error}");
        assert!(start.elapsed() >= Duration::from_millis(400));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    });
}

#[test]
fn a_body_is_bounded_declared_or_not() {
    fn large(mut stream: TcpStream) {
        let head = head(&mut stream).unwrap();
        if head.starts_with("GET /declared") {
            return say(&mut stream, "200 OK", "", &"x".repeat(1001));
        }
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while write!(stream, "64\r\n{}\r\n", "x".repeat(100)).is_ok() {}
    }
    let address = server(large);
    run(async {
        for target in ["/declared", "/chunked"] {
            let request = Request::get(url(address, target));
            let error = Client::new(options()).send(request).await.unwrap_err();
            assert!(matches!(error.cause(), Cause::TooLong(1000)), "{target}: {error}");
        }
    });
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    fn around(mut stream: TcpStream) {
        while let Some(head) = head(&mut stream) {
            match head.split(' ').nth(1).unwrap() {
                "/one" => say(&mut stream, "302 Found", "Location: /two\r\n", "no"),
                "/two" => say(&mut stream, "200 OK", "", "there"),
                _ => say(&mut stream, "307 Temporary Redirect", "Location: /round\r\n", ""),
            }
        }
    }
    let address = server(around);
    run(async {
        let client = Client::new(options());
        assert_eq!(get(&client, url(address, "/one")).await, "there");
        let request = Request::get(url(address, "/one")).without_redirects();
        assert_eq!(client.send(request).await.unwrap().status, 302);
        let error = client.send(Request::get(url(address, "/round"))).await.unwrap_err();
        assert!(error.to_string().ends_with("stopped after 10 redirects"), "{error}");
    });
}

#[test]
fn what_is_no_http_is_an_error() {
    fn noise(mut stream: TcpStream) {
        let head = head(&mut stream).unwrap();
        if !head.starts_with("GET /silent") {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
        }
    }
    let address = server(noise);
    run(async {
        for target in ["/noise", "/silent"] {
            let request = Request::get(url(address, target));
            let error = Client::new(options()).send(request).await.unwrap_err();
            assert!(matches!(error.cause(), Cause::Broken(_)), "{target}: {error}");
        }
    });
}

#[test]
fn answers_that_say_no_are_quoted() {
    fn refuse(mut stream: TcpStream) {
        head(&mut stream).unwrap();
        say(&mut stream, "404 Not Found", "", "{\"message\":\"TOPIC_NOT_FOUND\"}");
    }
    let address = server(refuse);
    run(async {
        let client = Client::new(options());
        let url = format!("http://{address}/lookup?topic=x");
        let error = client.get_v1::<serde_json::Value>(&url).await.unwrap_err();
        let text = r#"got response 404 Not Found "{\"message\":\"TOPIC_NOT_FOUND\"}""#;
        assert_eq!(error.to_string(), text);
        assert_eq!(error.status().map(|status| status.as_u16()), Some(404));
    });
}
