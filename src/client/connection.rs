//! One connection to an nsqd: dialled, greeted and subscribed within deadlines.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::codec::{Command, Frame, FrameReader, HEARTBEAT, MAGIC};
use super::limits::{RDY_DEFAULT_MAX, READ_BYTES};
use super::log::io_text;
use super::options::ConsumerOptions;

/// Why there is no connection, by the step that failed. The text is what the user reads.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody answered at the address.
    #[error("{0}")]
    Dial(String),
    /// The nsqd did not accept who or what we are.
    #[error("failed to IDENTIFY - {0}")]
    Identify(String),
    /// The nsqd wants a secret, and there is none or another one.
    #[error("{0}")]
    Auth(String),
    /// The nsqd did not let us have the channel.
    #[error("failed to subscribe - {0}")]
    Subscribe(String),
}

impl OpenError {
    /// Whether a tool that was told this address should not even begin. An nsqd that refuses the
    /// channel may have it free later.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, OpenError::Subscribe(_))
    }
}

/// A connection that is subscribed and waits for RDY.
///
/// The peer's thread reads and answers heartbeats; the tool's thread sends everything else. The
/// lock around the bytes to send keeps commands of the two whole.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unsent: Mutex<Vec<u8>>,
    /// The largest RDY that the nsqd takes.
    pub rdy_max: u32,
}

/// What is asked for on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `host:port` of the nsqd.
    pub address: &'a str,
    /// The topic to subscribe to.
    pub topic: &'a str,
    /// The channel of the topic.
    pub channel: &'a str,
}

impl Connection {
    /// Connects and subscribes. The reader holds what came behind the last answer.
    pub fn open(
        wanted: Wanted<'_>,
        options: &ConsumerOptions,
    ) -> Result<(Connection, FrameReader), OpenError> {
        let stream = dial(wanted.address, options).map_err(OpenError::Dial)?;
        let unsent = Mutex::new(MAGIC.to_vec());
        let mut connection = Connection { stream, unsent, rdy_max: RDY_DEFAULT_MAX };
        let prepared = connection.prepare(options);
        prepared.map_err(|error| OpenError::Identify(io_text(&error)))?;
        let mut reader = FrameReader::default();
        let deadline = Instant::now() + options.read_timeout;
        connection.identify(&mut reader, options, deadline)?;
        let subscribe = Command::Sub(wanted.topic, wanted.channel);
        connection.ask(&subscribe, &mut reader, deadline).map_err(OpenError::Subscribe)?;
        Ok((connection, reader))
    }

