//! Taking the body of `/mpub` apart while it comes, each message copied once.
//!
//! The order of the checks is the original's: a client that breaks two limits learns of the same.

use memchr::memchr;

use crate::http::respond::Failure;

use crate::http::body::{append, space_for};

/// Limits on a batch and on each of its messages.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Bytes of one message.
    pub msg_size_max: u64,
    /// Bytes of the whole body.
    pub body_size_max: u64,
}

/// Messages in the shape in which a shard takes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The bodies one after the other.
    pub bytes: Vec<u8>,
    /// The length of each.
    pub lengths: Vec<u32>,
}

impl Batch {
    /// The memory that it will take at most when a piece of a body of this length is added.
    #[must_use]
    pub fn space_for(&self, piece: usize, declared: Option<u64>) -> usize {
        // A message takes a byte of the body at least, and the end of a line or its size.
        let messages = self.lengths.len() + piece / 2 + 1;
        let lengths = match messages <= self.lengths.capacity() {
            true => self.lengths.capacity(),
            // As a list grows.
            false => messages.max(2 * self.lengths.capacity()),
        };
        space_for(&self.bytes, piece, declared) + lengths * size_of::<u32>()
    }

    /// The memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.lengths.capacity() * size_of::<u32>()
    }

    /// Ends the message whose bytes were appended since the last one ended.
    fn close(&mut self, length: u64) {
        let length = u32::try_from(length).expect("a message is shorter than its limit");
        self.lengths.push(length);
    }
}

const BODY_TOO_BIG: Failure = Failure::too_large("BODY_TOO_BIG");
const MSG_TOO_BIG: Failure = Failure::too_large("MSG_TOO_BIG");
const BAD_BODY: Failure = Failure::too_large("BAD_BODY");
const BAD_MESSAGE: Failure = Failure::too_large("BAD_MESSAGE");

/// One message per line; empty lines are none, and a `\r` belongs to its message.
#[derive(Debug)]
pub struct Lines {
    limits: BatchLimits,
    batch: Batch,
    /// Bytes of the body so far, line ends included.
    total: u64,
    /// Bytes of the line that has begun. Those beyond the limit are counted and not kept.
    line: u64,
}

impl Lines {
    /// Nothing read yet.
    #[must_use]
    pub fn new(limits: BatchLimits) -> Lines {
        Lines { limits, batch: Batch::default(), total: 0, line: 0 }
    }

    /// What is there so far.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// When the body or a line of it is too long.
    pub fn feed(&mut self, mut piece: &[u8], declared: Option<u64>) -> Result<(), Failure> {
        while let Some(end) = memchr(b'\n', piece) {
            self.count(end as u64 + 1)?;
            self.extend(&piece[..end], declared);
            self.end_line()?;
            piece = &piece[end + 1..];
        }
        self.count(piece.len() as u64)?;
        self.extend(piece, declared);
        Ok(())
    }

    /// The body is complete; its last line needs no end.
    ///
    /// # Errors
    /// When the last line is too long.
    pub fn finish(mut self) -> Result<Batch, Failure> {
        self.end_line()?;
        Ok(self.batch)
    }

    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.total += bytes;
        if self.total > self.limits.body_size_max { Err(BODY_TOO_BIG) } else { Ok(()) }
    }

    fn extend(&mut self, part: &[u8], declared: Option<u64>) {
        self.line += part.len() as u64;
        if self.line <= self.limits.msg_size_max {
            append(&mut self.batch.bytes, part, declared);
        }
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        let length = std::mem::take(&mut self.line);
        if length > self.limits.msg_size_max {
            return Err(MSG_TOO_BIG);
        }
        if length > 0 {
            self.batch.close(length);
        }
        Ok(())
    }
}

/// A count, then for each message its size and its bytes; numbers are 32 bits, big-endian.
#[derive(Debug)]
pub struct Binary {
    limits: BatchLimits,
    batch: Batch,
    /// Bytes of the body so far.
    total: u64,
    state: Expecting,
    /// The number that is being read: its first `have` bytes.
    number: [u8; 4],
    have: usize,
}

