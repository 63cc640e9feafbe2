//! The life of one nsqd among a consumer's: connect, read, lose it, wait, connect again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};

use super::codec::{CLOSE_WAIT, Command, Frame, FrameReader, HEARTBEAT, Message};
use super::connection::{Connection, OpenError, Wanted};
use super::limits::RECONNECT_DELAY_MIN;
use super::log::{Level, Log, io_text};
use super::options::ConsumerOptions;

/// Names one nsqd of one subscription for the life of the consumer.
pub type PeerId = u64;

/// What the threads tell the consumer.
#[derive(Debug)]
pub enum Event {
    /// Subscribed, and waiting for RDY.
    Connected(PeerId, Arc<Connection>),
    /// The first attempt failed.
    Refused(PeerId, OpenError),
    /// A message came.
    Message(PeerId, Arc<Connection>, Message),
    /// `CLS` is acknowledged: no message follows.
    Drained(PeerId),
    /// The connection ended.
    Closed(PeerId),
    /// The peer's thread ended; only nsqlookupd can bring the nsqd back.
    Gone(PeerId),
    /// nsqlookupd knows these nsqds for a subscription.
    Discovered(usize, Vec<String>),
    /// A clean stop was asked for.
    Stop,
}

/// What a peer's thread works with.
pub struct Peer {
    /// Its name in all events.
    pub id: PeerId,
    /// `host:port` of the nsqd.
    pub address: String,
    /// The topic to subscribe to.
    pub topic: String,
    /// The channel of the topic.
    pub channel: String,
    /// How to connect.
    pub options: Arc<ConsumerOptions>,
    /// Whether to connect again after a loss; else nsqlookupd decides.
    pub reconnects: bool,
    /// Where lines about the subscription go.
    pub log: Log,
    /// Where events go; sending waits while the tool is behind.
    pub events: Sender<Event>,
    /// Closed when the consumer stops.
    pub stopped: Receiver<()>,
}

/// The consumer is gone, so there is nothing left to do.
struct ConsumerGone;

impl Peer {
    /// Runs until the consumer stops or, without reconnecting, until the first loss.
    pub fn run(self) {
        // The thread ends either way; what matters went out as events.
        let _: Result<(), ConsumerGone> = self.live();
    }

    fn live(&self) -> Result<(), ConsumerGone> {
        let mut delay = RECONNECT_DELAY_MIN;
        let mut first = true;
        loop {
            self.say(Level::Info, format_args!("connecting to nsqd"));
            let wanted =
                Wanted { address: &self.address, topic: &self.topic, channel: &self.channel };
            let began = Instant::now();
            match Connection::open(wanted, &self.options) {
                Ok((connection, reader)) => self.consume(connection, reader)?,
                Err(error) if first => {
                    let ends_all = self.reconnects && error.is_final();
                    self.tell(Event::Refused(self.id, error))?;
                    if ends_all {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.say(Level::Error, format_args!("error connecting to nsqd - {error}"));
                }
            }
            first = false;
            if !self.reconnects {
                return self.tell(Event::Gone(self.id));
            }
            if began.elapsed() > self.options.lookupd_poll_interval {
                // It worked for a while: what comes now is a new trouble.
                delay = RECONNECT_DELAY_MIN;
            }
            delay = delay.min(self.options.lookupd_poll_interval);
            self.pause(delay)?;
            delay *= 2;
        }
    }

    fn consume(&self, connection: Connection, reader: FrameReader) -> Result<(), ConsumerGone> {
        let connection = Arc::new(connection);
        self.tell(Event::Connected(self.id, Arc::clone(&connection)))?;
        let end = self.read(&connection, reader)?;
        if self.stopped.is_disconnected() {
            self.say(Level::Info, format_args!("clean close complete"));
        } else {
            self.say(Level::Error, format_args!("IO error - {end}"));
        }
        connection.close();
        self.tell(Event::Closed(self.id))
    }

    /// Reads until the connection ends, and says why it did.
    fn read(
        &self,
        connection: &Arc<Connection>,
        mut reader: FrameReader,
    ) -> Result<String, ConsumerGone> {
        loop {
            let frame = match connection.read_frame(&mut reader, self.options.read_timeout) {
                Ok(frame) => frame,
                Err(end) => return Ok(end),
            };
            match frame {
                Frame::Message(message) => {
                    self.tell(Event::Message(self.id, Arc::clone(connection), message))?;
                }
                Frame::Response(data) if data == HEARTBEAT => {
                    if let Err(error) = connection.send(&Command::Nop) {
                        return Ok(io_text(&error));
                    }
                }
                Frame::Response(data) if data == CLOSE_WAIT => {
                    self.say(Level::Info, format_args!("received CLOSE_WAIT from nsqd"));
                    self.tell(Event::Drained(self.id))?;
                }
                Frame::Response(_) => {}
                Frame::Error(data) => {
                    let text = data.escape_ascii();
                    self.say(Level::Error, format_args!("protocol error - {text}"));
                }
            }
        }
    }

    fn pause(&self, delay: Duration) -> Result<(), ConsumerGone> {
        if self.stopped.is_disconnected() {
            return Err(ConsumerGone);
        }
        let delay_s = delay.as_secs_f64();
        self.say(Level::Info, format_args!("re-connecting in {delay_s}s"));
        match self.stopped.recv_timeout(delay) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(ConsumerGone),
        }
    }

    fn tell(&self, event: Event) -> Result<(), ConsumerGone> {
        self.events.send(event).map_err(|_| ConsumerGone)
    }

    fn say(&self, level: Level, text: std::fmt::Arguments<'_>) {
        self.log.say(level, format_args!("({}) {text}", self.address));
    }
}
