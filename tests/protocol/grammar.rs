//! The grammar of command lines where it is generous: line ends, spaces, numbers, long lines.

use super::case::State::{Bare, Closing, Init, Subscribed};
use super::case::{Case, Then, check_all, check_on};
use crate::harness::{Broker, Client, SOON, eventually, on_each_peer};

fn open<'a>(state: super::case::State, send: &'a str, replies: &'a [&'a str]) -> Case<'a> {
    Case { state, send, replies, then: Then::Open }
}

#[test]
fn accepted_lines() {
    check_all(&[
        open(Init, "NOP\n", &[]),
        open(Init, "NOP\r\n", &[]),
        open(Init, "NOP \n", &[]),
        open(Init, "NOP a b\n", &[]),
        open(Init, "NOP\nNOP\r\nNOP\n", &[]),
        open(Init, "PUB t\r\n<00000001>x", &["OK"]),
        open(Init, "PUB t \n<00000001>x", &["OK"]),
        open(Init, "PUB t more and more\n<00000001>x", &["OK"]),
        open(Init, "DPUB t 5 more\n<00000001>x", &["OK"]),
        open(Init, "DPUB t \n<00000001>x", &["OK"]),
        open(Init, "DPUB t 3600000\n<00000001>x", &["OK"]),
        open(Init, "DPUB t 18446744073709551617\n<00000001>x", &["OK"]),
        open(Init, "MPUB t more\n<000000090000000100000001>x", &["OK"]),
        open(Init, "IDENTIFY now please\n<00000002>{}", &["OK"]),
        open(Init, "IDENTIFY\n<00000002>{}IDENTIFY\n<00000002>{}", &["OK", "OK"]),
        open(Init, "PUB t\n<00000001>xIDENTIFY\n<00000002>{}", &["OK", "OK"]),
        open(Init, "SUB t c more\n", &["OK"]),
        open(Init, "SUB t c\r\n", &["OK"]),
        open(Init, "PUB t\n<00000001>\nNOP\nPUB t\n<00000002>\n\n", &["OK", "OK"]),
        open(Subscribed, "RDY\nRDY \nRDY 0\r\n", &[]),
        open(Subscribed, "PUB t\n<00000001>x", &["OK"]),
        open(Subscribed, "CLS more\n", &["CLOSE_WAIT"]),
        open(Closing, "NOP\n", &[]),
        open(Closing, "PUB t\n<00000001>x", &["OK"]),
        open(Closing, "DPUB t 1\n<00000001>x", &["OK"]),
    ]);
}

/// After CLS a RDY is not looked at: no answer, whatever it says.
#[test]
fn rdy_is_ignored_after_cls() {
    check_all(&[
        open(Closing, "RDY 1\n", &[]),
        open(Closing, "RDY x\n", &[]),
        open(Closing, "RDY 9999999\n", &[]),
    ]);
}

/// A line may have 16,384 bytes with its LF; beyond that the connection ends without a frame.
#[test]
fn longest_line() {
    let longest = format!("NOP {}\n", "x".repeat(16_379));
    assert_eq!(longest.len(), 16_384);
    let too_long = format!("NOP {}\n", "x".repeat(16_380));
    let no_end = "x".repeat(16_384);
    let unknown = format!("{}\n", "x".repeat(16_383));
    let invalid = format!("error: E_INVALID invalid command {}", "x".repeat(16_383));
    check_all(&[
        open(Init, &longest, &[]),
        open(Subscribed, &longest, &[]),
        Case { state: Init, send: &unknown, replies: &[&invalid], then: Then::Closed },
        Case { state: Subscribed, send: &too_long, replies: &[], then: Then::Closed },
        Case { state: Init, send: &no_end, replies: &[], then: Then::Closed },
        Case { state: Init, send: &too_long, replies: &[], then: Then::Closed },
    ]);
}

/// The greeting is not checked before all four bytes are there.
#[test]
fn magic_in_pieces() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let case = open(Bare, "  V2PUB t\n<00000001>x", &["OK"]);
        check_on(&broker, peer, &[case]);
        let mut client = Client::bare(broker.tcp);
        client.send(b"X");
        client.silent(std::time::Duration::from_millis(300));
        client.send(b"XXX");
        client.expect("error: E_BAD_PROTOCOL");
        client.closed();
    });
}

/// Digits only, empty is nought, and 64 bits wrap around silently.
#[test]
fn numbers() {
    let rows = [
        ("RDY", 1),
        ("RDY ", 0),
        ("RDY 7", 7),
        ("RDY 7\r", 7),
        ("RDY 0005", 5),
        ("RDY 2500", 2500),
        ("RDY 5 6", 5),
        ("RDY  6", 0),
        ("RDY 18446744073709551616", 0),
        ("RDY 18446744073709551617", 1),
        ("RDY 184467440737095516170", 10),
    ];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::consumer(&broker, "numbers", "c", 99);
        for (line, ready) in rows {
            client.command("RDY 99");
            client.command(line);
            eventually(&format!("{line:?} = {ready}"), SOON, || {
                client.alive();
                broker.channel("numbers", "c")["clients"][0]["ready_count"] == ready
            });
        }
    });
}
