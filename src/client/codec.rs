//! NSQ's wire format as a client sees it: commands to bytes, and bytes to frames. No I/O.
//!
//! What a peer says about lengths is only compared, never allocated: the reader's buffer holds
//! bytes that came, and a frame is cut out of it once it is whole.

use std::fmt;

use super::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, READ_BUFFER_KEPT_BYTES};

/// What a client sends first.
pub const MAGIC: &[u8; 4] = b"  V2";
/// The response that an nsqd sends to see whether the client is alive.
pub const HEARTBEAT: &[u8] = b"_heartbeat_";
/// The response to `CLS`: no further message will come.
pub const CLOSE_WAIT: &[u8] = b"CLOSE_WAIT";

const LENGTH_BYTES: usize = 4;
const ID_BYTES: usize = 16;
const MESSAGE_HEADER_BYTES: usize = 8 + 2 + ID_BYTES;

const FRAME_RESPONSE: u32 = 0;
const FRAME_ERROR: u32 = 1;
const FRAME_MESSAGE: u32 = 2;

/// The id of a message, as it came and as it goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId([u8; ID_BYTES]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// One message as an nsqd delivered it.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Names the message in `FIN`, `REQ` and `TOUCH`.
    pub id: MessageId,
    /// How often it was delivered, this time included.
    pub attempts: u16,
    /// What was published.
    pub body: Vec<u8>,
}

/// What an nsqd sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The answer to a command, or a heartbeat.
    Response(Vec<u8>),
    /// What the nsqd objects to: a code and a description.
    Error(Vec<u8>),
    /// A delivery.
    Message(Message),
}

/// Why bytes are no frame. The peer's fault each time; nothing after it can be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length cannot hold a frame type, or is beyond what the client takes.
    #[error("nsqd sent a frame of {length} bytes, outside {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX}")]
    Length {
        /// The length that the frame claims.
        length: u32,
    },
    /// None of the three frame types.
    #[error("nsqd sent a frame of unknown type {kind}")]
    Kind {
        /// The type that the frame claims.
        kind: u32,
    },
    /// A message frame without room for timestamp, attempts and id.
    #[error(
        "nsqd sent a message of {length} bytes, shorter than its {MESSAGE_HEADER_BYTES} bytes \
         of header"
    )]
    ShortMessage {
        /// The bytes of the message, header included.
        length: usize,
    },
}

/// Cuts a stream of bytes into frames, wherever the reads happened to split it.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    // Everything before it has been taken.
    start: usize,
}

impl FrameReader {
    /// Adds bytes that came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
            self.bytes.shrink_to(READ_BUFFER_KEPT_BYTES);
        } else if self.start > self.bytes.len() / 2 {
            // Moving less than was taken since the last move keeps the cost per byte constant.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let waiting = &self.bytes[self.start..];
        let Some((length_bytes, rest)) = waiting.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length_bytes);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&bytes) {
            return Err(FrameError::Length { length });
        }
        let Some(frame) = rest.get(..bytes) else {
            return Ok(None);
        };
        let frame = parse_frame(frame)?;
        self.start += LENGTH_BYTES + bytes;
        assert!(self.start <= self.bytes.len());
        Ok(Some(frame))
    }
}

fn parse_frame(frame: &[u8]) -> Result<Frame, FrameError> {
    let Some((kind, data)) = frame.split_first_chunk::<4>() else {
        return Err(FrameError::Length { length: u32::try_from(frame.len()).unwrap_or(u32::MAX) });
    };
    match u32::from_be_bytes(*kind) {
        FRAME_RESPONSE => Ok(Frame::Response(data.to_vec())),
        FRAME_ERROR => Ok(Frame::Error(data.to_vec())),
        FRAME_MESSAGE => parse_message(data).map(Frame::Message),
        kind => Err(FrameError::Kind { kind }),
    }
}

fn parse_message(data: &[u8]) -> Result<Message, FrameError> {
    let short = FrameError::ShortMessage { length: data.len() };
    let Some((header, body)) = data.split_first_chunk::<MESSAGE_HEADER_BYTES>() else {
        return Err(short);
    };
    // The first eight bytes say when it was published, which no tool here shows.
    let attempts = u16::from_be_bytes([header[8], header[9]]);
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&header[10..]);
    Ok(Message { id: MessageId(id), attempts, body: body.to_vec() })
}

/// A command of a consumer.
#[derive(Debug)]
pub enum Command<'a> {
    /// Who the client is and what it wants, as JSON.
    Identify(&'a [u8]),
    /// The secret of `auth_secret`.
    Auth(&'a [u8]),
    /// Topic and channel.
    Sub(&'a str, &'a str),
    /// How many messages may be in flight to this connection.
    Rdy(u32),
    /// The message is done.
    Fin(MessageId),
    /// The message goes back, after a delay in milliseconds.
    Req(MessageId, u64),
    /// The message needs more time.
    Touch(MessageId),
    /// No further messages, please.
    Cls,
    /// A sign of life.
    Nop,
}

impl Command<'_> {
    /// Appends the command as it goes over the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Command::Identify(body) => with_body(out, b"IDENTIFY\n", body),
            Command::Auth(secret) => with_body(out, b"AUTH\n", secret),
            Command::Sub(topic, channel) => {
                out.extend_from_slice(format!("SUB {topic} {channel}\n").as_bytes());
            }
            Command::Rdy(count) => out.extend_from_slice(format!("RDY {count}\n").as_bytes()),
            Command::Fin(id) => with_id(out, b"FIN ", *id, b"\n"),
            Command::Req(id, delay_ms) => {
                with_id(out, b"REQ ", *id, format!(" {delay_ms}\n").as_bytes());
            }
            Command::Touch(id) => with_id(out, b"TOUCH ", *id, b"\n"),
            Command::Cls => out.extend_from_slice(b"CLS\n"),
            Command::Nop => out.extend_from_slice(b"NOP\n"),
        }
    }
}