/// What comes next in a binary body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expecting {
    Count,
    /// The size of one of `left` messages.
    Size {
        left: u32,
    },
    /// `missing` bytes of a message of `size`; `left` messages follow it.
    Bytes {
        size: u32,
        missing: u32,
        left: u32,
    },
    /// Nothing: what follows is ignored.
    End,
}

impl Binary {
    /// Nothing read yet.
    #[must_use]
    pub fn new(limits: BatchLimits) -> Binary {
        let (batch, state) = (Batch::default(), Expecting::Count);
        Binary { limits, batch, total: 0, state, number: [0; 4], have: 0 }
    }

    /// What is there so far.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Whether all messages are there; what follows them need not be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == Expecting::End
    }

    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// When a number in it is out of range. Also when the body is longer than its limit: the
    /// original lets a chunked one grow until the machine's memory is full.
    pub fn feed(&mut self, mut piece: &[u8], declared: Option<u64>) -> Result<(), Failure> {
        self.total += piece.len() as u64;
        if self.total > self.limits.body_size_max {
            return Err(BODY_TOO_BIG);
        }
        while !piece.is_empty() && !self.is_complete() {
            let Expecting::Bytes { size, missing, left } = self.state else {
                piece = self.read_number(piece)?;
                continue;
            };
            let (part, rest) = piece.split_at(piece.len().min(missing as usize));
            append(&mut self.batch.bytes, part, declared);
            piece = rest;
            // Not more than `missing`, which is a u32.
            let missing = missing - part.len() as u32;
            self.state = Expecting::Bytes { size, missing, left };
            if missing == 0 {
                self.batch.close(u64::from(size));
                self.state = if left == 0 { Expecting::End } else { Expecting::Size { left } };
            }
        }
        Ok(())
    }

    /// Takes as much of a number as is there; returns what follows.
    fn read_number<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], Failure> {
        let (part, rest) = piece.split_at(piece.len().min(4 - self.have));
        self.number[self.have..self.have + part.len()].copy_from_slice(part);
        self.have += part.len();
        if self.have == 4 {
            self.have = 0;
            self.state = self.after(i32::from_be_bytes(self.number))?;
        }
        Ok(rest)
    }

    fn after(&self, number: i32) -> Result<Expecting, Failure> {
        // Negative numbers become 0, which is as wrong.
        let number = u32::try_from(number).unwrap_or(0);
        if let Expecting::Size { left } = self.state {
            if number == 0 || u64::from(number) > self.limits.msg_size_max {
                return Err(BAD_MESSAGE);
            }
            return Ok(Expecting::Bytes { size: number, missing: number, left: left - 1 });
        }
        // Every message takes at least five bytes.
        let most = self.limits.body_size_max.saturating_sub(4) / 5;
        if number == 0 || u64::from(number) > most {
            return Err(BAD_BODY);
        }
        Ok(Expecting::Size { left: number })
    }

    /// The body is complete.
    ///
    /// # Errors
    /// When messages are missing.
    pub fn finish(self) -> Result<Batch, Failure> {
        match self.state {
            Expecting::End => Ok(self.batch),
            Expecting::Count => Err(BAD_BODY),
            Expecting::Size { .. } | Expecting::Bytes { .. } => Err(BAD_MESSAGE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, BatchLimits, Binary, Lines};

    const LIMITS: BatchLimits = BatchLimits { msg_size_max: 5, body_size_max: 24 };

    /// Splits in pieces of every size; they must agree.
    fn check(body: &[u8], split: impl Fn(&[&[u8]]) -> String, expected: &str) {
        for size in 1..=body.len().max(1) {
            let pieces: Vec<&[u8]> = body.chunks(size).collect();
            assert_eq!(split(&pieces), expected, "{body:?} in pieces of {size}");
        }
    }

    fn show(batch: &Batch) -> String {
        assert_eq!(batch.lengths.iter().sum::<u32>() as usize, batch.bytes.len());
        let mut rest = batch.bytes.as_slice();
        let mut texts = Vec::new();
        for &length in &batch.lengths {
            let (text, more) = rest.split_at(length as usize);
            texts.push(String::from_utf8_lossy(text).into_owned());
            rest = more;
        }
        texts.join("|")
    }

    fn lines(pieces: &[&[u8]]) -> String {
        let mut lines = Lines::new(LIMITS);
        let fed = pieces.iter().try_for_each(|piece| lines.feed(piece, None));
        match fed.and_then(|()| lines.finish()) {
            Ok(batch) => show(&batch),
            Err(failure) => failure.message.into_owned(),
        }
    }

    fn binary(pieces: &[&[u8]]) -> String {
        let mut binary = Binary::new(LIMITS);
        let fed = pieces.iter().try_for_each(|piece| binary.feed(piece, None));
        match fed.and_then(|()| binary.finish()) {
            Ok(batch) => show(&batch),
            Err(failure) => failure.message.into_owned(),
        }
    }

    #[test]
    fn one_message_per_line() {
        check(b"", lines, "");
        check(b"\n\n", lines, "");
        check(b"a", lines, "a");
        check(b"a\nbc\n", lines, "a|bc");
        check(b"\na\r\n\n\nb", lines, "a\r|b");
        check(b"12345\n12345", lines, "12345|12345");
    }

    #[test]
    fn lines_and_bodies_have_limits() {
        check(b"123456", lines, "MSG_TOO_BIG");
        check(b"123456\na", lines, "MSG_TOO_BIG");
        check(b"a\n123456\na", lines, "MSG_TOO_BIG");
        check(b"1\n3\n5\n7\n9\n1\n3\n5\n7\n9\n1\n34", lines, "1|3|5|7|9|1|3|5|7|9|1|34");
        check(b"1\n3\n5\n7\n9\n1\n3\n5\n7\n9\n1\n345", lines, "BODY_TOO_BIG");
        check(b"1\n3\n5\n7\n9\n1\n3\n5\n7\n9\n1\n34\n", lines, "BODY_TOO_BIG");
        check(b"a line without an end that is long", lines, "BODY_TOO_BIG");
        check(b"123456\nand a body that is too long", lines, "MSG_TOO_BIG");
    }

    fn frame(count: i32, messages: &[(i32, &str)]) -> Vec<u8> {
        let mut body = count.to_be_bytes().to_vec();
        for (size, text) in messages {
            body.extend(size.to_be_bytes());
            body.extend(text.as_bytes());
        }
        body
    }

    #[test]
    fn binary_messages() {
        check(&frame(1, &[(1, "a")]), binary, "a");
        check(&frame(2, &[(5, "12345"), (2, "\n\n")]), binary, "12345|\n\n");
        let mut trailing = frame(1, &[(1, "a")]);
        trailing.extend(b"ignored");
        check(&trailing, binary, "a");
    }

    #[test]
    fn binary_numbers_are_checked() {
        check(b"", binary, "BAD_BODY");
        check(b"\0\0\0", binary, "BAD_BODY");
        check(&frame(0, &[]), binary, "BAD_BODY");
        check(&frame(-1, &[]), binary, "BAD_BODY");
        check(&frame(5, &[]), binary, "BAD_BODY");
        check(&frame(4, &[]), binary, "BAD_MESSAGE");
        check(&frame(1, &[(0, "")]), binary, "BAD_MESSAGE");
        check(&frame(1, &[(-5, "")]), binary, "BAD_MESSAGE");
        check(&frame(1, &[(6, "123456")]), binary, "BAD_MESSAGE");
        check(&frame(1, &[(2, "1")]), binary, "BAD_MESSAGE");
        check(&frame(2, &[(1, "1")]), binary, "BAD_MESSAGE");
        check(&frame(3, &[(5, "12345"), (5, "12345"), (5, "12345")]), binary, "BODY_TOO_BIG");
    }
}
