//! Every bound of the client, by name.

use std::time::Duration;

/// The largest frame taken from an nsqd. Its buffer grows with the bytes that came, never ahead.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
/// The smallest frame: four bytes of frame type.
pub const FRAME_BYTES_MIN: usize = 4;
/// Bytes taken from a socket by one read.
pub const READ_BYTES: usize = 64 << 10;
/// A read buffer that grew beyond this for one large message is given back when it is empty.
pub const READ_BUFFER_KEPT_BYTES: usize = 1 << 20;
/// RDY assumed when an nsqd does not say its maximum (NSQ's default).
pub const RDY_DEFAULT_MAX: u32 = 2500;
/// The least number of events that wait for the tool before reading from the nsqds pauses.
pub const EVENTS_WAITING_MIN: usize = 256;
/// The largest number of waiting events, however large `max_in_flight` is.
pub const EVENTS_WAITING_MAX: usize = 65_536;
/// The first pause before connecting again to a lost nsqd; it doubles with each failure.
pub const RECONNECT_DELAY_MIN: Duration = Duration::from_secs(1);
/// How long a clean stop waits for the nsqds.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// The least pause between two polls of nsqlookupd that a lost connection asked for.
pub const LOOKUP_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The largest answer taken from an nsqlookupd.
pub const LOOKUP_BYTES_MAX: usize = 16 << 20;
/// Connections of one consumer per topic; an nsqlookupd that lists more is not followed further.
pub const NSQDS_MAX: usize = 512;
