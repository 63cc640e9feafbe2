//! Recorded exchanges, byte for byte; ids and timestamps are masked, since they differ.

use std::collections::HashMap;
use std::time::Duration;

use super::case::Delivery;
use crate::harness::{Broker, Client, on_each_peer};

/// One connection's exchange: `C` lines are sent, `S` lines have to come.
///
/// Bytes are hex or `"text"`; spaces do not count. In what comes, `ts` stands for any eight bytes
/// and `id` for sixteen, which a later `id` in what is sent repeats. `-` stands for nothing.
type Transcript = &'static [&'static str];

fn check(transcripts: &[Transcript]) {
    on_each_peer(|peer| {
        for delivery in [Delivery::Whole, Delivery::Split, Delivery::Pipelined] {
            let broker = Broker::start(peer, &["--node-id=5"]);
            for transcript in transcripts {
                replay(&broker, transcript, delivery);
            }
        }
    });
}

fn replay(broker: &Broker, transcript: Transcript, delivery: Delivery) {
    let mut client = Client::bare(broker.tcp);
    let mut captured = HashMap::new();
    for (at, line) in transcript.iter().enumerate() {
        let (side, text) = line.split_at(2);
        let wanted = tokens(text);
        if side == "S " {
            receive(&mut client, &wanted, &mut captured, line, delivery);
            continue;
        }
        let sent: Vec<u8> = wanted.iter().flat_map(|token| token.known(&captured)).collect();
        match delivery {
            Delivery::Split => client.send_split(&sent),
            Delivery::Pipelined if at > 0 => {
                client.send(&[b"NOP\nPUB aside\n\0\0\0\x01xNOP\n", &sent[..]].concat());
                let ok = b"\0\0\0\x06\0\0\0\0OK";
                assert_eq!(client.raw(ok.len()), ok, "publish before {line}");
            }
            _ => client.send(&sent),
        }
    }
}

fn receive(
    client: &mut Client,
    wanted: &[Token],
    captured: &mut HashMap<&'static str, Vec<u8>>,
    line: &str,
    delivery: Delivery,
) {
    if wanted.is_empty() {
        return client.silent(Duration::from_millis(200));
    }
    for token in wanted {
        let got = client.raw(token.length());
        match token {
            Token::Bytes(bytes) => assert_eq!(hex(&got), hex(bytes), "{delivery:?} {line}"),
            Token::Masked(name, _) => {
                captured.insert(name, got);
            }
        }
    }
}

enum Token {
    Bytes(Vec<u8>),
    Masked(&'static str, usize),
}

impl Token {
    fn length(&self) -> usize {
        match self {
            Token::Bytes(bytes) => bytes.len(),
            Token::Masked(_, length) => *length,
        }
    }

    fn known(&self, captured: &HashMap<&'static str, Vec<u8>>) -> Vec<u8> {
        match self {
            Token::Bytes(bytes) => bytes.clone(),
            Token::Masked(name, _) => captured[name].clone(),
        }
    }
}

fn tokens(text: &'static str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('"') {
            Some(quoted) => quoted.find('"').unwrap() + 2,
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        let (word, behind) = rest.split_at(end);
        rest = behind.trim_start();
        tokens.push(match word {
            "-" => continue,
            "ts" => Token::Masked("ts", 8),
            "id" => Token::Masked("id", 16),
            text if text.starts_with('"') => Token::Bytes(text.as_bytes()[1..end - 1].to_vec()),
            digits => Token::Bytes(unhex(digits)),
        });
    }
    tokens
}

fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "{digits}");
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn identify() {
    check(&[
        &["C 20205632 4944454e544946590a 00000002 7b7d", "S 00000006 00000000 4f4b"],
        &[
            "C 20205632",
            "C 4944454e544946590a 0000003d \
             7b22636c69656e745f6964223a226776222c22686f73746e616d65223a226776222c\
             22666561747572655f6e65676f74696174696f6e223a747275657d",
            "S 00000134 00000000",
            "S 7b 226d61785f7264795f636f756e74223a 32353030 2c 2276657273696f6e223a \
             22312e332e30222c",
            "S 226d61785f6d73675f74696d656f7574223a 393030303030 2c",
            "S 226d73675f74696d656f7574223a 3630303030 2c 22746c735f7631223a 66616c7365 2c",
            "S 226465666c617465223a 66616c7365 2c 226465666c6174655f6c6576656c223a 36 2c",
            "S 226d61785f6465666c6174655f6c6576656c223a 36 2c 22736e61707079223a 66616c7365 2c",
            "S 2273616d706c655f72617465223a 30 2c 22617574685f7265717569726564223a 66616c7365",
            "S 2c 226f75747075745f6275666665725f73697a65223a 3136333834 2c",
            "S 226f75747075745f6275666665725f74696d656f7574223a 323530 2c",
            "S 22746f706f6c6f67795f726567696f6e223a 2222 2c 22746f706f6c6f67795f7a6f6e65223a \
             2222 7d",
        ],
    ]);
}

