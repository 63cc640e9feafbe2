//! The error texts of NSQ's protocol, word for word.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// An error after which the connection is closed: the body of its error frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Vec<u8>);

impl Refusal {
    /// `<code> <description>`, as nsqd words it.
    #[must_use]
    pub fn new(text: fmt::Arguments<'_>) -> Refusal {
        Refusal(alloc::fmt::format(text).into_bytes())
    }

    /// The same text with what the client sent behind it, byte for byte.
    #[must_use]
    pub fn echo(mut self, raw: &[u8]) -> Refusal {
        self.0.extend_from_slice(raw);
        self
    }

    /// The body of the error frame.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Codes that errors are counted under; what has none of them is counted under the last one.
pub const ERROR_CODES: [&str; 20] = [
    "E_INVALID",
    "E_BAD_PROTOCOL",
    "E_BAD_BODY",
    "E_BAD_TOPIC",
    "E_BAD_CHANNEL",
    "E_BAD_MESSAGE",
    "E_IDENTIFY_FAILED",
    "E_AUTH_DISABLED",
    "E_AUTH_FAILED",
    "E_AUTH_ERROR",
    "E_AUTH_FIRST",
    "E_UNAUTHORIZED",
    "E_SUB_FAILED",
    "E_PUB_FAILED",
    "E_MPUB_FAILED",
    "E_DPUB_FAILED",
    "E_FIN_FAILED",
    "E_REQ_FAILED",
    "E_TOUCH_FAILED",
    "other",
];

/// Errors that were sent, by their codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts([u64; ERROR_CODES.len()]);

impl ErrorCounts {
    /// Counts an error frame with this body.
    pub fn count(&mut self, body: &[u8]) {
        let code = body.split(|&byte| byte == b' ').next().unwrap_or_default();
        let known = ERROR_CODES.iter().position(|known| known.as_bytes() == code);
        self.0[known.unwrap_or(ERROR_CODES.len() - 1)] += 1;
    }

    /// Codes and how often each was sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERROR_CODES.into_iter().zip(self.0)
    }
}

/// Bytes in double quotes as Go's `%q` writes them.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| quote_char(f, c))?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        f.write_char('"')
    }
}

fn quote_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '"' => f.write_str("\\\""),
        '\\' => f.write_str("\\\\"),
        '\u{7}' => f.write_str("\\a"),
        '\u{8}' => f.write_str("\\b"),
        '\u{c}' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\u{b}' => f.write_str("\\v"),
        ' '..='~' => f.write_char(c),
        c if c.is_ascii() => write!(f, "\\x{:02x}", u32::from(c)),
        c if is_printable(c) => f.write_char(c),
        c if u32::from(c) < 0x1_0000 => write!(f, "\\u{:04x}", u32::from(c)),
        c => write!(f, "\\U{:08x}", u32::from(c)),
    }
}

/// Rust escapes in `{:?}` what has no picture, as Go does. A leading letter keeps it from also
/// escaping combining marks, which Go prints.
fn is_printable(c: char) -> bool {
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::Quoted;
    use alloc::format;

    fn check(raw: &[u8], quoted: &str) {
        assert_eq!(format!("{}", Quoted(raw)), quoted);
    }

    #[test]
    fn quotes_as_go_does() {
        check(b"a$b", r#""a$b""#);
        check(b"a\"\\\x07\x08\x0c\n\r\t\x0b", r#""a\"\\\a\b\f\n\r\t\v""#);
        check(b"\x00\x1f\x7f", r#""\x00\x1f\x7f""#);
        check(b"\xff\xc3(", r#""\xff\xc3(""#);
        check("é世\u{301}\u{a0}\u{10ffff}".as_bytes(), "\"é世\u{301}\\u00a0\\U0010ffff\"");
        check(b"", "\"\"");
    }
}
