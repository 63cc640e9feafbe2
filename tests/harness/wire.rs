//! The wire format, written down a second time: what is sent as bytes, what comes back as frames.

/// One frame from the broker.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// Type 0.
    Response(Vec<u8>),
    /// Type 1.
    Error(Vec<u8>),
    /// Type 2.
    Message(Message),
}

/// A delivered message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Nanoseconds since 1970 at which the broker took it.
    pub timestamp: i64,
    /// 1 on first delivery.
    pub attempts: u16,
    /// Sixteen characters.
    pub id: String,
    /// What was published.
    pub body: Vec<u8>,
}

impl Message {
    /// The body of tests that publish text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Frame::Response(body) => write!(out, "response {:?}", show(body)),
            Frame::Error(body) => write!(out, "error {:?}", show(body)),
            Frame::Message(message) => {
                write!(out, "message {} {:?}", message.attempts, show(&message.body))
            }
        }
    }
}

impl Frame {
    /// Takes one whole frame off the front of `input`, if it is there.
    pub fn take(input: &mut Vec<u8>) -> Option<Frame> {
        let size = u32::from_be_bytes(input.get(..4)?.try_into().ok()?) as usize;
        assert!((4..100 << 20).contains(&size), "a frame of {size} bytes: {:?}", show(input));
        if input.len() < 4 + size {
            return None;
        }
        let rest = input.split_off(4 + size);
        let frame = std::mem::replace(input, rest);
        Some(Frame::parse(&frame[4..]))
    }

    fn parse(frame: &[u8]) -> Frame {
        let (kind, data) = frame.split_at(4);
        match kind {
            [0, 0, 0, 0] => Frame::Response(data.to_vec()),
            [0, 0, 0, 1] => Frame::Error(data.to_vec()),
            [0, 0, 0, 2] => Frame::Message(Message {
                timestamp: i64::from_be_bytes(data[..8].try_into().unwrap()),
                attempts: u16::from_be_bytes(data[8..10].try_into().unwrap()),
                id: String::from_utf8(data[10..26].to_vec()).unwrap(),
                body: data[26..].to_vec(),
            }),
            other => panic!("unknown frame type {other:?}"),
        }
    }

    /// A frame in the tables' notation: `OK`, or `error: E_INVALID …`.
    pub fn describe(&self) -> String {
        match self {
            Frame::Response(body) => show(body),
            Frame::Error(body) => format!("error: {}", show(body)),
            Frame::Message(message) => format!("message: {}", show(&message.body)),
        }
    }
}

/// The tables' notation for bytes: text as it is, with other bytes as `<hex>`.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let close = open + rest[open..].find('>').expect("`<` is closed by `>`");
        out.extend_from_slice(&rest.as_bytes()[..open]);
        let hex = &rest[open + 1..close];
        assert!(hex.len().is_multiple_of(2), "hex digits come in pairs: {hex}");
        for pair in (0..hex.len()).step_by(2) {
            out.push(u8::from_str_radix(&hex[pair..pair + 2], 16).unwrap());
        }
        rest = &rest[close + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// The reverse of [`bytes`], for comparisons and messages.
pub fn show(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '<' => out.push_str(&format!("<{:02x}>", c as u32)),
                '\n' | ' '..='~' => out.push(c),
                c if c.is_ascii() => out.push_str(&format!("<{:02x}>", c as u32)),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("<{byte:02x}>"));
        }
    }
    out
}

/// `PUB` with its body.
pub fn publish(topic: &str, body: &[u8]) -> Vec<u8> {
    with_body(&format!("PUB {topic}\n"), body)
}

/// `DPUB` with its body.
pub fn dpub(topic: &str, defer_ms: u64, body: &[u8]) -> Vec<u8> {
    with_body(&format!("DPUB {topic} {defer_ms}\n"), body)
}

/// `IDENTIFY` with its JSON.
pub fn identify(json: &str) -> Vec<u8> {
    with_body("IDENTIFY\n", json.as_bytes())
}

/// `MPUB` with an honest body size.
pub fn mpub(topic: &str, bodies: &[&[u8]]) -> Vec<u8> {
    let mut inner = (bodies.len() as u32).to_be_bytes().to_vec();
    for body in bodies {
        inner.extend_from_slice(&(body.len() as u32).to_be_bytes());
        inner.extend_from_slice(body);
    }
    with_body(&format!("MPUB {topic}\n"), &inner)
}

fn with_body(line: &str, body: &[u8]) -> Vec<u8> {
    let mut out = line.as_bytes().to_vec();
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}