#[test]
fn heartbeat() {
    check(&[&[
        "C 20205632 4944454e544946590a 0000001b \
         7b226865617274626561745f696e74657276616c223a313030307d",
        "S 00000006 00000000 4f4b",
        "S 0000000f 00000000 5f6865617274626561745f",
    ]]);
}

#[test]
fn publish_and_consume() {
    check(&[
        &[
            "C 20205632",
            "C 505542206776 0a 00000005 68656c6c6f",
            "S 00000006 00000000 4f4b",
            "C 4d505542206776 0a 0000000f 00000002 00000001 61 00000002 6262",
            "S 00000006 00000000 4f4b",
            "C 445055422067762031303030 0a 00000001 64",
            "S 00000006 00000000 4f4b",
            "C 4e4f500a",
            "S -",
        ],
        &[
            "C 20205632",
            "C 535542206776206368 0a",
            "S 00000006 00000000 4f4b",
            "C 52445920310a",
            "S 00000023 00000002 ts 0001 id 68656c6c6f",
            "C 544f55434820 id 0a",
            "C 46494e20 id 0a",
            "S 0000001f 00000002 ts 0001 id 61",
            "C 46494e20 id 0a",
            "S 00000020 00000002 ts 0001 id 6262",
            "C 46494e20 id 0a",
            "S 0000001f 00000002 ts 0001 id 64",
            "C 52455120 id 20300a",
            "S 0000001f 00000002 ts 0002 id 64",
            "C 46494e20 id 0a",
            "C 46494e20 30313233343536373839616263646566 0a",
            "S 0000003d 00000001 455f46494e5f4641494c45442046494e20\
             30313233343536373839616263646566\
             206661696c6564204944206e6f7420696e20666c69676874",
            "C 434c530a",
            "S 0000000e 00000000 434c4f53455f57414954",
        ],
    ]);
}

#[test]
fn errors() {
    check(&[
        &["C 48545450", "S 00000012 00000001 455f4241445f50524f544f434f4c"],
        &[
            "C 20205632",
            "C 424f4755530a",
            "S 00000023 00000001 \"E_INVALID invalid command BOGUS\"",
        ],
        &["C 20205632", "C 0a", "S 0000001e 00000001 \"E_INVALID invalid command \""],
        &[
            "C 20205632",
            "C 505542206124620a",
            "S 00000031 00000001 \"E_BAD_TOPIC PUB topic name \" 22 \"a$b\" 22 \" is not valid\"",
        ],
        &[
            "C 20205632",
            "C 4d505542206124620a",
            "S 0000003e 00000001 \"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \" 22 \"a$b\" 22 \
             \" is not valid\"",
        ],
        &[
            "C 20205632",
            "C 53554220742063210a",
            "S 00000034 00000001 \"E_BAD_CHANNEL SUB channel name \" 22 \"c!\" 22 \
             \" is not valid\"",
        ],
        &[
            "C 20205632",
            "C 50554220740a 00000000",
            "S 00000031 00000001 \"E_BAD_MESSAGE PUB invalid message body size 0\"",
        ],
        &[
            "C 20205632",
            "C 50554220740a 00100001",
            "S 00000037 00000001 \"E_BAD_MESSAGE PUB message too big 1048577 > 1048576\"",
        ],
        &[
            "C 20205632",
            "C 52445920310a",
            "S 00000029 00000001 \"E_INVALID cannot RDY in current state\"",
        ],
        &[
            "C 20205632",
            "C 4944454e544946590a 00000001 7b",
            "S 00000032 00000001 \"E_BAD_BODY IDENTIFY failed to decode JSON body\"",
        ],
    ]);
}
