//! Frames, server to client: size, type, data; big-endian.

use alloc::vec::Vec;

/// Bytes of a message frame before the body: size, type, timestamp, attempts, id.
pub const MESSAGE_HEADER_BYTES: usize = 34;
/// Where in a message frame the attempts are.
pub const ATTEMPTS_OFFSET: usize = 16;

const RESPONSE: u32 = 0;
const ERROR: u32 = 1;
const MESSAGE: u32 = 2;

/// The response to everything that just worked.
pub const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";
/// Sent every heartbeat interval.
pub const HEARTBEAT: &[u8] = b"\0\0\0\x0f\0\0\0\0_heartbeat_";
/// The response to CLS.
pub const CLOSE_WAIT: &[u8] = b"\0\0\0\x0e\0\0\0\0CLOSE_WAIT";

/// Appends a response frame.
pub fn response(out: &mut Vec<u8>, body: &[u8]) {
    frame(out, RESPONSE, body);
}

/// Appends an error frame.
pub fn error(out: &mut Vec<u8>, body: &[u8]) {
    frame(out, ERROR, body);
}

fn frame(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    // Bodies are texts of ours that echo at most one line: far below 4 GiB.
    let size = u32::try_from(body.len() + 4).expect("a response fits its frame");
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(body);
}

/// The header of a message frame with no attempts yet.
#[must_use]
pub fn message_header(
    body_bytes: u32,
    timestamp_ns: i64,
    id: &[u8; 16],
) -> [u8; MESSAGE_HEADER_BYTES] {
    let mut header = [0; MESSAGE_HEADER_BYTES];
    header[0..4].copy_from_slice(&(body_bytes + 30).to_be_bytes());
    header[4..8].copy_from_slice(&MESSAGE.to_be_bytes());
    header[8..16].copy_from_slice(&timestamp_ns.to_be_bytes());
    header[18..34].copy_from_slice(id);
    header
}
