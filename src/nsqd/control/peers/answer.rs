//! What a nsqlookupd answers: a length, and so many bytes. It may be slow, wrong or no nsqlookupd.

use serde::Deserialize;
use thiserror::Error;

use crate::nsqd::control::limits::ANSWER_BYTES_MAX;

/// Bytes of the length in front of an answer.
const LENGTH_BYTES: usize = 4;
/// As much of an answer that makes no sense is shown.
const SHOWN_BYTES_MAX: usize = 128;

/// Why a connection with a nsqlookupd cannot go on.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Trouble {
    /// It answers with more, or less, than an answer can have.
    #[error("response body size ({0}) is greater than limit ({ANSWER_BYTES_MAX})")]
    Length(i64),
    /// It refuses a command.
    #[error("{command} - {text}")]
    Refused {
        /// The command.
        command: String,
        /// Its answer.
        text: String,
    },
    /// It does not say who it is.
    #[error("parsing response - {0}")]
    NoInfo(String),
    /// It answers what nobody asked.
    #[error("it answers without being asked - {0}")]
    Unasked(String),
    /// It does not answer in time.
    #[error("{0} - i/o timeout")]
    Silent(String),
    /// It ended the connection.
    #[error("EOF")]
    Ended,
    /// The connection broke, or could not be made.
    #[error("{0}")]
    Broken(String),
    /// TLS failed.
    #[error("tls: {0}")]
    Tls(String),
    /// Another address leads to the same nsqlookupd.
    #[error("it is the same as {0}")]
    Twin(std::net::SocketAddr),
}

/// Bytes on their way to be answers.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
    /// Before this everything was taken.
    start: usize,
}

impl Answers {
    /// More bytes arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole answer.
    ///
    /// # Errors
    /// A length that no answer has: what follows makes no sense.
    pub fn take(&mut self) -> Result<Option<&[u8]>, Trouble> {
        let Some((length, rest)) = self.bytes[self.start..].split_first_chunk() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*length);
        let fits = usize::try_from(length).ok().filter(|&length| length <= ANSWER_BYTES_MAX);
        let length = fits.ok_or(Trouble::Length(length.into()))?;
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.start + LENGTH_BYTES;
        self.start = from + length;
        Ok(Some(&self.bytes[from..self.start]))
    }
}

/// An answer as a line of the log shows it.
pub fn shown(answer: &[u8]) -> String {
    let cut = &answer[..answer.len().min(SHOWN_BYTES_MAX)];
    let rest = if cut.len() < answer.len() { "…" } else { "" };
    format!("{}{rest}", String::from_utf8_lossy(cut).escape_debug())
}

/// Who a nsqlookupd says that it is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct LookupInfo {
    /// Its version.
    pub version: String,
    /// How others reach it.
    pub broadcast_address: String,
    /// Its machine.
    pub hostname: String,
    /// Where it takes the protocol.
    pub tcp_port: u16,
    /// Where it takes HTTP.
    pub http_port: u16,
}

impl LookupInfo {
    /// Reads the answer to IDENTIFY.
    ///
    /// # Errors
    /// When it is no JSON of that shape.
    pub fn parse(answer: &[u8]) -> Result<LookupInfo, Trouble> {
        serde_json::from_slice(answer).map_err(|_| Trouble::NoInfo(shown(answer)))
    }

    /// Where it answers HTTP, if it says so.
    pub fn http_address(&self) -> Option<String> {
        let LookupInfo { broadcast_address, http_port, .. } = self;
        if broadcast_address.is_empty() || *http_port == 0 {
            return None;
        }
        // As the original joins them.
        Some(match broadcast_address.contains(':') {
            true => format!("[{broadcast_address}]:{http_port}"),
            false => format!("{broadcast_address}:{http_port}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ANSWER_BYTES_MAX, Answers, LookupInfo, Trouble};

    fn framed(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap();
        [&length.to_be_bytes(), text.as_bytes()].concat()
    }

    fn all(answers: &mut Answers) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(answer) = answers.take().unwrap() {
            texts.push(String::from_utf8_lossy(answer).into_owned());
        }
        texts
    }

    #[test]
    fn answers_come_whole_however_they_were_cut() {
        let bytes = [framed("OK"), framed(""), framed("E_INVALID x")].concat();
        for size in 1..bytes.len() {
            let mut answers = Answers::default();
            let mut texts = Vec::new();
            for piece in bytes.chunks(size) {
                answers.feed(piece);
                texts.extend(all(&mut answers));
            }
            assert_eq!(texts, ["OK", "", "E_INVALID x"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_length_that_no_answer_has_is_the_end() {
        let above = i32::try_from(ANSWER_BYTES_MAX).unwrap() + 1;
        for length in [-1, i32::MIN, above, i32::MAX, 0x4854_5450] {
            let mut answers = Answers::default();
            answers.feed(&length.to_be_bytes());
            assert_eq!(answers.take(), Err(Trouble::Length(length.into())));
        }
    }

    #[test]
    fn who_it_is_may_say_more_or_less() {
        let text = r#"{"broadcast_address":"::1","hostname":"h","http_port":4161,"x":[]}"#;
        let info = LookupInfo::parse(text.as_bytes()).unwrap();
        assert_eq!(info.http_address().as_deref(), Some("[::1]:4161"));
        assert_eq!(LookupInfo::parse(b"{}").unwrap().http_address(), None);
        let named = LookupInfo { broadcast_address: "l".to_owned(), http_port: 1, ..info };
        assert_eq!(named.http_address().as_deref(), Some("l:1"));
        for bad in [&b"OK"[..], b"", b"[]1", b"{\"tcp_port\":70000}", b"\xff", b"{\"version\":1}"] {
            assert!(matches!(LookupInfo::parse(bad), Err(Trouble::NoInfo(_))), "{bad:?}");
        }
    }
}
