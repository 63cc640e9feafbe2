//! NSQ's wire format as far as a load needs it: commands as bytes, frames stepped over.

use crate::{Error, Result};

/// What a client says first.
pub const MAGIC: &[u8] = b"  V2";

/// Bytes before the body of a message, after the frame's own 8: timestamp, attempts, id.
pub const MESSAGE_HEADER_BYTES: usize = 26;

/// Bytes of one `FIN` command.
pub const FIN_BYTES: usize = 21;

const ATTEMPTS_AT: usize = 8;
const ID_AT: usize = 10;
const ID_BYTES: usize = 16;
const FRAME_HEADER_BYTES: usize = 8;
const HTTP_HEAD_END: &[u8] = b"\r\n\r\n";
/// Larger than anything a broker is asked to deliver here; a size beyond it is a lost position.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `OK`, `CLOSE_WAIT`, a heartbeat.
    Response,
    /// `E_…` and a description.
    Error,
    /// A message.
    Message,
}

/// One frame from the broker.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// Everything after the kind.
    pub data: &'a [u8],
}

impl Frame<'_> {
    /// The body of a message frame.
    pub fn body(&self) -> &[u8] {
        &self.data[MESSAGE_HEADER_BYTES..]
    }

    /// How often a message frame's message has been delivered, this time included.
    pub fn attempts(&self) -> u16 {
        u16::from_be_bytes([self.data[ATTEMPTS_AT], self.data[ATTEMPTS_AT + 1]])
    }
}

/// Steps over the first frame of `bytes` and moves `at` behind it; `None` while it is incomplete.
#[inline]
pub fn next_frame<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<Frame<'a>>> {
    let rest = &bytes[*at..];
    let Some(header) = rest.first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let code = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let kind = match code {
        0 => Kind::Response,
        1 => Kind::Error,
        2 => Kind::Message,
        other => return Err(Error::Protocol(format!("frame type {other}"))),
    };
    let size_min = if kind == Kind::Message { 4 + MESSAGE_HEADER_BYTES } else { 4 };
    if size < size_min || size > FRAME_BYTES_MAX {
        return Err(Error::Protocol(format!("a frame of {size} bytes")));
    }
    let Some(data) = rest.get(FRAME_HEADER_BYTES..4 + size) else {
        return Ok(None);
    };
    *at += 4 + size;
    Ok(Some(Frame { kind, data }))
}

/// Counts the `OK`s in `bytes`; returns their number and where the incomplete rest begins.
///
/// A heartbeat is stepped over without an answer: a connection that publishes needs none, since
/// any command counts as a sign of life.
pub fn count_oks(bytes: &[u8]) -> Result<(usize, usize)> {
    let (mut oks, mut at) = (0, 0);
    while let Some(frame) = next_frame(bytes, &mut at)? {
        match (frame.kind, frame.data) {
            (Kind::Response, b"OK") => oks += 1,
            (Kind::Response, b"_heartbeat_") => {}
            _ => return Err(unexpected(&frame)),
        }
    }
    Ok((oks, at))
}

/// The error for a frame that has no place here.
pub fn unexpected(frame: &Frame<'_>) -> Error {
    let text = String::from_utf8_lossy(frame.data).into_owned();
    match frame.kind {
        Kind::Error => Error::Refused(text),
        Kind::Response => Error::Protocol(format!("unexpected response {text:?}")),
        Kind::Message => Error::Protocol("a message where none was asked for".to_owned()),
    }
}

/// `PUB` of one body.
pub fn publish(topic: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("PUB {topic}\n").into_bytes();
    push_sized(&mut bytes, body);
    bytes
}

/// `DPUB` of one body, to be delivered after so many milliseconds.
pub fn publish_deferred(topic: &str, body: &[u8], defer_ms: u64) -> Vec<u8> {
    let mut bytes = format!("DPUB {topic} {defer_ms}\n").into_bytes();
    push_sized(&mut bytes, body);
    bytes
}

