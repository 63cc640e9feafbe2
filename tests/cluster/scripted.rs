//! Nsqlookupds that are none, or bad ones: each does one thing, to whoever connects.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{SOON, eventually};

/// What one does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Script {
    /// Reads, and never says anything.
    Silent,
    /// Does not even read.
    Deaf,
    /// Ends every connection at once.
    Closing,
    /// Says something that is no answer.
    Garbage,
    /// Announces an answer of 2 GiB, and goes on sending.
    Endless,
    /// Refuses every command.
    Refusing,
    /// Answers what nobody asked, without end.
    Chatty,
    /// Answers as it should, half a second late.
    Slow,
    /// Answers as it should, and says that its HTTP is there.
    Honest(Http),
}

/// What its HTTP does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Http {
    /// Never answers.
    Silent,
    /// Answers something that is no HTTP.
    Garbage,
    /// Answers JSON of another shape.
    Shape,
    /// Names channels that cannot be.
    Names,
    /// Answers without end.
    Endless,
}

/// A running one. It ends with the test.
pub struct Scripted {
    address: SocketAddr,
    identified: Arc<AtomicUsize>,
}

const OK: &[u8] = b"\0\0\0\x02OK";

impl Scripted {
    /// Starts one on a free port.
    pub fn start(script: Script) -> Scripted {
        let http = match script {
            Script::Honest(http) => serve(move |stream| answer_http(stream, http)).port(),
            _ => 1,
        };
        let identified = Arc::new(AtomicUsize::new(0));
        let seen = identified.clone();
        let address = serve(move |stream| answer(stream, script, http, &seen));
        Scripted { address, identified }
    }

    /// The flag with which an nsqd finds it.
    pub fn flag(&self) -> String {
        format!("--lookupd-tcp-address={}", self.address)
    }

    /// Waits until an nsqd was told who this is, and has had time to read it.
    pub fn await_identified(&self) {
        eventually("it is identified", SOON, || self.identified.load(Ordering::SeqCst) > 0);
        thread::sleep(Duration::from_millis(100));
    }
}

/// Accepts for ever; each connection has a thread.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream, script: Script, http_port: u16, identified: &AtomicUsize) {
    match script {
        Script::Closing => {}
        Script::Deaf => thread::sleep(Duration::from_secs(600)),
        Script::Silent => drop(std::io::copy(&mut stream, &mut std::io::sink())),
        Script::Garbage => {
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n<html>");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        Script::Endless => {
            let _ = stream.write_all(&[0x7f, 0xff, 0xff, 0xff]);
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
        }
        Script::Chatty => while stream.write_all(&OK.repeat(1000)).is_ok() {},
        Script::Refusing => {
            let _ = stream.write_all(b"\0\0\0\x09E_INVALID");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        Script::Slow => answer_commands(stream, Duration::from_millis(500), http_port, identified),
        Script::Honest(_) => answer_commands(stream, Duration::ZERO, http_port, identified),
    }
}

/// What a nsqlookupd does, without keeping anything.
fn answer_commands(
    mut stream: TcpStream,
    delay: Duration,
    http_port: u16,
    identified: &AtomicUsize,
) {
    let mut magic = [0; 4];
    if stream.read_exact(&mut magic).is_err() {
        return;
    }
    assert_eq!(&magic, b"  V1");
    while let Some(line) = read_line(&mut stream) {
        thread::sleep(delay);
        if line != "IDENTIFY" {
            let known =
                ["PING", "REGISTER ", "UNREGISTER "].iter().any(|verb| line.starts_with(verb));
            assert!(known, "{line:?}");
            if stream.write_all(OK).is_err() {
                return;
            }
            continue;
        }
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).unwrap();
        let identity: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(identity["broadcast_address"], "127.0.0.1", "{identity}");
        let info = format!(
            "{{\"broadcast_address\":\"127.0.0.1\",\"http_port\":{http_port},\"version\":\"1\"}}"
        );
        let length = u32::try_from(info.len()).unwrap().to_be_bytes();
        if stream.write_all(&[&length, info.as_bytes()].concat()).is_err() {
            return;
        }
        identified.fetch_add(1, Ordering::SeqCst);
    }
}

fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).ok()?;
        if byte[0] == b'\n' {
            return Some(String::from_utf8(line).unwrap());
        }
        line.push(byte[0]);
    }
}

fn answer_http(mut stream: TcpStream, http: Http) {
    let mut request = [0; 4096];
    if stream.read(&mut request).is_err() {
        return;
    }
    let json = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let long = "x".repeat(100);
    let names = format!("{{\"channels\":[\"\",\"a b\",\"{long}\",\"x#ephemeral\",\"fine\"]}}");
    let reply = match http {
        Http::Silent => return thread::sleep(Duration::from_secs(600)),
        Http::Garbage => b"SSH-2.0-OpenSSH\r\n".to_vec(),
        Http::Shape => json("{\"channels\":{\"a\":1}}"),
        Http::Names => json(&names),
        Http::Endless => {
            let head = b"HTTP/1.1 200 OK\r\n\r\n{\"channels\":[\"a\"";
            let _ = stream.write_all(head);
            while stream.write_all(&b",\"aaaaaaaaaaaaaaaa\"".repeat(1000)).is_ok() {}
            return;
        }
    };
    let _ = stream.write_all(&reply);
}
