//! Asking nsqlookupd which nsqds have a topic: `GET /lookup?topic=…`, again and again.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};
use serde::Deserialize;

use super::connection::connect;
use super::limits::{LOOKUP_BYTES_MAX, LOOKUP_PAUSE_MIN, READ_BYTES};
use super::log::{Level, Log, io_text};
use super::options::ConsumerOptions;
use super::peer::Event;

/// What a polling thread works with.
pub struct Lookup {
    /// The nsqlookupds to ask, each time all of them.
    pub endpoints: Vec<Endpoint>,
    /// The subscription that the answers are for.
    pub subscription: usize,
    /// Intervals, timeouts, the secret.
    pub options: Arc<ConsumerOptions>,
    /// Where lines about the subscription go.
    pub log: Log,
    /// Where the answers go.
    pub events: Sender<Event>,
    /// A word means: poll soon, a connection was lost. Closed when the consumer stops.
    pub recheck: Receiver<()>,
}

impl Lookup {
    /// Polls until the consumer stops.
    pub fn run(self) {
        let interval = self.options.lookupd_poll_interval;
        let spread = interval.mul_f64(self.options.lookupd_poll_jitter * random_part());
        let mut wait = interval + spread;
        let mut pause = interval;
        loop {
            for endpoint in &self.endpoints {
                if !self.poll(endpoint) {
                    return;
                }
            }
            match self.recheck.recv_timeout(wait) {
                // A moment for the lost nsqd to come back and register again, then longer ones.
                Ok(()) => {
                    pause = LOOKUP_PAUSE_MIN.min(interval);
                    std::thread::sleep(pause);
                }
                Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(interval),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            wait = pause;
        }
    }

    /// False when nobody waits for the answer any more.
    fn poll(&self, endpoint: &Endpoint) -> bool {
        let url = &endpoint.url;
        self.log.say(Level::Info, format_args!("querying nsqlookupd {url}"));
        match endpoint.get(&self.options).and_then(|answer| parse_answer(&answer)) {
            Ok(nsqds) => self.events.send(Event::Discovered(self.subscription, nsqds)).is_ok(),
            Err(error) => {
                let text = format_args!("error querying nsqlookupd ({url}) - {error}");
                self.log.say(Level::Error, text);
                !self.events.is_disconnected()
            }
        }
    }
}

/// Spreads the polls of consumers that were started at the same moment: 0 to 1.
fn random_part() -> f64 {
    // Without randomness all poll at once, which is what happens without this function, too.
    getrandom::u32().map(|random| f64::from(random) / f64::from(u32::MAX)).unwrap_or(0.0)
}

/// Where to ask for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    target: String,
    url: String,
}

impl Endpoint {
    /// Reads the value of `--lookupd-http-address`: `host:port`, or a URL.
    pub fn new(address: &str, topic: &str) -> Result<Endpoint, String> {
        let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
        if scheme != "http" {
            let text = format!("nsqlookupd {address:?}: only http is supported by this client yet");
            return Err(text);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let port = authority.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
        if port.parse::<u16>().is_err() {
            return Err("missing port".to_owned());
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = if path.is_empty() || path == "/" { "/lookup" } else { path };
        let and = if query.is_empty() { "" } else { "&" };
        // Of all that a name may contain only this has a meaning in a URL.
        let topic = topic.replace('#', "%23");
        let target = format!("{path}?{query}{and}topic={topic}");
        if authority.bytes().chain(target.bytes()).any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(format!("nsqlookupd {address:?}: spaces and control characters in a URL"));
        }
        let url = format!("http://{authority}{target}");
        Ok(Endpoint { authority: authority.to_owned(), target, url })
    }

    fn get(&self, options: &ConsumerOptions) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + options.lookupd_poll_timeout;
        let mut stream = self.dial(deadline)?;
        let io = |error: std::io::Error| io_text(&error);
        let Endpoint { authority, target, .. } = self;
        // HTTP/1.0: the answer ends with the connection and comes in one piece.
        let mut request = format!(
            "GET {target} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\
             Accept: application/vnd.nsq; version=1.0\r\n"
        );
        if !options.auth_secret.is_empty() && options.lookupd_authorization {
            request.push_str(&format!("Authorization: Bearer {}\r\n", options.auth_secret));
        }
        request.push_str("\r\n");
        stream.set_write_timeout(Some(left(deadline)?)).map_err(io)?;
        stream.write_all(request.as_bytes()).map_err(io)?;
        read_to_end(&mut stream, deadline)
    }

