//! Connections that consume: each message is finished or put back, and the answers to one read
//! leave together.

use std::io;

use crate::codec::{self, Frame, Kind};
use crate::conn::{Conn, Outbox, ReadBuffer};
use crate::poll::{Event, Poller};
use crate::{Result, Target, greet};

/// The consuming connections of a run.
pub struct Consumers {
    members: Vec<Consumer>,
    first_token: usize,
    buffer: ReadBuffer,
    rdy: u32,
    /// Messages received; their FINs are sent, or on their way out.
    pub received: u64,
    /// Connections that were taken up again after [`Consumers::renew`].
    pub renewed: u64,
}

/// Which of the target's topics and channels a connection consumes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted as in [`Target::topic_names`].
    pub topic: usize,
    /// Counted as in [`Target::channel_names`].
    pub channel: usize,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `FIN`.
    Finish,
    /// `REQ`, without a delay; the message is not counted as received.
    Requeue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// `CLS` was sent.
    Closing,
    /// `CLS` was answered.
    Closed,
    /// Nothing more is sent; when the broker closes, a new connection takes its place.
    Leaving,
}

struct Consumer {
    conn: Conn,
    outbox: Outbox,
    place: Place,
    state: State,
    /// Is to leave once `CLS` is answered.
    leaves: bool,
}

impl Consumers {
    /// Connects and subscribes them, to the topics and channels in turn; tokens are counted from
    /// `first_token`. Nothing is delivered before [`Consumers::ready`].
    pub fn subscribe(
        target: &Target,
        connections: usize,
        first_token: usize,
        poller: &Poller,
    ) -> Result<Self> {
        let mut members = Vec::with_capacity(connections);
        let channels = target.channels;
        for index in 0..connections {
            let turn = index % (target.topics * channels);
            let place = Place { topic: turn / channels, channel: turn % channels };
            let conn = subscribe(target, place, first_token + index)?;
            conn.register(poller)?;
            let (outbox, state) = (Outbox::default(), State::Open);
            members.push(Consumer { conn, outbox, place, state, leaves: false });
        }
        let buffer = ReadBuffer::new();
        Ok(Self { members, first_token, buffer, rdy: 0, received: 0, renewed: 0 })
    }

    /// Asks for up to `count` messages at a time on each connection.
    pub fn ready(&mut self, count: u32, poller: &Poller) -> Result<()> {
        self.rdy = count;
        self.command(&codec::ready(count), poller)
    }

    /// Ends the subscriptions; their answers say that every FIN before has been handled.
    pub fn close(&mut self, poller: &Poller) -> Result<()> {
        for member in &mut self.members {
            member.leaves = false;
            if member.state == State::Open {
                member.close(poller)?;
            }
        }
        Ok(())
    }

    /// Ends one subscription; a new connection follows once the broker has let the old one go.
    pub fn renew(&mut self, index: usize, poller: &Poller) -> Result<()> {
        let count = self.members.len();
        let member = &mut self.members[index % count];
        if member.state == State::Open {
            member.leaves = true;
            member.close(poller)?;
        }
        Ok(())
    }

    /// Every `CLS` has been answered.
    pub fn are_closed(&self) -> bool {
        self.members.iter().all(|member| matches!(member.state, State::Closed | State::Leaving))
    }

    /// Handles what one connection is ready for; `on_message` decides about each message.
    pub fn on_event(
        &mut self,
        target: &Target,
        event: Event,
        poller: &Poller,
        on_message: impl FnMut(Place, &Frame<'_>) -> Answer,
    ) -> Result<()> {
        let index = event.token - self.first_token;
        let member = &mut self.members[index];
        if event.readable {
            match member.take_frames(&mut self.buffer, on_message) {
                Ok(messages) => self.received += messages,
                Err(crate::Error::Io(error))
                    if member.state == State::Leaving
                        && error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    return self.replace(target, index, poller);
                }
                Err(error) => return Err(error),
            }
        }
        member.outbox.flush(&mut member.conn, poller)?;
        if member.leaves && member.state == State::Closed && member.outbox.unsent() == 0 {
            member.state = State::Leaving;
            member.conn.finish_sending()?;
        }
        Ok(())
    }

    fn replace(&mut self, target: &Target, index: usize, poller: &Poller) -> Result<()> {
        let member = &mut self.members[index];
        let conn = subscribe(target, member.place, self.first_token + index)?;
        conn.register(poller)?;
        let (outbox, place) = (Outbox::default(), member.place);
        *member = Consumer { conn, outbox, place, state: State::Open, leaves: false };
        member.outbox.bytes.extend_from_slice(&codec::ready(self.rdy));
        self.renewed += 1;
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
    fn close(&mut self, poller: &Poller) -> Result<()> {
        self.state = State::Closing;
        self.outbox.bytes.extend_from_slice(b"CLS\n");
        Ok(self.outbox.flush(&mut self.conn, poller)?)
    }

    /// Answers what came; returns how many messages were finished.
    fn take_frames(
        &mut self,
        buffer: &mut ReadBuffer,
        mut on_message: impl FnMut(Place, &Frame<'_>) -> Answer,
    ) -> Result<u64> {
        let bytes = self.conn.read(buffer)?;
        let (mut messages, mut at) = (0, 0);
        while let Some(frame) = codec::next_frame(bytes, &mut at)? {
            match (frame.kind, frame.data) {
                (Kind::Message, _) => match on_message(self.place, &frame) {
                    Answer::Finish => {
                        codec::push_finish(&mut self.outbox.bytes, &frame);
                        messages += 1;
                    }
                    Answer::Requeue => codec::push_requeue(&mut self.outbox.bytes, &frame),
                },
                (Kind::Response, b"_heartbeat_") => self.outbox.bytes.extend_from_slice(b"NOP\n"),
                (Kind::Response, b"CLOSE_WAIT") => self.state = State::Closed,
                _ => return Err(codec::unexpected(&frame)),
            }
        }
        self.conn.keep(&bytes[at..]);
        Ok(messages)
    }
}

/// Makes the target's one channel exist, so that what is published from now on goes to it.
pub fn create_channel(target: &Target) -> Result<()> {
    subscribe(target, Place { topic: 0, channel: 0 }, 0).map(drop)
}

fn subscribe(target: &Target, place: Place, token: usize) -> Result<Conn> {
    let (topic, channel) = (target.topic_name(place.topic), target.channel_name(place.channel));
    greet::consumer(target, &topic, &channel, token)
}
