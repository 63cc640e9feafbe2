//! Nodes that say and do what a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How a stub answers one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
    /// How long it thinks first.
    pub after: Duration,
}

impl Answer {
    /// 200 at once.
    pub fn ok(body: impl Into<String>) -> Answer {
        Answer { status: 200, body: body.into(), after: Duration::ZERO }
    }

    /// Another status at once.
    pub fn status(status: u16, body: &str) -> Answer {
        Answer { status, body: body.to_owned(), after: Duration::ZERO }
    }

    /// The same, later.
    pub fn after(self, after: Duration) -> Answer {
        Answer { after, ..self }
    }
}

/// A server on a free port, for as long as the test process runs.
pub struct Stub {
    /// Where it takes HTTP.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Answers requests; `answer` gets method and target in one text, and the address.
    pub fn start(answer: impl Fn(&str, SocketAddr) -> Answer + Send + Sync + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (answer.clone(), log.clone());
                thread::spawn(move || {
                    serve(stream, |request| {
                        log.lock().unwrap().push(request.to_owned());
                        answer(request.lines().next().unwrap_or_default(), address)
                    })
                });
            }
        });
        Stub { address, seen }
    }

    /// An nsqd that has one topic with one channel.
    pub fn nsqd(topic: &'static str, override_: fn(&str) -> Option<Answer>) -> Stub {
        Stub::start(move |request, address| {
            if let Some(answer) = override_(request) {
                return answer;
            }
            let port = address.port();
            if request.starts_with("GET /info") {
                return Answer::ok(format!(
                    r#"{{"version":"1.3.0","broadcast_address":"127.0.0.1","hostname":"stub","http_port":{port},"tcp_port":1}}"#
                ));
            }
            if request.starts_with("GET /stats") {
                return Answer::ok(format!(
                    r#"{{"version":"1.3.0","health":"OK","start_time":1,"topics":[{{"topic_name":"{topic}","depth":1,"message_count":10,"channels":[{{"channel_name":"c","depth":2,"message_count":10,"client_count":0,"e2e_processing_latency":{{"count":0,"percentiles":null}}}}],"e2e_processing_latency":{{"count":0,"percentiles":null}}}}]}}"#
                ));
            }
            Answer::ok("")
        })
    }

    /// Whole requests so far, head and body.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Answer) {
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    while let Some(request) = read(&mut stream) {
        let Answer { status, body, after } = answer(&request);
        thread::sleep(after);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

/// One request; its head in lines, the first being method and target.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(head.replace(" HTTP/1.1\r\n", "\r\n") + &String::from_utf8_lossy(&body))
}

/// An address where nobody listens.
pub fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
