//! HTTP in TLS: the same routes, the same rules for certificates.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Authority, start, tls_flags};
use crate::harness::{SOON, at_once, eventually, on_each_peer, on_each_shoal};
use crate::operate::recovery::caught;

/// A connection.
pub struct Https {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

impl Https {
    /// Connects; the handshake comes with the first request.
    pub fn new(address: SocketAddr, config: &Arc<ClientConfig>) -> Https {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(config.clone(), name).unwrap();
        Https { stream: StreamOwned::new(tls, socket), received: Vec::new() }
    }

    /// Status and body; an error says that the connection came to nothing.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>), String> {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let words = |error: std::io::Error| error.to_string();
        self.stream.write_all(&[head.as_bytes(), body].concat()).map_err(words)?;
        loop {
            let text = String::from_utf8_lossy(&self.received).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).unwrap();
                let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
                if rest.len() >= length {
                    let end = head.len() + 4 + length;
                    let body = self.received[head.len() + 4..end].to_vec();
                    self.received.drain(..end);
                    return Ok((head[9..12].parse().unwrap(), body));
                }
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("closed".to_string()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

#[test]
fn requests_and_bodies_of_all_sizes() {
    let authority = Authority::new();
    on_each_peer(|peer| {
        let mut broker = start(peer, &authority, &[]);
        let address = broker.https();
        for tls13 in [false, true] {
            let mut https = Https::new(address, &authority.client(None, tls13));
            assert_eq!(https.request("GET", "/ping", b""), Ok((200, b"OK".to_vec())));
            for size in [1, 1000, 70_000, 1 << 20] {
                let published = https.request("POST", "/pub?topic=https", &vec![b'x'; size]);
                assert_eq!(published, Ok((200, b"OK".to_vec())), "{size}");
            }
            let many = "line of a body\n".repeat(60_000);
            let published = https.request("POST", "/mpub?topic=https", many.as_bytes());
            assert_eq!(published, Ok((200, b"OK".to_vec())));
            assert_eq!(https.request("GET", "/nowhere", b"").unwrap().0, 404);
            assert_eq!(https.request("POST", "/pub?topic=https", b"").unwrap().0, 400);
        }
        let count = broker.topic("https")["message_count"].as_u64();
        assert_eq!(count, Some(2 * (4 + 60_000)));
    });
}

/// A long answer comes whole, also to somebody who does not read at once.
#[test]
fn a_long_answer() {
    let authority = Authority::new();
    on_each_peer(|peer| {
        let mut broker = start(peer, &authority, &[]);
        for topic in 0..400 {
            broker.post(&format!("/topic/create?topic=a-topic-with-a-long-name-{topic}"));
        }
        let mut https = Https::new(broker.https(), &authority.client(None, true));
        // In this version the end of the answer is the end of the connection.
        https.stream.write_all(b"GET /stats?format=json HTTP/1.0\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let mut answer = String::new();
        https.stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 OK"), "{head}");
        let stats: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(stats["topics"].as_array().unwrap().len(), 400);
    });
}

#[test]
fn without_tls_there_is_a_hint() {
    let authority = Authority::new();
    on_each_peer(|peer| {
        let mut broker = start(peer, &authority, &[]);
        let mut socket = TcpStream::connect(broker.https()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let wanted =
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        assert_eq!(answer, wanted);
        // Whatever else it is gets nothing, and the log names who it was.
        let mut socket = TcpStream::connect(broker.https()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(b"  V2NOP\n").unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"");
        let from = socket.local_addr().unwrap();
        let line = format!("http: TLS handshake error from {from}: ");
        eventually("a line in the log", SOON, || broker.log_line(&line).is_some());
    });
}

#[test]
fn certificates_of_clients() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = format!("--tls-root-ca-file={}", authority.path("ca.pem"));
    on_each_peer(|peer| {
        let policy = "--tls-client-auth-policy=require-verify";
        let mut broker = start(peer, &authority, &[&ca, policy]);
        let address = broker.https();
        for tls13 in [false, true] {
            let works = |shows: Option<(&Authority, &str)>| {
                let config = authority.client_showing(shows, tls13);
                Https::new(address, &config).request("GET", "/ping", b"").is_ok()
            };
            assert!(works(Some((&authority, "client"))));
            assert!(!works(None));
            assert!(!works(Some((&stranger, "client"))));
            assert!(!works(Some((&authority, "expired"))));
        }
        let line = "http: TLS handshake error from 127.0.0.1:";
        eventually("a line in the log", SOON, || broker.log_line(line).is_some());
    });
}

/// The original waits for ever.
#[test]
fn who_is_silent_is_closed() {
    let authority = Authority::new();
    on_each_shoal("the original has no deadline for handshakes here", |peer| {
        let mut broker = start(peer, &authority, &[]);
        let address = broker.https();
        let check = |first: &[u8]| {
            let start = Instant::now();
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket.write_all(first).unwrap();
            assert!(matches!(socket.read(&mut [0; 100]), Ok(0)));
            let took = start.elapsed();
            assert!((4900..9000).contains(&took.as_millis()), "{took:?}");
        };
        at_once(&[&|| check(b""), &|| check(b"\x16\x03\x01\x02\x00abc")]);
        let mut https = Https::new(address, &authority.client(None, true));
        assert!(https.request("GET", "/ping", b"").is_ok());
        // Somebody with an open handshake and nothing to ask is not in its way.
        std::thread::sleep(Duration::from_secs(6));
        assert!(https.request("GET", "/ping", b"").is_ok());
    });
}

/// Whoever asks over TLS whether the broker lives must not have to wait for what it reads.
#[test]
fn probes_are_answered_while_files_are_read() {
    let authority = Authority::new();
    on_each_shoal("the original has nothing of the kind", |peer| {
        let flags = tls_flags(&authority);
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.push("--tls-required=true");
        let config = authority.client(None, true);
        let mut address = None;
        let broker = caught(peer, &flags, |broker| {
            let https = broker.https_bound();
            address = Some(https);
            let ask = |target| Https::new(https, &config).request("GET", target, b"").unwrap();
            assert_eq!(ask("/healthz").0, 200);
            let (status, body) = ask("/readyz");
            let hint = broker.request("GET", "/readyz", b"");
            assert_eq!(hint.status, 403, "{hint:?}");
            assert_eq!(hint.json()["https_port"], https.port());
            status == 503 && String::from_utf8_lossy(&body).contains("recovering")
        });
        eventually("it is ready", 6 * SOON, || {
            Https::new(address.unwrap(), &config).request("GET", "/readyz", b"").unwrap().0 == 200
        });
        drop(broker);
    });
}
