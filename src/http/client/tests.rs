//! The client against servers that behave, and some that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use glommio::LocalExecutor;
use rustls::ClientConfig;

use super::{Cause, Client, ClientOptions, Request, Url};

/// Serves TLS with a certificate for `localhost`, and gives what a client has to trust.
fn tls_server() -> (SocketAddr, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            thread::spawn(move || serve_tls(rustls::StreamOwned::new(session, stream)));
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (address, Arc::new(client))
}

/// Answers with a large body.
fn serve_tls(mut stream: rustls::StreamOwned<rustls::ServerConnection, TcpStream>) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        seen.push(byte[0]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            let body = "x".repeat(LARGE);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            stream.flush().unwrap();
        }
    }
}

/// More than any buffer on the way holds.
const LARGE: usize = 1 << 20;

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
        tls: None,
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

#[test]
fn https_is_spoken_with_servers_that_show_who_they_are() {
    let (address, config) = tls_server();
    let port = address.port();
    run(async {
        let options = ClientOptions { tls: Some(config), reply_bytes_max: LARGE, ..options() };
        let client = Client::new(options);
        for _ in 0..2 {
            let url = Url::parse(&format!("https://localhost:{port}/a")).unwrap();
            let reply = client.send(Request::get(url)).await.unwrap();
            assert_eq!(reply.body.len(), LARGE);
        }
        // Its certificate is not for this name.
        let url = Url::parse(&format!("https://127.0.0.1:{port}/a")).unwrap();
        let error = client.send(Request::get(url)).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::Tls(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    });
}

#[test]
fn https_without_a_configuration_or_with_a_plain_server_is_an_error() {
    let address = server(echo);
    let (_, config) = tls_server();
    run(async {
        for tls in [None, Some(config)] {
            let client = Client::new(ClientOptions { tls, ..options() });
            let url = Url::parse(&format!("https://localhost:{}/", address.port())).unwrap();
            let request = Request::get(url).within(Duration::from_secs(2));
            let error = client.send(request).await.unwrap_err();
            let cause = error.cause();
            assert!(matches!(cause, Cause::Tls(_) | Cause::Deadline), "{error}");
        }
    });
}
