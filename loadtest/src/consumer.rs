//! Connections that consume: each message is finished, and the FINs of one read leave together.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::codec::{self, Frame, Kind};
use crate::conn::{Conn, Outbox};
use crate::poll::{Event, Poller};
use crate::{Error, READ_BYTES_MAX, Result, Target};

/// The consuming connections of a run.
pub struct Consumers {
    members: Vec<Consumer>,
    first_token: usize,
    buffer: Vec<u8>,
    /// Messages received; their FINs are sent, or on their way out.
    pub received: u64,
}

struct Consumer {
    conn: Conn,
    outbox: Outbox,
    closed: bool,
}

impl Consumers {
    /// Connects and subscribes them, to the channels in turn; tokens are counted from
    /// `first_token`. Nothing is delivered before [`Consumers::ready`].
    pub fn subscribe(
        target: &Target,
        connections: usize,
        first_token: usize,
        poller: &Poller,
    ) -> Result<Self> {
        let mut members = Vec::with_capacity(connections);
        let channels = target.channel_names();
        for (token, channel) in
            (first_token..first_token + connections).zip(channels.iter().cycle())
        {
            let conn = Conn::adopt(subscribe(target, channel)?, token)?;
            conn.register(poller)?;
            members.push(Consumer { conn, outbox: Outbox::default(), closed: false });
        }
        Ok(Self { members, first_token, buffer: vec![0; READ_BYTES_MAX], received: 0 })
    }

    /// Asks for up to `count` messages at a time on each connection.
    pub fn ready(&mut self, count: u32, poller: &Poller) -> Result<()> {
        self.command(&codec::ready(count), poller)
    }

    /// Ends the subscriptions; their answers say that every FIN before has been handled.
    pub fn close(&mut self, poller: &Poller) -> Result<()> {
        self.command(b"CLS\n", poller)
    }

    /// Every `CLS` has been answered.
    pub fn are_closed(&self) -> bool {
        self.members.iter().all(|member| member.closed)
    }

    /// Handles what one connection is ready for, showing each message to `on_message`.
    pub fn on_event(
        &mut self,
        event: Event,
        poller: &Poller,
        on_message: impl FnMut(&Frame<'_>),
    ) -> Result<()> {
        let member = &mut self.members[event.token - self.first_token];
        if event.readable {
            self.received += member.take_frames(&mut self.buffer, on_message)?;
        }
        Ok(member.outbox.flush(&mut member.conn, poller)?)
    }

    fn command(&mut self, bytes: &[u8], poller: &Poller) -> Result<()> {
        for member in &mut self.members {
            member.outbox.bytes.extend_from_slice(bytes);
            member.outbox.flush(&mut member.conn, poller)?;
        }
        Ok(())
    }
}

impl Consumer {
    fn take_frames(
        &mut self,
        buffer: &mut [u8],
        mut on_message: impl FnMut(&Frame<'_>),
    ) -> Result<u64> {
        let bytes = self.conn.read(buffer)?;
        let (mut messages, mut at) = (0, 0);
        while let Some(frame) = codec::next_frame(bytes, &mut at)? {
            match (frame.kind, frame.data) {
                (Kind::Message, _) => {
                    codec::push_finish(&mut self.outbox.bytes, &frame);
                    on_message(&frame);
                    messages += 1;
                }
                (Kind::Response, b"_heartbeat_") => self.outbox.bytes.extend_from_slice(b"NOP\n"),
                (Kind::Response, b"CLOSE_WAIT") => self.closed = true,
                _ => return Err(codec::unexpected(&frame)),
            }
        }
        self.conn.keep(&bytes[at..]);
        Ok(messages)
    }
}

/// Makes the target's one channel exist, so that what is published from now on goes to it.
pub fn create_channel(target: &Target) -> Result<()> {
    subscribe(target, &target.channel).map(drop)
}

/// Connects and subscribes, waiting for the answer.
fn subscribe(target: &Target, channel: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(target.tcp)?;
    stream.set_read_timeout(Some(crate::STALL_MAX))?;
    stream.write_all(codec::MAGIC)?;
    stream.write_all(&codec::subscribe(&target.topic, channel))?;
    let mut bytes = Vec::new();
    loop {
        // Byte by byte: what follows the answer belongs to the run.
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
        match codec::next_frame(&bytes, &mut 0)? {
            None => {}
            Some(Frame { kind: Kind::Response, data: b"OK" }) => return Ok(stream),
            Some(frame) if frame.kind == Kind::Error => return Err(codec::unexpected(&frame)),
            Some(frame) => {
                let text = String::from_utf8_lossy(frame.data).into_owned();
                return Err(Error::Protocol(format!("SUB was answered with {text:?}")));
            }
        }
    }
}
