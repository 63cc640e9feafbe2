//! The floor: the least that a broker on one core must do. A bare epoll loop that parses and
//! answers the same bytes as a broker, stores nothing but a count, and delivers one prebuilt
//! message over and over. What a broker costs above it is the broker's own.

mod parse;

use std::io;
use std::net::{SocketAddr, TcpListener};

use loadtest::codec;
use loadtest::conn::{Conn, Outbox, ReadBuffer};
use loadtest::poll::{Event, Poller};
use loadtest::requests::{Pattern, Progress};

use parse::Command;

const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";
const CLOSE_WAIT: &[u8] = b"\0\0\0\x0e\0\0\0\0CLOSE_WAIT";
const HTTP_OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";

const TCP_LISTENER: usize = 0;
const HTTP_LISTENER: usize = 1;
const FIRST_CLIENT: usize = 2;

/// Message frames that lie ready in memory and go out in one write.
const FRAMES_BYTES: usize = 64 * 1024;

/// Where the floor listens, and what it is made to do wrong so that a check can be seen to fail.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// NSQ's protocol.
    pub tcp: SocketAddr,
    /// HTTP; every request is answered with 200.
    pub http: SocketAddr,
    /// Of so many publishes, lose one message.
    pub lose_every: Option<u64>,
    /// Of so many publishes, deliver one message twice.
    pub repeat_every: Option<u64>,
}

struct Client {
    conn: Conn,
    is_http: bool,
    is_greeted: bool,
    answers: Outbox,
    frames: Progress,
    ready: u64,
    in_flight: u64,
}

struct Loop {
    options: Floor,
    poller: Poller,
    listeners: [TcpListener; 2],
    clients: Vec<Option<Client>>,
    buffer: ReadBuffer,
    /// Messages published and not delivered.
    backlog: u64,
    publishes: u64,
    /// The message that is delivered, once a publish has said how large it is.
    message: Option<Pattern>,
}

/// Serves until the process is ended.
pub fn serve(options: Floor) -> io::Result<()> {
    let listeners = [TcpListener::bind(options.tcp)?, TcpListener::bind(options.http)?];
    let poller = Poller::new()?;
    for (token, listener) in listeners.iter().enumerate() {
        listener.set_nonblocking(true)?;
        poller.add(listener, token)?;
    }
    let mut turn = Loop {
        options,
        poller,
        listeners,
        clients: Vec::new(),
        buffer: ReadBuffer::new(),
        backlog: 0,
        publishes: 0,
        message: None,
    };
    loop {
        turn.run()?;
    }
}

impl Loop {
    /// Takes everything that came, then sends everything that follows from it.
    fn run(&mut self) -> io::Result<()> {
        for index in 0..self.poller.wait(loadtest::window::WAIT_MAX)? {
            let event = self.poller.event(index);
            match event.token {
                TCP_LISTENER | HTTP_LISTENER => self.accept(event.token)?,
                _ => self.read(event),
            }
        }
        for slot in 0..self.clients.len() {
            if self.send(slot).is_err() {
                self.clients[slot] = None;
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        let (stream, _) = match self.listeners[listener].accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        };
        let free = self.clients.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.clients.len());
        if slot == self.clients.len() {
            self.clients.push(None);
        }
        let conn = Conn::adopt(stream, FIRST_CLIENT + slot)?;
        conn.register(&self.poller)?;
        let is_http = listener == HTTP_LISTENER;
        self.clients[slot] = Some(Client {
            conn,
            is_http,
            is_greeted: is_http,
            answers: Outbox::default(),
            frames: Progress::default(),
            ready: 0,
            in_flight: 0,
        });
        Ok(())
    }

    /// One read, parsed to its end; a client that breaks off or makes no sense is dropped.
    fn read(&mut self, event: Event) {
        let slot = event.token - FIRST_CLIENT;
        let Some(mut client) = self.clients[slot].take() else {
            return;
        };
        if event.readable && self.parse(&mut client).is_err() {
            return;
        }
        self.clients[slot] = Some(client);
    }

    fn parse(&mut self, client: &mut Client) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = client.conn.read(&mut buffer).and_then(|bytes| {
            let used = self.take_commands(client, bytes)?;
            client.conn.keep(&bytes[used..]);
            Ok(())
        });
        self.buffer = buffer;
        outcome
    }

    fn take_commands(&mut self, client: &mut Client, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        if !client.is_greeted {
            if bytes.len() < codec::MAGIC.len() {
                return Ok(0);
            }
            client.is_greeted = true;
            at = codec::MAGIC.len();
        }
        while let Some(command) = parse::next(bytes, &mut at, client.is_http)? {
            self.apply(client, command);
        }
        Ok(at)
    }

    fn apply(&mut self, client: &mut Client, command: Command) {
        match command {
            Command::Publish { messages, size } => {
                self.count(messages, size);
                client.answers.bytes.extend_from_slice(if client.is_http { HTTP_OK } else { OK });
            }
            Command::Finish => client.in_flight -= 1,
            Command::Ready(count) => client.ready = count,
            Command::Subscribe => client.answers.bytes.extend_from_slice(OK),
            Command::Close => {
                client.ready = 0;
                client.answers.bytes.extend_from_slice(CLOSE_WAIT);
            }
            Command::Ask => client.answers.bytes.extend_from_slice(HTTP_OK),
            Command::Nothing => {}
        }
    }

    fn count(&mut self, messages: u64, size: usize) {
        if self.message.is_none() {
            let frame = message_frame(size);
            let copies = (FRAMES_BYTES / frame.len()).max(1);
            self.message = Some(Pattern::new(&frame, copies));
        }
        let before = self.publishes;
        self.publishes += messages;
        let crossings =
            |every: Option<u64>| every.map_or(0, |every| self.publishes / every - before / every);
        self.backlog += messages + crossings(self.options.repeat_every);
        self.backlog -= crossings(self.options.lose_every);
    }

    /// Answers first, then as many messages as the client is ready for.
    fn send(&mut self, slot: usize) -> io::Result<()> {
        let Some(client) = &mut self.clients[slot] else {
            return Ok(());
        };
        let deliver = client.ready.saturating_sub(client.in_flight).min(self.backlog);
        let idle = client.answers.bytes.is_empty() && client.frames.is_done();
        if deliver == 0 && idle {
            return Ok(());
        }
        let message = self.message.as_ref();
        if message.is_none_or(|message| client.frames.is_between(message)) {
            client.answers.flush(&mut client.conn, &self.poller)?;
        }
        if let Some(message) = &self.message {
            self.backlog -= deliver;
            client.in_flight += deliver;
            client.frames.push(message, deliver as usize);
            client.conn.write_pattern(message, &mut client.frames)?;
        }
        let unsent = !client.frames.is_done() || !client.answers.bytes.is_empty();
        client.conn.wait_for_room(&self.poller, unsent)
    }
}

/// A message as a broker would deliver it.
fn message_frame(size: usize) -> Vec<u8> {
    let mut frame = ((4 + codec::MESSAGE_HEADER_BYTES + size) as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&2_u32.to_be_bytes());
    frame.extend_from_slice(&0_u64.to_be_bytes());
    frame.extend_from_slice(&1_u16.to_be_bytes());
    frame.extend_from_slice(b"0123456789abcdef");
    frame.resize(frame.len() + size, b'x');
    frame
}