    fn dial(&self, deadline: Instant) -> Result<TcpStream, String> {
        let found = self.authority.to_socket_addrs();
        let authority = &self.authority;
        let found =
            found.map_err(|error| format!("dial tcp: lookup {authority}: {}", io_text(&error)))?;
        let mut why = format!("dial tcp: lookup {authority}: no such host");
        for target in found {
            match connect(target, left(deadline)?, None) {
                Ok(stream) => return Ok(stream),
                Err(error) => why = format!("dial tcp {target}: {}", io_text(&error)),
            }
        }
        Err(why)
    }
}

fn left(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err("i/o timeout".to_owned()) } else { Ok(left) }
}

fn read_to_end(stream: &mut TcpStream, deadline: Instant) -> Result<Vec<u8>, String> {
    let mut answer = Vec::new();
    let mut scratch = [0; READ_BYTES];
    loop {
        stream.set_read_timeout(Some(left(deadline)?)).map_err(|error| io_text(&error))?;
        match stream.read(&mut scratch) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&scratch[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io_text(&error)),
        }
        if answer.len() > LOOKUP_BYTES_MAX {
            return Err(format!("the answer is longer than {LOOKUP_BYTES_MAX} bytes"));
        }
    }
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    producers: Vec<Producer>,
}

#[derive(Deserialize)]
struct Producer {
    broadcast_address: String,
    tcp_port: u16,
}

/// The addresses in a whole HTTP answer.
fn parse_answer(answer: &[u8]) -> Result<Vec<String>, String> {
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(head_end) = head_end else {
        return Err("the answer is no HTTP".to_owned());
    };
    let head = answer[..head_end].escape_ascii().to_string();
    let body = &answer[head_end + 4..];
    let status_line = head.split(r"\r\n").next().unwrap_or_default();
    let Some((version, status)) = status_line.split_once(' ') else {
        return Err("the answer is no HTTP".to_owned());
    };
    if !version.starts_with("HTTP/1.") {
        return Err("the answer is no HTTP".to_owned());
    }
    if !status.starts_with("200") {
        return Err(format!("got response {status} \"{}\"", body.escape_ascii()));
    }
    let found: Found = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(found.producers.iter().map(Producer::address).collect())
}

impl Producer {
    fn address(&self) -> String {
        let Producer { broadcast_address, tcp_port } = self;
        if broadcast_address.contains(':') {
            format!("[{broadcast_address}]:{tcp_port}")
        } else {
            format!("{broadcast_address}:{tcp_port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, parse_answer};

    fn check_url(address: &str, url: &str) {
        assert_eq!(Endpoint::new(address, "t#ephemeral").unwrap().url, url, "{address}");
    }

    #[test]
    fn an_address_becomes_a_url() {
        check_url("localhost:4161", "http://localhost:4161/lookup?topic=t%23ephemeral");
        check_url("http://[::1]:4161/", "http://[::1]:4161/lookup?topic=t%23ephemeral");
        check_url("http://h:1/l?a=b", "http://h:1/l?a=b&topic=t%23ephemeral");
        check_url("h:1?a=b", "http://h:1/lookup?a=b&topic=t%23ephemeral");
        for bad in ["localhost", "https://h:1", "h:1/a b", "h:1\r\nX: y", "h:x", ""] {
            assert!(Endpoint::new(bad, "t").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_becomes_addresses() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
            {\"channels\":[],\"producers\":[\
            {\"broadcast_address\":\"h\",\"tcp_port\":4150,\"x\":1},\
            {\"broadcast_address\":\"::1\",\"tcp_port\":5}]}";
        assert_eq!(parse_answer(answer).unwrap(), ["h:4150", "[::1]:5"]);
    }

    #[test]
    fn an_error_is_shown_as_it_came() {
        let answer = b"HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"TOPIC_NOT_FOUND\"}";
        let error = parse_answer(answer).unwrap_err();
        assert!(error.starts_with("got response 404 Not Found "), "{error}");
        assert!(error.contains("TOPIC_NOT_FOUND"), "{error}");
        for bad in [&b""[..], b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nx"] {
            assert!(parse_answer(bad).is_err(), "{}", bad.escape_ascii());
        }
        let port = b"HTTP/1.0 200 OK\r\n\r\n\
            {\"producers\":[{\"broadcast_address\":\"h\",\"tcp_port\":70000}]}";
        assert!(parse_answer(port).is_err());
    }
}
