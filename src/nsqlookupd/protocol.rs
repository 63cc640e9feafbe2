//! The protocol `V1` as nsqlookupd speaks it: bytes of one connection in, bytes out.
//!
//! Commands are lines of words, IDENTIFY has a body. Every answer is a length and a text, without a
//! frame's type. Every error is the end of the connection.

use std::rc::Rc;
use std::time::Duration;

use super::limits::LINE_BYTES_MAX;
use super::peer::PeerInfo;
use super::registry::{Now, PeerKey, Registry, Unregistered};
use crate::http::duration::GoDuration;
use shards::wire::names::Name;

/// What a connection begins with.
const MAGIC: &[u8] = b"  V1";
/// The length in front of a body.
const SIZE_BYTES: usize = 4;

/// What all sessions have in common.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// The answer to IDENTIFY: who this is, in JSON.
    pub about: String,
    /// The largest body.
    pub body_bytes_max: usize,
}

/// One connection's side of the conversation.
#[derive(Debug)]
pub struct Session {
    remote: String,
    state: State,
    peer: Option<PeerKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come yet.
    Magic,
    /// Between two commands, or within a line.
    Command,
    /// After the line of IDENTIFY.
    BodySize,
    /// So many bytes are to come.
    Body(usize),
    /// It is over; what is to be said is in the output.
    Closed,
}

/// The text of an error.
struct Refusal(Vec<u8>);

impl Refusal {
    fn new(text: impl Into<Vec<u8>>) -> Refusal {
        Refusal(text.into())
    }
}

/// What a session works with while it takes bytes.
#[derive(Debug)]
pub struct Context<'a> {
    /// Where registrations go.
    pub registry: &'a mut Registry,
    /// What is alike for all.
    pub settings: &'a SessionSettings,
    /// The time.
    pub now: Now,
}

impl Session {
    /// The session of a new connection. `remote` is the client's `ip:port`.
    pub fn new(remote: String) -> Session {
        Session { remote, state: State::Magic, peer: None }
    }

    /// Whether all is said: the connection is to be closed once the output has left.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether the client has to finish what it has begun: its greeting, a line or a body.
    pub fn is_awaiting(&self, rest: &[u8]) -> bool {
        self.state != State::Command || !rest.is_empty()
    }