fn with_id(out: &mut Vec<u8>, name: &[u8], id: MessageId, end: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(&id.0);
    out.extend_from_slice(end);
}

fn with_body(out: &mut Vec<u8>, line: &[u8], body: &[u8]) {
    let length = i32::try_from(body.len()).expect("bodies are IDENTIFY's JSON or a flag's value");
    out.extend_from_slice(line);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::{Command, Frame, FrameError, FrameReader, Message, MessageId};
    use crate::client::limits::FRAME_BYTES_MAX;

    const ID: MessageId = MessageId(*b"0123456789abcdef");

    fn frame(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(data.len() + 4).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let data = [&[0; 8], &[1, 2][..], b"0123456789abcdef", body].concat();
        frame(2, &data)
    }

    fn read_all(reader: &mut FrameReader) -> Vec<Frame> {
        std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
    }

    #[test]
    fn the_same_frames_come_out_however_the_bytes_are_split() {
        let stream = [
            frame(0, b"OK"),
            message(b"hello"),
            frame(1, b"E_BAD_TOPIC x"),
            message(b""),
            frame(0, b""),
        ]
        .concat();
        let expected = [
            Frame::Response(b"OK".to_vec()),
            Frame::Message(Message { id: ID, attempts: 0x0102, body: b"hello".to_vec() }),
            Frame::Error(b"E_BAD_TOPIC x".to_vec()),
            Frame::Message(Message { id: ID, attempts: 0x0102, body: Vec::new() }),
            Frame::Response(Vec::new()),
        ];
        for step in 1..=stream.len() {
            let mut reader = FrameReader::default();
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                reader.feed(piece);
                frames.extend(read_all(&mut reader));
            }
            assert_eq!(frames, expected, "in pieces of {step}");
        }
    }

    #[test]
    fn an_incomplete_frame_yields_nothing_and_the_next_byte_completes_it() {
        let bytes = message(b"x");
        let (last, head) = bytes.split_last().unwrap();
        let mut reader = FrameReader::default();
        reader.feed(head);
        assert_eq!(reader.next_frame(), Ok(None));
        reader.feed(&[*last]);
        assert!(matches!(reader.next_frame(), Ok(Some(Frame::Message(_)))));
        assert_eq!(reader.next_frame(), Ok(None));
    }

    #[test]
    fn a_length_that_a_peer_claims_allocates_nothing() {
        let claimed = u32::try_from(FRAME_BYTES_MAX).unwrap();
        let mut reader = FrameReader::default();
        reader.feed(&claimed.to_be_bytes());
        assert_eq!(reader.next_frame(), Ok(None));
        assert!(reader.bytes.capacity() < 1024, "{}", reader.bytes.capacity());
    }

    #[test]
    fn lengths_out_of_range_are_refused_as_soon_as_they_are_read() {
        let beyond = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
        for length in [0, 3, beyond, 0x8000_0000, u32::MAX] {
            let mut reader = FrameReader::default();
            reader.feed(&length.to_be_bytes());
            assert_eq!(reader.next_frame(), Err(FrameError::Length { length }));
        }
    }

    #[test]
    fn unknown_types_and_short_messages_are_refused() {
        let mut reader = FrameReader::default();
        reader.feed(&frame(3, b"x"));
        assert_eq!(reader.next_frame(), Err(FrameError::Kind { kind: 3 }));
        let mut reader = FrameReader::default();
        reader.feed(&frame(2, &[b'a'; 25]));
        assert_eq!(reader.next_frame(), Err(FrameError::ShortMessage { length: 25 }));
    }

    #[test]
    fn the_buffer_is_given_back_after_a_large_frame() {
        let mut reader = FrameReader::default();
        reader.feed(&frame(0, &vec![b'x'; 4 << 20]));
        assert!(matches!(reader.next_frame(), Ok(Some(_))));
        reader.feed(b"x");
        assert!(reader.bytes.capacity() <= 1 << 20, "{}", reader.bytes.capacity());
    }

    #[test]
    fn a_long_stream_does_not_pile_up() {
        let bytes = message(&[b'x'; 1000]);
        let mut reader = FrameReader::default();
        let mut pending: &[u8] = &[];
        for _ in 0..1000 {
            // Each read ends in the middle of a frame, so the buffer is never empty between two.
            reader.feed(pending);
            reader.feed(&bytes[..600]);
            pending = &bytes[600..];
            read_all(&mut reader);
        }
        assert!(reader.bytes.len() < 8 * bytes.len(), "{}", reader.bytes.len());
    }

    fn check(command: &Command<'_>, expected: &[u8]) {
        let mut out = Vec::new();
        command.encode(&mut out);
        assert_eq!(out, expected, "{command:?}");
    }

    #[test]
    fn commands_are_the_bytes_of_the_protocol() {
        check(&Command::Identify(b"{}"), b"IDENTIFY\n\0\0\0\x02{}");
        check(&Command::Auth(b"abc"), b"AUTH\n\0\0\0\x03abc");
        check(&Command::Sub("t", "c#ephemeral"), b"SUB t c#ephemeral\n");
        check(&Command::Rdy(2500), b"RDY 2500\n");
        check(&Command::Fin(ID), b"FIN 0123456789abcdef\n");
        check(&Command::Req(ID, 1500), b"REQ 0123456789abcdef 1500\n");
        check(&Command::Touch(ID), b"TOUCH 0123456789abcdef\n");
        check(&Command::Cls, b"CLS\n");
        check(&Command::Nop, b"NOP\n");
    }
}