/// `MPUB` of the same body `batch` times.
pub fn publish_many(topic: &str, body: &[u8], batch: usize) -> Vec<u8> {
    let mut inner = (batch as u32).to_be_bytes().to_vec();
    for _ in 0..batch {
        push_sized(&mut inner, body);
    }
    let mut bytes = format!("MPUB {topic}\n").into_bytes();
    push_sized(&mut bytes, &inner);
    bytes
}

/// `IDENTIFY`.
pub fn identify(json: &[u8]) -> Vec<u8> {
    let mut bytes = b"IDENTIFY\n".to_vec();
    push_sized(&mut bytes, json);
    bytes
}

/// `SUB`.
pub fn subscribe(topic: &str, channel: &str) -> Vec<u8> {
    format!("SUB {topic} {channel}\n").into_bytes()
}

/// `RDY`.
pub fn ready(count: u32) -> Vec<u8> {
    format!("RDY {count}\n").into_bytes()
}

/// Appends the `FIN` of a message frame.
#[inline]
pub fn push_finish(out: &mut Vec<u8>, message: &Frame<'_>) {
    let mut command = *b"FIN 0123456789abcdef\n";
    command[4..4 + ID_BYTES].copy_from_slice(&message.data[ID_AT..ID_AT + ID_BYTES]);
    out.extend_from_slice(&command);
}

/// Appends the `REQ` of a message frame, to be delivered again at once.
pub fn push_requeue(out: &mut Vec<u8>, message: &Frame<'_>) {
    out.extend_from_slice(b"REQ ");
    out.extend_from_slice(&message.data[ID_AT..ID_AT + ID_BYTES]);
    out.extend_from_slice(b" 0\n");
}

/// `POST /pub` of one body on a connection that stays open.
pub fn http_publish(host: &str, topic: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "POST /pub?topic={topic} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Counts complete `200` answers in `bytes`; returns their number and where the rest begins.
pub fn count_http_oks(bytes: &[u8]) -> Result<(usize, usize)> {
    let (mut oks, mut at) = (0, 0);
    while let Some(length) = http_answer_len(&bytes[at..])? {
        oks += 1;
        at += length;
    }
    Ok((oks, at))
}

/// An answer is complete by its own Content-Length; without one, only the connection's end says.
pub fn is_whole_http_answer(bytes: &[u8]) -> bool {
    http_parts(bytes)
        .is_some_and(|(head, body)| http_body_len(head).is_ok_and(|length| body.len() >= length))
}

/// The length of the first complete answer, header and body.
fn http_answer_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((head, body)) = http_parts(bytes) else {
        return Ok(None);
    };
    let body_len = http_body_len(head)?;
    let Some(body) = body.get(..body_len) else {
        return Ok(None);
    };
    if !head.starts_with(b"HTTP/1.1 200 ") {
        let head = String::from_utf8_lossy(head);
        let status = head.lines().next().unwrap_or_default();
        return Err(Error::Refused(format!("{status}: {}", String::from_utf8_lossy(body))));
    }
    Ok(Some(head.len() + HTTP_HEAD_END.len() + body_len))
}

/// The header without its end, and all that follows; `None` while the end has not come.
fn http_parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(HTTP_HEAD_END.len()).position(|four| four == HTTP_HEAD_END)?;
    Some((&bytes[..end], &bytes[end + HTTP_HEAD_END.len()..]))
}

