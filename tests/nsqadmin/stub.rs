//! Nodes that say and do what a test wants.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::Asked;

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
                return Answer::ok(info("stub", port));
            }
            if request.starts_with("GET /stats") {
                return Answer::ok(stats(topic));
            }
            Answer::ok("")
        })
    }

    /// Whole requests so far, head and body.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// What a node at this port says about itself.
pub fn info(hostname: &str, port: u16) -> String {
    let about = json!({
        "version": "1.3.0", "broadcast_address": "127.0.0.1", "hostname": hostname,
        "http_port": port, "tcp_port": port,
    });
    about.to_string()
}

fn stats(topic: &str) -> String {
    let latency = json!({"count": 0, "percentiles": null});
    let channel = json!({
        "channel_name": "c", "depth": 2, "message_count": 10, "client_count": 0,
        "e2e_processing_latency": latency,
    });
    let topic = json!({
        "topic_name": topic, "depth": 1, "message_count": 10, "channels": [channel],
        "e2e_processing_latency": latency,
    });
    let all = json!({
        "version": "1.3.0", "health": "OK", "start_time": 1, "topics": [topic],
    });
    all.to_string()
}

fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Answer) {
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    while let Some(asked) = Asked::read(&mut stream) {
        let Answer { status, body, after } = answer(&asked.text());
        thread::sleep(after);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

/// An address where nobody listens.
pub fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