    fn prepare(&self, options: &ConsumerOptions) -> std::io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_write_timeout(Some(options.write_timeout))
    }

    fn identify(
        &mut self,
        reader: &mut FrameReader,
        options: &ConsumerOptions,
        deadline: Instant,
    ) -> Result<(), OpenError> {
        let body = identify_body(options).map_err(|e| OpenError::Identify(e.to_string()))?;
        let answer =
            self.ask(&Command::Identify(&body), reader, deadline).map_err(OpenError::Identify)?;
        if !answer.starts_with(b"{") {
            // An nsqd from before feature negotiation says `OK`.
            return Ok(());
        }
        let granted: Granted = serde_json::from_slice(&answer)
            .map_err(|error| OpenError::Identify(error.to_string()))?;
        self.rdy_max = granted.max_rdy_count.unwrap_or(RDY_DEFAULT_MAX);
        if !granted.auth_required {
            return Ok(());
        }
        if options.auth_secret.is_empty() {
            return Err(OpenError::Auth("Auth Required".to_owned()));
        }
        let secret = Command::Auth(options.auth_secret.as_bytes());
        let answer = self.ask(&secret, reader, deadline);
        answer.map_err(|error| OpenError::Auth(format!("Error authenticating {error}")))?;
        Ok(())
    }

    /// Sends a command and waits for its answer, meanwhile showing signs of life.
    fn ask(
        &self,
        command: &Command<'_>,
        reader: &mut FrameReader,
        deadline: Instant,
    ) -> Result<Vec<u8>, String> {
        self.send(command).map_err(|error| io_text(&error))?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read_frame(reader, left)? {
                Frame::Response(data) if data == HEARTBEAT => {
                    self.send(&Command::Nop).map_err(|error| io_text(&error))?;
                }
                Frame::Response(data) => return Ok(data),
                Frame::Error(data) => return Err(data.escape_ascii().to_string()),
                Frame::Message(_) => return Err("nsqd sent a message before RDY".to_owned()),
            }
        }
    }

    /// The next frame, unless nothing comes for `silence_max`.
    pub fn read_frame(
        &self,
        reader: &mut FrameReader,
        silence_max: Duration,
    ) -> Result<Frame, String> {
        let mut scratch = [0; READ_BYTES];
        loop {
            if let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
                return Ok(frame);
            }
            if silence_max.is_zero() {
                return Err("i/o timeout".to_owned());
            }
            let read = self
                .stream
                .set_read_timeout(Some(silence_max))
                .and_then(|()| (&self.stream).read(&mut scratch));
            match read {
                Ok(0) => return Err("EOF".to_owned()),
                Ok(count) => reader.feed(&scratch[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io_text(&error)),
            }
        }
    }

    /// Sends a command now, together with what was put off.
    pub fn send(&self, command: &Command<'_>) -> std::io::Result<()> {
        self.queue(command);
        self.flush()
    }

    /// Puts a command off until the next flush.
    pub fn queue(&self, command: &Command<'_>) {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        command.encode(&mut unsent);
    }

    /// Sends what was put off. After an error the connection is of no more use, and closed.
    pub fn flush(&self) -> std::io::Result<()> {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        if unsent.is_empty() {
            return Ok(());
        }
        let written = (&self.stream).write_all(&unsent);
        unsent.clear();
        if written.is_err() {
            // Half a command may have left; the reading thread sees the end and reports it.
            self.close();
        }
        written
    }

    /// Says that nothing more will be sent; the nsqd then closes its side.
    pub fn finish_sending(&self) {
        // It fails only when the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends both directions at once.
    pub fn close(&self) {
        // It fails only when the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn dial(address: &str, options: &ConsumerOptions) -> Result<TcpStream, String> {
    let Some((host, _)) = address.rsplit_once(':') else {
        return Err(format!("dial tcp: address {address}: missing port in address"));
    };
    let found = address.to_socket_addrs();
    let found = found.map_err(|error| format!("dial tcp: lookup {host}: {}", io_text(&error)))?;
    let mut why = format!("dial tcp: lookup {host}: no such host");
    let deadline = Instant::now() + options.dial_timeout;
    for target in found {
        let left = deadline.saturating_duration_since(Instant::now());
        match connect(target, left, options.local_addr) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("dial tcp {target}: {}", io_text(&error)),
        }
    }
    Err(why)
}

/// Connects to one address within `timeout`.
pub fn connect(
    target: SocketAddr,
    timeout: Duration,
    from: Option<SocketAddr>,
) -> std::io::Result<TcpStream> {
    if timeout.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    socket.connect_timeout(&target.into(), timeout)?;
    Ok(socket.into())
}

/// What the client says about itself. Field names are the protocol's.
#[derive(Serialize)]
struct Identify<'a> {
    client_id: &'a str,
    hostname: &'a str,
    user_agent: &'a str,
    feature_negotiation: bool,
    tls_v1: bool,
    deflate: bool,
    snappy: bool,
    heartbeat_interval: u64,
    sample_rate: u32,
    output_buffer_size: i64,
    output_buffer_timeout: u64,
    msg_timeout: u64,
}

fn identify_body(options: &ConsumerOptions) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Identify {
        client_id: &options.client_id,
        hostname: &options.hostname,
        user_agent: &options.user_agent,
        feature_negotiation: true,
        tls_v1: false,
        deflate: false,
        snappy: false,
        heartbeat_interval: whole_ms(options.heartbeat_interval),
        sample_rate: options.sample_rate,
        output_buffer_size: options.output_buffer_size,
        output_buffer_timeout: whole_ms(options.output_buffer_timeout),
        msg_timeout: whole_ms(options.msg_timeout),
    })
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What of the nsqd's answer matters here.
#[derive(Deserialize)]
struct Granted {
    max_rdy_count: Option<u32>,
    #[serde(default)]
    auth_required: bool,
}
