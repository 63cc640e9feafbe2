//! The body of a request, read piece by piece and never further than its limit.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

/// The most bytes of an unread body that are taken and thrown away so that the connection can
/// serve another request; beyond it the connection is closed.
pub const DISCARDED_BYTES_MAX: u64 = 256 * 1024;

/// A request's body.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    /// The client waits for `100 Continue`, which the first read sends.
    expecting: bool,
    broken: bool,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than allowed.
    TooLong,
    /// The connection broke, or the chunks make no sense.
    Broken,
}

impl Body {
    /// `expecting`: whether the request carries `Expect: 100-continue`.
    #[must_use]
    pub fn new(incoming: Incoming, expecting: bool) -> Body {
        Body { incoming, expecting, broken: false }
    }

    /// How long the client says it is, less what was read; `None` when it comes in chunks.
    #[must_use]
    pub fn declared_bytes(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`BodyError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.expecting = false;
        while let Some(frame) = self.incoming.frame().await {
            // Frames without data are trailers: skipped.
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) if !data.is_empty() => return Ok(Some(data)),
                Ok(_) => {}
                Err(_) => {
                    self.broken = true;
                    return Err(BodyError::Broken);
                }
            }
        }
        Ok(None)
    }

    /// All of it, when it is not longer than `most` bytes.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn read(&mut self, most: u64) -> Result<Vec<u8>, BodyError> {
        let declared = self.declared_bytes();
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            if (bytes.len() + piece.len()) as u64 > most {
                return Err(BodyError::TooLong);
            }
            append(&mut bytes, &piece, declared);
        }
        Ok(bytes)
    }

    /// Reads what is left of it, if that is little. `false`: the connection is of no more use.
    pub async fn discard(&mut self) -> bool {
        if self.broken || self.incoming.is_end_stream() {
            return !self.broken;
        }
        if self.expecting || self.declared_bytes().is_some_and(|left| left > DISCARDED_BYTES_MAX) {
            return false;
        }
        let mut discarded = 0;
        loop {
            match self.next().await {
                Ok(Some(piece)) => discarded += piece.len() as u64,
                Ok(None) => return true,
                Err(_) => return false,
            }
            if discarded > DISCARDED_BYTES_MAX {
                return false;
            }
        }
    }
}

/// Appends a piece of a body that is `declared` bytes long. Space for more than the piece is made
/// only in proportion to what has come, and never beyond what was declared.
pub fn append(bytes: &mut Vec<u8>, piece: &[u8], declared: Option<u64>) {
    let space = space_for(bytes, piece.len(), declared);
    if space > bytes.capacity() {
        bytes.reserve_exact(space - bytes.len());
    }
    bytes.extend_from_slice(piece);
}

/// How much space `bytes` will have when so many more are appended to it.
#[must_use]
pub fn space_for(bytes: &Vec<u8>, more: usize, declared: Option<u64>) -> usize {
    let needed = bytes.len() + more;
    if needed <= bytes.capacity() {
        return bytes.capacity();
    }
    let declared = declared.and_then(|count| usize::try_from(count).ok());
    let target = declared.map_or(needed * 2, |count| count.min(needed * 2));
    // A body that comes in one piece, as most do, gets exactly its size.
    let first_and_last = bytes.is_empty() && declared == Some(needed);
    if first_and_last { needed } else { target.max(needed) }
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn space_follows_what_came_and_stops_at_what_was_declared() {
        let mut bytes = Vec::new();
        append(&mut bytes, b"abc", Some(3));
        assert_eq!(bytes.capacity(), 3);
        let mut bytes = Vec::new();
        append(&mut bytes, &[0; 100], Some(1_000_000));
        assert_eq!(bytes.capacity(), 200);
        for _ in 1..10_000 {
            append(&mut bytes, &[0; 100], Some(1_000_000));
            assert!(bytes.capacity() <= (bytes.len() * 2).min(1_000_000));
        }
        assert_eq!((bytes.len(), bytes.capacity()), (1_000_000, 1_000_000));
        let mut bytes = Vec::new();
        append(&mut bytes, b"more than it said", Some(2));
        assert_eq!(bytes, b"more than it said");
    }
}
