//! Bytes that others rely on, pinned: frames as clients get them.

use shards::id;
use shards::wire::frame;

#[test]
fn frames_never_change() {
    assert_eq!(frame::OK, hex("00000006000000004f4b"));
    assert_eq!(frame::HEARTBEAT, hex("0000000f000000005f6865617274626561745f"));
    assert_eq!(frame::CLOSE_WAIT, hex("0000000e00000000434c4f53455f57414954"));
    let mut error = Vec::new();
    frame::error(&mut error, b"E_BAD_PROTOCOL");
    assert_eq!(error, hex("0000001200000001455f4241445f50524f544f434f4c"));
    let mut response = Vec::new();
    frame::response(&mut response, b"{}");
    assert_eq!(response, hex("00000006000000007b7d"));
}

#[test]
fn the_message_header_never_changes() {
    // The original's golden vector: 5 bytes of body, timestamp, attempts, id.
    let header = frame::message_header(5, 0x18ea_9b0d_2a89_80ef, b"18a548f416050000");
    let bytes = "0000002300000002 18ea9b0d2a8980ef 0000 31386135343866343136303530303030";
    assert_eq!(header.to_vec(), hex(bytes));
    assert_eq!(frame::ATTEMPTS_OFFSET, 16);
}

#[test]
fn ids_never_change() {
    assert_eq!(&id::encode(1, 0), b"0000000000000400");
    assert_eq!(&id::encode((1 << 54) - 1, 1023), b"ffffffffffffffff");
    assert_eq!(&id::encode(id::first_sequence(1_780_272_000_000_000_000), 7), b"0172cd0dacc80007");
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let pair =
        |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|t| u8::from_str_radix(t, 16).ok());
    digits.chunks(2).map(|chunk| pair(chunk).expect("two hex digits")).collect()
}
