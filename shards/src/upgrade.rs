//! What IDENTIFY makes of a connection: layers around its socket, which the rim puts there, and
//! room for what they keep in memory.

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{DEFLATE_STATE_BYTES, Options, SNAPPY_STATE_BYTES};
use crate::wire::errors::Refusal;
use crate::wire::identify::Identify;

/// Deflate level when the client does not ask for one (NSQ).
const DEFLATE_LEVEL_DEFAULT: i64 = 6;

/// How what a connection carries is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Snappy's framing format.
    Snappy,
    /// Raw deflate, at this level.
    Deflate(u8),
}

/// The layers around a connection; compression is inside TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// Whether it is encrypted.
    pub tls: bool,
    /// How it is compressed.
    pub compression: Compression,
}

/// What was agreed on with a client that negotiates.
#[derive(Debug, Default)]
pub struct Agreement {
    /// The layers.
    pub upgrade: Upgrade,
    /// Room for them.
    pub share: Option<Share>,
    /// It would have been compressed, but there was no room.
    pub crowded: bool,
}

impl Upgrade {
    /// Whether there is any layer at all.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Upgrade::default()
    }

    /// The level that clients are told, also those that do not compress (NSQ).
    #[must_use]
    pub fn deflate_level(&self, options: &Options) -> i64 {
        match self.compression {
            Compression::Deflate(level) => level.into(),
            _ => DEFLATE_LEVEL_DEFAULT.min(options.max_deflate_level),
        }
    }

    /// What a client gets of what it asks for. Whatever is not there is not given, which is no
    /// error.
    ///
    /// # Errors
    /// When it asks for both kinds of compression, and could have either.
    pub fn negotiate(asked: &Identify, options: &Options) -> Result<Agreement, Refusal> {
        if !asked.feature_negotiation {
            return Ok(Agreement::default());
        }
        let tls = options.tls && asked.tls_v1;
        let wanted = match (options.snappy && asked.snappy, options.deflate && asked.deflate) {
            (true, true) => {
                return Err(Refusal::new(format_args!(
                    "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression"
                )));
            }
            (true, false) => Compression::Snappy,
            (false, true) => Compression::Deflate(level(asked, options)),
            (false, false) => Compression::None,
        };
        let share = options.compression_room.take(wanted.state_bytes());
        let crowded = share.is_none();
        let compression = if crowded { Compression::None } else { wanted };
        Ok(Agreement { upgrade: Upgrade { tls, compression }, share, crowded })
    }
}

/// The level for a client that gets deflate.
fn level(asked: &Identify, options: &Options) -> u8 {
    let wanted = if asked.deflate_level > 0 { asked.deflate_level } else { DEFLATE_LEVEL_DEFAULT };
    u8::try_from(wanted.min(options.max_deflate_level)).unwrap_or(u8::MAX)
}

impl Compression {
    /// What both directions keep in memory, at most.
    fn state_bytes(self) -> usize {
        match self {
            Compression::None => 0,
            Compression::Snappy => SNAPPY_STATE_BYTES,
            Compression::Deflate(_) => DEFLATE_STATE_BYTES,
        }
    }
}

/// How a connection is encrypted, in the original's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encryption {
    /// `TLS1.2`, `TLS1.3`.
    pub version: String,
    /// The name, or `Unknown` and the number.
    pub cipher_suite: String,
    /// The common name in the client's certificate; empty without one.
    pub common_name: String,
}

/// Memory for the state of compressed connections, shared by all workers. It is asked for once
/// for each connection that compresses.
#[derive(Clone, Debug)]
pub struct Room(Arc<AtomicUsize>);

/// A part of it, given back when it is dropped. It travels with its connection.
#[derive(Debug)]
pub struct Share {
    room: Room,
    bytes: usize,
}

impl Room {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Room {
        Room(Arc::new(AtomicUsize::new(bytes)))
    }

    /// A part of what is left, if that is enough.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let less = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(Share { room: self.clone(), bytes })
    }

    /// What is left.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Compression, Room, Upgrade};
    use crate::limits::{DEFLATE_STATE_BYTES, Options};
    use crate::wire::identify::Identify;

    fn asking(change: impl FnOnce(&mut Identify)) -> Identify {
        let mut asked = Identify { feature_negotiation: true, ..Identify::default() };
        change(&mut asked);
        asked
    }

    fn check(options: &Options, asked: &Identify, upgrade: Upgrade) {
        let agreed = Upgrade::negotiate(asked, options).map(|agreed| agreed.upgrade);
        assert_eq!(agreed, Ok(upgrade), "{asked:?}");
    }

    #[test]
    fn what_is_not_there_is_not_given() {
        let options = Options { tls: true, ..Options::default() };
        let everything = asking(|asked| (asked.tls_v1, asked.snappy) = (true, true));
        let both = Upgrade { tls: true, compression: Compression::Snappy };
        check(&options, &everything, both);
        let plain = Options { tls: false, snappy: false, ..Options::default() };
        check(&plain, &everything, Upgrade::default());
        let silent = Identify { feature_negotiation: false, ..everything };
        check(&options, &silent, Upgrade::default());
    }

    #[test]
    fn two_compressions_conflict_only_where_both_are_there() {
        let asked = asking(|asked| (asked.snappy, asked.deflate) = (true, true));
        assert!(Upgrade::negotiate(&asked, &Options::default()).is_err());
        let options = Options { deflate: false, ..Options::default() };
        check(&options, &asked, Upgrade { tls: false, compression: Compression::Snappy });
    }

    #[test]
    fn levels_are_capped_and_never_an_error() {
        let options = Options { max_deflate_level: 7, ..Options::default() };
        for (level, given) in [(0, 6), (-3, 6), (1, 1), (9, 7), (i64::MAX, 7)] {
            let asked = asking(|asked| (asked.deflate, asked.deflate_level) = (true, level));
            let compression = Compression::Deflate(given);
            check(&options, &asked, Upgrade { tls: false, compression });
        }
        let low = Options { max_deflate_level: 2, ..Options::default() };
        assert_eq!(Upgrade::default().deflate_level(&low), 2);
        assert_eq!(Upgrade::default().deflate_level(&options), 6);
    }

    #[test]
    fn without_room_a_connection_is_not_compressed_until_another_ends() {
        let room = Room::new(DEFLATE_STATE_BYTES);
        let options = Options { compression_room: room.clone(), ..Options::default() };
        let asked = asking(|asked| asked.deflate = true);
        let first = Upgrade::negotiate(&asked, &options).unwrap();
        assert_eq!((first.crowded, room.left_bytes()), (false, 0));
        let second = Upgrade::negotiate(&asked, &options).unwrap();
        assert!(second.crowded);
        assert_eq!(second.upgrade, Upgrade::default());
        drop((first, second));
        assert_eq!(room.left_bytes(), DEFLATE_STATE_BYTES);
        assert!(!Upgrade::negotiate(&asked, &options).unwrap().crowded);
    }
}
