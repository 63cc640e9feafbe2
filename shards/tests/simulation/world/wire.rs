//! The protocol as clients speak it, written anew so that mistakes of the broker's do not cancel.

/// What a client wrote, as far as somebody has to remember it.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `count` messages numbered from `first`.
    Publish {
        verb: &'static str,
        topic: usize,
        first: u32,
        count: u32,
        delay_ms: u64,
    },
    Subscribe {
        topic: usize,
        channel: usize,
    },
    /// IDENTIFY: time to answer and sample rate.
    Identify {
        msg_timeout_ms: u64,
        sample_rate: u64,
    },
    Ready(u64),
    Finish([u8; 16]),
    Requeue([u8; 16], u64),
    Touch([u8; 16]),
    Close,
    /// Answered by an error after which the connection ends.
    Fatal,
    Nothing,
}

/// What a client is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Response(Vec<u8>),
    Error(String),
    Message(Message),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub timestamp_ns: i64,
    pub attempts: u16,
    pub id: [u8; 16],
    pub body: Vec<u8>,
}

/// Cuts the first whole frame off. What is no frame at all becomes an error that nobody expects.
pub fn cut_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let size = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let frame = bytes.get(4..4 + size)?;
    let (kind, data) = frame.split_at(4);
    let frame = match kind[3] {
        0 => Frame::Response(data.to_vec()),
        1 => Frame::Error(String::from_utf8_lossy(data).into_owned()),
        2 if data.len() > 26 => Frame::Message(Message {
            timestamp_ns: i64::from_be_bytes(*data.first_chunk()?),
            attempts: u16::from_be_bytes([data[8], data[9]]),
            id: *data[10..].first_chunk()?,
            body: data[26..].to_vec(),
        }),
        _ => Frame::Error(format!("not a frame: {frame:?}")),
    };
    Some((frame, 4 + size))
}

/// The body of the message with this number: the number, then bytes that follow from it.
pub fn body(number: u32, bytes: usize) -> Vec<u8> {
    let mut body = pattern(number).repeat(bytes.max(4).div_ceil(256));
    body.truncate(bytes.max(4));
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

/// Whether a body is that of the message with this number.
pub fn is_body(found: &[u8], number: u32, bytes: usize) -> bool {
    let pattern = pattern(number);
    let same = |(at, part): (usize, &[u8])| match at {
        0 => part[..4] == number.to_be_bytes() && part[4..] == pattern[4..part.len()],
        _ => *part == pattern[..part.len()],
    };
    found.len() == bytes.max(4) && found.chunks(256).enumerate().all(same)
}

fn pattern(number: u32) -> [u8; 256] {
    std::array::from_fn(|index| (number as usize + index * 7) as u8)
}

/// PUB, MPUB or DPUB.
pub fn publish(verb: &str, topic: &str, delay_ms: u64, bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = match verb {
        "DPUB" => format!("DPUB {topic} {delay_ms}\n").into_bytes(),
        verb => format!("{verb} {topic}\n").into_bytes(),
    };
    if verb == "MPUB" {
        let size: usize = bodies.iter().map(|body| body.len() + 4).sum();
        bytes.extend((size as u32 + 4).to_be_bytes());
        bytes.extend((bodies.len() as u32).to_be_bytes());
    }
    for body in bodies {
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}

pub fn identify(json: &str) -> Vec<u8> {
    let mut bytes = b"IDENTIFY\n".to_vec();
    bytes.extend((json.len() as u32).to_be_bytes());
    bytes.extend(json.as_bytes());
    bytes
}

/// FIN, REQ or TOUCH.
pub fn answer(verb: &str, id: &[u8; 16], rest: &str) -> Vec<u8> {
    [verb.as_bytes(), b" ", id, rest.as_bytes(), b"\n"].concat()
}