    /// Carries out what is whole in `input`, and says how much of it that was. The rest is to be
    /// shown again with what comes next; it is never longer than a line or a body may be.
    pub fn take(&mut self, input: &[u8], cx: &mut Context<'_>, out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        while let Some(length) = self.step(&input[taken..], cx, out) {
            taken += length;
        }
        taken
    }

    /// One step: the bytes that it took, or nothing when more are needed.
    fn step(&mut self, input: &[u8], cx: &mut Context<'_>, out: &mut Vec<u8>) -> Option<usize> {
        match self.state {
            State::Closed => None,
            State::Magic => {
                let magic = input.get(..MAGIC.len())?;
                self.greet(magic, out);
                Some(MAGIC.len())
            }
            State::Command => {
                let Some(length) = memchr::memchr(b'\n', input).map(|end| end + 1) else {
                    if input.len() > LINE_BYTES_MAX {
                        self.refuse(&Refusal::new("E_INVALID command line too long"), "", out);
                    }
                    return None;
                };
                self.line(&input[..length], cx, out);
                Some(length)
            }
            State::BodySize => {
                let size = input.first_chunk::<SIZE_BYTES>()?;
                match body_size(i32::from_be_bytes(*size), cx.settings.body_bytes_max) {
                    Ok(size) => self.state = State::Body(size),
                    Err(refusal) => self.refuse(&refusal, "", out),
                }
                Some(SIZE_BYTES)
            }
            State::Body(size) => {
                let body = input.get(..size)?;
                self.state = State::Command;
                match self.identify(body, cx) {
                    Ok(()) => answer(cx.settings.about.as_bytes(), out),
                    Err((refusal, reason)) => self.refuse(&refusal, &reason, out),
                }
                Some(size)
            }
        }
    }

    /// The client sends no more. What it did not finish is an error where the original says so.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let missing = match self.state {
            State::BodySize => "E_BAD_BODY IDENTIFY failed to read body size",
            State::Body(_) => "E_BAD_BODY IDENTIFY failed to read body",
            State::Magic => {
                tracing::error!("failed to read protocol version - EOF");
                self.state = State::Closed;
                return;
            }
            State::Command | State::Closed => {
                self.state = State::Closed;
                return;
            }
        };
        self.refuse(&Refusal::new(missing), "EOF", out);
    }

    /// The connection is gone. Every session has to be told, or its producer stays.
    pub fn disconnect(&mut self, registry: &mut Registry) {
        tracing::info!("PROTOCOL(V1): [{}] exiting ioloop", self.remote);
        let Some(peer) = self.peer.take() else { return };
        for (topic, removed) in registry.disconnect(peer) {
            self.log_removed(&topic, &removed);
        }
        tracing::info!("DB: client({}) UNREGISTER category:client key: subkey:", self.remote);
    }

    fn greet(&mut self, magic: &[u8], out: &mut Vec<u8>) {
        let shown = String::from_utf8_lossy(magic);
        tracing::info!("CLIENT({}): desired protocol magic '{shown}'", self.remote);
        if magic == MAGIC {
            self.state = State::Command;
            return;
        }
        tracing::error!("client({}) bad protocol magic '{shown}'", self.remote);
        answer(b"E_BAD_PROTOCOL", out);
        self.state = State::Closed;
    }

    fn line(&mut self, line: &[u8], cx: &mut Context<'_>, out: &mut Vec<u8>) {
        let line = trim(line);
        let mut words = line.split(|&byte| byte == b' ');
        let command = words.next().unwrap_or_default();
        let outcome = match command {
            b"PING" => {
                self.ping(cx);
                Ok(())
            }
            b"IDENTIFY" if self.peer.is_some() => {
                Err(Refusal::new("E_INVALID cannot IDENTIFY again"))
            }
            b"IDENTIFY" => {
                self.state = State::BodySize;
                return;
            }
            b"REGISTER" => self.register(words, cx),
            b"UNREGISTER" => self.unregister(words, cx),
            _ => Err(Refusal([b"E_INVALID invalid command ", command].concat())),
        };
        match outcome {
            Ok(()) => answer(b"OK", out),
            Err(refusal) => self.refuse(&refusal, "", out),
        }
    }

    fn ping(&self, cx: &mut Context<'_>) {
        if let Some(peer) = self.peer {
            let silence = GoDuration(Duration::from_nanos(cx.registry.ping(peer, cx.now)));
            tracing::info!("CLIENT({}): pinged (last ping {silence})", self.remote);
        }
    }

    /// The second part of the error is for the log.
    fn identify(&mut self, body: &[u8], cx: &mut Context<'_>) -> Result<(), (Refusal, String)> {
        let mut info = PeerInfo::parse(body).map_err(|error| {
            let refusal = Refusal::new("E_BAD_BODY IDENTIFY failed to decode JSON body");
            (refusal, error.to_string())
        })?;
        info.remote_address.clone_from(&self.remote);
        if !info.is_complete() {
            return Err((Refusal::new("E_BAD_BODY IDENTIFY missing fields"), String::new()));
        }
        tracing::info!(
            "CLIENT({}): IDENTIFY Address:{} TCP:{} HTTP:{} Version:{}",
            self.remote,
            info.broadcast_address,
            info.tcp_port,
            info.http_port,
            info.version
        );
        self.peer = Some(cx.registry.identify(info, cx.now));
        tracing::info!("DB: client({}) REGISTER category:client key: subkey:", self.remote);
        Ok(())
    }

    fn register<'w>(
        &self,
        words: impl Iterator<Item = &'w [u8]>,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let (peer, topic, channel) = self.names("REGISTER", words)?;
        let channel = channel.as_ref().map(Name::as_str);
        let added = cx
            .registry
            .register(peer, topic.as_str(), channel)
            .map_err(|_| Refusal::new("E_INVALID REGISTER too many registrations"))?;
        let remote = &self.remote;
        if let Some(channel) = channel.filter(|_| added.channel) {
            tracing::info!(
                "DB: client({remote}) REGISTER category:channel key:{topic} subkey:{channel}"
            );
        }
        if added.topic {
            tracing::info!("DB: client({remote}) REGISTER category:topic key:{topic} subkey:");
        }
        Ok(())
    }

    fn unregister<'w>(
        &self,
        words: impl Iterator<Item = &'w [u8]>,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let (peer, topic, channel) = self.names("UNREGISTER", words)?;
        let channel = channel.as_ref().map(Name::as_str);
        let removed = cx.registry.unregister(peer, topic.as_str(), channel);
        self.log_removed(topic.as_str(), &removed);
        Ok(())
    }

    /// The producer, and the topic and perhaps channel of a command.
    fn names<'w>(
        &self,
        command: &str,
        mut words: impl Iterator<Item = &'w [u8]>,
    ) -> Result<(PeerKey, Name, Option<Name>), Refusal> {
        let peer = self.peer.ok_or_else(|| Refusal::new("E_INVALID client must IDENTIFY"))?;
        let topic = words.next().ok_or_else(|| {
            Refusal::new(format!("E_INVALID {command} insufficient number of params"))
        })?;
        let channel = words.next().filter(|channel| !channel.is_empty());
        let topic = Name::parse(topic).ok_or_else(|| bad_name("TOPIC", command, topic))?;
        let parse = |raw| Name::parse(raw).ok_or_else(|| bad_name("CHANNEL", command, raw));
        Ok((peer, topic, channel.map(parse).transpose()?))
    }

    fn log_removed(&self, topic: &str, removed: &Unregistered) {
        let remote = &self.remote;
        let line = |category: &str, channel: &str| {
            tracing::info!(
                "DB: client({remote}) UNREGISTER category:{category} key:{topic} subkey:{channel}"
            );
        };
        removed.channels.iter().for_each(|channel: &Rc<str>| line("channel", channel));
        if removed.topic {
            line("topic", "");
        }
    }

    fn refuse(&mut self, refusal: &Refusal, reason: &str, out: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(&refusal.0);
        let dash = if reason.is_empty() { "" } else { " - " };
        tracing::error!("[{}] - {text}{dash}{reason}", self.remote);
        answer(&refusal.0, out);
        self.state = State::Closed;
    }
}

/// The size of a body as it was sent. (A negative one ends the original's process.)
fn body_size(size: i32, most: usize) -> Result<usize, Refusal> {
    match usize::try_from(size) {
        Ok(bytes) if bytes <= most => Ok(bytes),
        Ok(bytes) => {
            Err(Refusal::new(format!("E_BAD_BODY IDENTIFY body too big {bytes} > {most}")))
        }
        Err(_) => Err(Refusal::new(format!("E_BAD_BODY IDENTIFY invalid body size {size}"))),
    }
}

fn bad_name(kind: &str, command: &str, raw: &[u8]) -> Refusal {
    let before = format!("E_BAD_{kind} {command} {} name '", kind.to_lowercase());
    Refusal([before.as_bytes(), raw, b"' is not valid"].concat())
}

fn answer(text: &[u8], out: &mut Vec<u8>) {
    let size = u32::try_from(text.len()).expect("answers are as short as lines and settings");
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(text);
}

/// The line without white space around it, Unicode's included.
fn trim(line: &[u8]) -> &[u8] {
    if let Ok(text) = std::str::from_utf8(line) {
        return text.trim().as_bytes();
    }
    let is_space = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ');
    let start = line.iter().position(|byte| !is_space(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}

#[cfg(test)]
mod tests;
