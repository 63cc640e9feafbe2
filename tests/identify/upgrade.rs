//! Snappy after IDENTIFY: the recorded bytes, and a conversation in chunks.
//!
//! The other layers are in `upgrade`.

use crate::harness::{Broker, Client, bytes, identify, on_each_peer};

const IDENTIFIER: &str = "<ff060000734e61507059>";
const OK_CHUNK: &str = "<010e0000><26982bcf><0000000600000000>OK";

/// Masked CRC-32C of the framing format, bit by bit.
fn masked_crc(data: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// An uncompressed chunk.
fn chunk(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32 + 4).to_le_bytes();
    let mut out = vec![1, length[0], length[1], length[2]];
    out.extend(masked_crc(data).to_le_bytes());
    out.extend(data);
    out
}

fn snappy(broker: &Broker) -> Client {
    let mut client = Client::new(broker);
    client.send(&identify(r#"{"feature_negotiation":true,"snappy":true}"#));
    assert!(client.frame().describe().contains(r#""snappy":true"#));
    assert_eq!(client.raw(10), bytes(IDENTIFIER));
    assert_eq!(client.raw(18), ok_chunk());
    client.send(&bytes(IDENTIFIER));
    client
}

fn ok_chunk() -> Vec<u8> {
    bytes(OK_CHUNK)
}

#[test]
fn snappy_conversation() {
    assert_eq!(chunk(&bytes("<0000000600000000>OK")), ok_chunk());
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = snappy(&broker);
        client.send(&chunk(&bytes("PUB packed\n<00000005>hello")));
        assert_eq!(client.raw(18), ok_chunk());
        // A command in two chunks, and two commands in one.
        client.send(&chunk(b"PUB pac"));
        client.send(&chunk(&bytes("ked\n<00000001>xNOP\nNOP\n")));
        assert_eq!(client.raw(18), ok_chunk());
        client.send_split(&chunk(&bytes("PUB packed\n<00000001>y")));
        assert_eq!(client.raw(18), ok_chunk());
        assert_eq!(broker.topic("packed")["message_bytes"], 7);
    });
}

/// A damaged chunk ends the connection without a frame.
#[test]
fn snappy_damaged() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = snappy(&broker);
        let mut damaged = chunk(&bytes("PUB packed\n<00000005>hello"));
        damaged[5] ^= 1;
        client.send(&damaged);
        client.closed();
        assert!(broker.topic("packed").is_null());
    });
}