fn http_body_len(head: &[u8]) -> Result<usize> {
    let head = String::from_utf8_lossy(head);
    for line in head.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim();
            return value.parse().map_err(|_| Error::Protocol(format!("Content-Length {value:?}")));
        }
    }
    Err(Error::Protocol(format!("an HTTP answer without Content-Length: {head:?}")))
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

    fn message(id: &[u8; 16], body: &[u8]) -> Vec<u8> {
        let mut bytes = ((30 + body.len()) as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 2]);
        bytes.extend_from_slice(&[7; 8]);
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn commands_are_the_protocols_bytes() {
        assert_eq!(publish("t", b"abc"), b"PUB t\n\0\0\0\x03abc");
        assert_eq!(
            publish_many("t", b"ab", 2),
            b"MPUB t\n\0\0\0\x10\0\0\0\x02\0\0\0\x02ab\0\0\0\x02ab"
        );
        assert_eq!(publish_deferred("t", b"abc", 7), b"DPUB t 7\n\0\0\0\x03abc");
        assert_eq!(subscribe("t", "c"), b"SUB t c\n");
        assert_eq!(identify(b"{}"), b"IDENTIFY\n\0\0\0\x02{}");
        assert_eq!(ready(2500), b"RDY 2500\n");
    }

    #[test]
    fn frames_are_found_at_every_split() {
        let mut stream = OK.to_vec();
        stream.extend_from_slice(&message(b"0123456789abcdef", b"body"));
        stream.extend_from_slice(OK);
        for end in 0..=stream.len() {
            let mut at = 0;
            let mut kinds = Vec::new();
            while let Some(frame) = next_frame(&stream[..end], &mut at).unwrap() {
                kinds.push(frame.kind);
            }
            let whole = [10, 10 + 38, stream.len()].iter().filter(|&&mark| mark <= end).count();
            assert_eq!(kinds.len(), whole, "cut at {end}");
            assert!(at <= end);
        }
    }

    #[test]
    fn a_finish_carries_the_id_of_its_message() {
        let bytes = message(b"0a1b2c3d4e5f6789", b"x");
        let frame = next_frame(&bytes, &mut 0).unwrap().unwrap();
        let mut out = Vec::new();
        push_finish(&mut out, &frame);
        assert_eq!(out, b"FIN 0a1b2c3d4e5f6789\n");
        assert_eq!(out.len(), FIN_BYTES);
        assert_eq!((frame.body(), frame.attempts()), (&b"x"[..], 1));
        out.clear();
        push_requeue(&mut out, &frame);
        assert_eq!(out, b"REQ 0a1b2c3d4e5f6789 0\n");
    }

    #[test]
    fn oks_are_counted_and_errors_are_not_swallowed() {
        let mut stream = [OK, OK, b"\0\0\0\x0f\0\0\0\0_heartbeat_", OK].concat();
        assert_eq!(count_oks(&stream).unwrap(), (3, stream.len()));
        stream.extend_from_slice(&OK[..5]);
        assert_eq!(count_oks(&stream).unwrap(), (3, stream.len() - 5));
        let refused = count_oks(b"\0\0\0\x0d\0\0\0\x01E_INVALID").unwrap_err();
        assert!(matches!(refused, Error::Refused(text) if text == "E_INVALID"));
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_wait() {
        assert!(next_frame(b"\0\0\0\x03\0\0\0\0", &mut 0).is_err());
        assert!(next_frame(b"\0\0\0\x06\0\0\0\x07OK", &mut 0).is_err());
        assert!(next_frame(b"\0\0\0\x1d\0\0\0\x02", &mut 0).is_err());
        assert!(next_frame(b"HTTP/1.1 400", &mut 0).is_err());
    }

    #[test]
    fn http_answers_are_counted_at_every_split() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nDate: x\r\n\r\nOK";
        let two = [&answer[..], &answer[..]].concat();
        for end in 0..=two.len() {
            let (oks, at) = count_http_oks(&two[..end]).unwrap();
            assert_eq!(oks, end / answer.len(), "cut at {end}");
            assert_eq!(at, oks * answer.len());
        }
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno";
        assert!(matches!(count_http_oks(refused), Err(Error::Refused(_))));
        assert!(count_http_oks(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(is_whole_http_answer(answer) && !is_whole_http_answer(&answer[..answer.len() - 1]));
        assert!(!is_whole_http_answer(b"HTTP/1.0 200 OK\r\n\r\n{"));
    }
}
