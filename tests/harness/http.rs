//! An HTTP/1.1 client small enough to show exactly what the broker sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{SOON, show};

/// A response, headers in the order and case in which they came.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Decoded body.
    pub body: Vec<u8>,
}

impl Reply {
    /// First value of a header, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {:?}", show(&self.body)),
        }
    }
}

/// One request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Reply {
    HttpConnection::new(address).request(method, target, body)
}

/// A connection that is kept alive.
pub struct HttpConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl HttpConnection {
    /// Connects.
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        HttpConnection { stream, received: Vec::new() }
    }

    /// Sends a request with a declared length and reads its response.
    pub fn request(&mut self, method: &str, target: &str, body: &[u8]) -> Reply {
        self.send(&request_bytes(method, target, body));
        self.response()
    }

    /// Sends a request in one chunk per piece.
    pub fn chunked(&mut self, method: &str, target: &str, pieces: &[&[u8]]) -> Reply {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        self.send(head.as_bytes());
        for piece in pieces {
            self.send(format!("{:x}\r\n", piece.len()).as_bytes());
            self.send(piece);
            self.send(b"\r\n");
        }
        self.send(b"0\r\n\r\n");
        self.response()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes to a broker that may close meanwhile; false once it has.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Everything until the broker closes, or a second passes.
    pub fn rest(&mut self) -> Vec<u8> {
        self.stream.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            self.received.extend_from_slice(&buffer[..count]);
        }
        std::mem::take(&mut self.received)
    }

    /// Reads one response.
    pub fn response(&mut self) -> Reply {
        let head = self.head();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
        let status: u16 = status_line[9..12].parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("header {line:?}")))
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        reply.body = match reply.header("Transfer-Encoding") {
            Some("chunked") => self.chunks(),
            _ => {
                let length = reply.header("Content-Length").map_or(0, |n| n.parse().unwrap());
                self.take(length)
            }
        };
        reply
    }

    /// Reads one response if it begins within this time.
    pub fn response_within(&mut self, within: Duration) -> Option<Reply> {
        self.stream.set_read_timeout(Some(within)).unwrap();
        let begins = !self.received.is_empty() || matches!(self.stream.peek(&mut [0]), Ok(1));
        self.stream.set_read_timeout(Some(SOON)).unwrap();
        begins.then(|| self.response())
    }

    /// Status line and headers of the next response, without its body.
    pub fn head(&mut self) -> String {
        loop {
            let end = self.received.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.take(end + 4);
                return String::from_utf8(head[..end].to_vec()).unwrap();
            }
            self.fill();
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            body.extend(self.take(size));
            assert_eq!(self.line(), "\r\n", "end of a chunk");
            if size == 0 {
                return body;
            }
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                return String::from_utf8(self.take(end + 1)).unwrap();
            }
            self.fill();
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            self.fill();
        }
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    fn fill(&mut self) {
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "closed in the middle of a response: {:?}", show(&self.received));
        self.received.extend_from_slice(&buffer[..count]);
    }

    /// True when the broker closes instead of answering.
    pub fn is_closed(&mut self) -> bool {
        let mut buffer = [0; 1];
        self.received.is_empty() && matches!(self.stream.read(&mut buffer), Ok(0) | Err(_))
    }
}

/// A request with a declared length, as bytes.
pub fn request_bytes(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}
