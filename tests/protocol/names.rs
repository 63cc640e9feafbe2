//! Names of topics and channels: what is valid, and how an invalid one is quoted.

use super::case::State::Init;
use super::case::{Case, Then, check_all, check_on};
use crate::harness::{Broker, Client, on_each_peer};

const LONGEST: &str = "abcdefghijklmnopqrstuvwxyz.ABCDEFGHIJKLMNOPQRSTUVWXYZ-_012345678";
const LONGEST_EPHEMERAL: &str = "abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_#ephemeral";

#[test]
fn valid() {
    assert_eq!((LONGEST.len(), LONGEST_EPHEMERAL.len()), (64, 64));
    let names =
        ["a", "0", ".", "-", "_", "..", "a.b-c_d", LONGEST, "a#ephemeral", LONGEST_EPHEMERAL];
    let lines: Vec<[String; 4]> = names
        .iter()
        .map(|name| {
            [
                format!("PUB {name}\n<00000001>x"),
                format!("DPUB {name} 0\n<00000001>x"),
                format!("MPUB {name}\n<000000090000000100000001>x"),
                format!("SUB {name} {name}\n"),
            ]
        })
        .collect();
    let cases: Vec<Case<'_>> = lines
        .iter()
        .flatten()
        .map(|send| Case { state: Init, send, replies: &["OK"], then: Then::Open })
        .collect();
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        // They keep the ephemeral channels from going while the next client subscribes.
        let _keepers = names.map(|name| Client::consumer(&broker, name, name, 0));
        check_on(&broker, peer, &cases);
    });
}

#[test]
fn invalid() {
    let too_long = format!("{LONGEST}x");
    let too_long_ephemeral = format!("x{LONGEST_EPHEMERAL}");
    // As it is sent, and as it is quoted.
    let names = [
        ("", ""),
        (too_long.as_str(), too_long.as_str()),
        (&too_long_ephemeral, &too_long_ephemeral),
        ("#ephemeral", "#ephemeral"),
        ("a#", "a#"),
        ("a#Ephemeral", "a#Ephemeral"),
        ("a#ephemeral#ephemeral", "a#ephemeral#ephemeral"),
        ("a#ephemeralx", "a#ephemeralx"),
        ("a/b", "a/b"),
        ("a:b", "a:b"),
        ("a*", "a*"),
        ("a\"b", "a\\\"b"),
        ("a\\b", "a\\\\b"),
        ("<07><08><09><0b><0c><0d>!", "\\a\\b\\t\\v\\f\\r!"),
        ("<00><01><1f><7f>", "\\x00\\x01\\x1f\\x7f"),
        ("<ff>a<c3>", "\\xffa\\xc3"),
        ("<ed><a0><80>", "\\xed\\xa0\\x80"),
        ("é日", "é日"),
        ("<c2a0>", "\\u00a0"),
        ("<e2808b>", "\\u200b"),
        ("<e280a8>", "\\u2028"),
        ("<efbfbd>", "\u{fffd}"),
        ("<f09f90a0>", "🐠"),
        ("<f3a08081>", "\\U000e0001"),
        ("<ee8080>", "\\ue000"),
    ];
    let rows: Vec<(String, String)> = names
        .iter()
        .flat_map(|(name, quoted)| {
            let topic = |code: &str, command: &str| {
                format!("error: {code} {command} topic name \"{quoted}\" is not valid")
            };
            [
                (format!("PUB {name}\n"), topic("E_BAD_TOPIC", "PUB")),
                (format!("DPUB {name} 0\n"), topic("E_BAD_TOPIC", "DPUB")),
                (format!("MPUB {name}\n"), topic("E_BAD_TOPIC E_BAD_TOPIC", "MPUB")),
                (format!("SUB {name} c\n"), topic("E_BAD_TOPIC", "SUB")),
                (
                    format!("SUB t {name}\n"),
                    format!("error: E_BAD_CHANNEL SUB channel name \"{quoted}\" is not valid"),
                ),
            ]
        })
        .collect();
    let replies: Vec<[&str; 1]> = rows.iter().map(|row| [row.1.as_str()]).collect();
    let cases: Vec<Case<'_>> = rows
        .iter()
        .zip(&replies)
        .map(|(row, replies)| Case { state: Init, send: &row.0, replies, then: Then::Closed })
        .collect();
    check_all(&cases);
}
