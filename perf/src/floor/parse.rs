//! Commands as far as the floor needs them: found, checked and stepped over.

use std::io;

/// What one command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `PUB`, `MPUB` or a `POST`.
    Publish {
        /// How many messages.
        messages: u64,
        /// Bytes of the first body.
        size: usize,
    },
    /// `FIN`.
    Finish,
    /// `RDY`.
    Ready(u64),
    /// `SUB`.
    Subscribe,
    /// `CLS`.
    Close,
    /// Any HTTP request that publishes nothing.
    Ask,
    /// `NOP`.
    Nothing,
}

const FINISH_BYTES: usize = 21;

/// Steps over the first command of `bytes` from `at` on; `None` while it is incomplete.
pub fn next(bytes: &[u8], at: &mut usize, is_http: bool) -> io::Result<Option<Command>> {
    let rest = &bytes[*at..];
    let found = if is_http { http(rest)? } else { nsq(rest)? };
    Ok(found.map(|(command, length)| {
        *at += length;
        command
    }))
}

/// The first command and its length.
fn nsq(bytes: &[u8]) -> io::Result<Option<(Command, usize)>> {
    if bytes.len() >= FINISH_BYTES && bytes.starts_with(b"FIN ") {
        return Ok(Some((Command::Finish, FINISH_BYTES)));
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Ok(None);
    };
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let name = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let command = match name {
        b"PUB" => return Ok(publish(body).map(|(command, length)| (command, end + 1 + length))),
        b"MPUB" => {
            return Ok(publish_many(body)?.map(|(command, length)| (command, end + 1 + length)));
        }
        b"SUB" => Command::Subscribe,
        b"RDY" => Command::Ready(digits(&line[b"RDY".len()..])),
        b"CLS" => Command::Close,
        b"NOP" => Command::Nothing,
        _ => return Err(unknown(line)),
    };
    Ok(Some((command, end + 1)))
}

fn publish(body: &[u8]) -> Option<(Command, usize)> {
    let size = size_at(body, 0)?;
    let whole = body.len() >= 4 + size;
    whole.then_some((Command::Publish { messages: 1, size }, 4 + size))
}

/// Goes from message to message, as a broker must to find them.
fn publish_many(body: &[u8]) -> io::Result<Option<(Command, usize)>> {
    let (Some(length), Some(messages)) = (size_at(body, 0), size_at(body, 4)) else {
        return Ok(None);
    };
    if body.len() < 4 + length {
        return Ok(None);
    }
    let mut at = 8;
    for _ in 0..messages {
        let size = size_at(body, at).ok_or_else(|| unknown(b"MPUB"))?;
        at += 4 + size;
    }
    if at != 4 + length {
        return Err(unknown(b"MPUB"));
    }
    let size = size_at(body, 8).unwrap_or(0);
    Ok(Some((Command::Publish { messages: messages as u64, size }, at)))
}

fn http(bytes: &[u8]) -> io::Result<Option<(Command, usize)>> {
    const END: &[u8] = b"\r\n\r\n";
    const LENGTH: &[u8] = b"Content-Length: ";
    let Some(head) = find(bytes, END) else {
        return Ok(None);
    };
    let size = match find(&bytes[..head], LENGTH) {
        Some(at) => digits(&bytes[at + LENGTH.len() - 1..head]) as usize,
        None => 0,
    };
    let command = match bytes.starts_with(b"POST ") {
        true => Command::Publish { messages: 1, size },
        false => Command::Ask,
    };
    let length = head + END.len() + size;
    Ok((bytes.len() >= length).then_some((command, length)))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The number behind one space, up to the first byte that is not a digit.
fn digits(text: &[u8]) -> u64 {
    let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    let size = bytes.get(at..at + 4)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*size) as usize)
}

fn unknown(line: &[u8]) -> io::Error {
    let text = format!("the floor does not know {:?}", String::from_utf8_lossy(line));
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadtest::codec;

    fn all(bytes: &[u8], is_http: bool) -> (Vec<Command>, usize) {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(command) = next(bytes, &mut at, is_http).unwrap() {
            found.push(command);
        }
        (found, at)
    }

    #[test]
    fn commands_are_found_at_every_split() {
        let commands = [
            (codec::publish("t", b"four"), Command::Publish { messages: 1, size: 4 }),
            (codec::publish_many("t", b"abc", 3), Command::Publish { messages: 3, size: 3 }),
            (codec::subscribe("t", "c"), Command::Subscribe),
            (codec::ready(2500), Command::Ready(2500)),
            (b"FIN 0123456789abcdef\n".to_vec(), Command::Finish),
            (b"NOP\n".to_vec(), Command::Nothing),
            (b"CLS\n".to_vec(), Command::Close),
        ];
        let stream: Vec<u8> = commands.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut marks = vec![0];
        for (bytes, _) in &commands {
            marks.push(marks.last().unwrap() + bytes.len());
        }
        for end in 0..=stream.len() {
            let whole = marks.iter().filter(|mark| **mark <= end).count() - 1;
            let (found, at) = all(&stream[..end], false);
            let expected: Vec<Command> = commands[..whole].iter().map(|(_, what)| *what).collect();
            assert_eq!(found, expected, "cut at {end}");
            assert_eq!(at, marks[whole]);
        }
    }

    #[test]
    fn posts_are_found_at_every_split() {
        let request = codec::http_publish("h:1", "t", b"four");
        let two = request.repeat(2);
        for end in 0..=two.len() {
            let (found, at) = all(&two[..end], true);
            assert_eq!(found.len(), end / request.len(), "cut at {end}");
            assert_eq!(at, found.len() * request.len());
        }
        assert_eq!(all(&request, true).0, [Command::Publish { messages: 1, size: 4 }]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(next(b"WHAT t\n", &mut 0, false).is_err());
        assert!(next(b"MPUB t\n\0\0\0\x08\0\0\0\x05abcd", &mut 0, false).is_err());
    }
}
