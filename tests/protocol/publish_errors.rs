//! The error catalogue of PUB, DPUB and MPUB, and limits that are options.

use super::case::State::{Closing, Init, Subscribed};
use super::case::{Case, Row, Then, check_errors as check, check_on};
use crate::harness::{Broker, on_each_peer};

#[test]
fn publish() {
    check(&[
        (Init, "PUB\n", "E_INVALID PUB insufficient number of parameters"),
        (Init, "PUB a$b\n", "E_BAD_TOPIC PUB topic name \"a$b\" is not valid"),
        (Init, "PUB  t\n", "E_BAD_TOPIC PUB topic name \"\" is not valid"),
        (Subscribed, "PUB a$b\n", "E_BAD_TOPIC PUB topic name \"a$b\" is not valid"),
        (Init, "PUB t\n<00000000>", "E_BAD_MESSAGE PUB invalid message body size 0"),
        (Init, "PUB t\n<ffffffff>", "E_BAD_MESSAGE PUB invalid message body size -1"),
        (Init, "PUB t\n<00100001>", "E_BAD_MESSAGE PUB message too big 1048577 > 1048576"),
        (Init, "PUB t\n<7fffffff>", "E_BAD_MESSAGE PUB message too big 2147483647 > 1048576"),
        (Closing, "PUB t\n<00000000>", "E_BAD_MESSAGE PUB invalid message body size 0"),
    ]);
}

#[test]
fn deferred_publish() {
    let out_of_range = |sent: &str, shown: &str| {
        let send = format!("DPUB t {sent}\n");
        let error = format!("E_INVALID DPUB timeout {shown} out of range 0-3600000");
        (Init, &*send.leak(), &*error.leak())
    };
    check(&[
        (Init, "DPUB\n", "E_INVALID DPUB insufficient number of parameters"),
        (Init, "DPUB t\n", "E_INVALID DPUB insufficient number of parameters"),
        (Init, "DPUB a$b\n", "E_INVALID DPUB insufficient number of parameters"),
        (Init, "DPUB a$b x\n", "E_BAD_TOPIC DPUB topic name \"a$b\" is not valid"),
        (Init, "DPUB t x\n", "E_INVALID DPUB could not parse timeout x"),
        (Init, "DPUB t -1\n", "E_INVALID DPUB could not parse timeout -1"),
        (Subscribed, "DPUB t 1.5\n", "E_INVALID DPUB could not parse timeout 1.5"),
        out_of_range("3600001", "3600001"),
        out_of_range("18446744073709551615", "18446744073709551615"),
        // Negative once milliseconds have become nanoseconds.
        out_of_range("9223372036855", "9223372036855"),
        (Init, "DPUB t 1\n<00000000>", "E_BAD_MESSAGE DPUB invalid message body size 0"),
        (Init, "DPUB t 1\n<80000000>", "E_BAD_MESSAGE DPUB invalid message body size -2147483648"),
        (Init, "DPUB t 1\n<00100001>", "E_BAD_MESSAGE DPUB message too big 1048577 > 1048576"),
    ]);
}

#[test]
fn multi_publish() {
    check(&[
        (Init, "MPUB\n", "E_INVALID MPUB insufficient number of parameters"),
        (Init, "MPUB a$b\n", "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"a$b\" is not valid"),
        (Init, "MPUB t\n<00000000>", "E_BAD_BODY MPUB invalid body size 0"),
        (Init, "MPUB t\n<ffffffff>", "E_BAD_BODY MPUB invalid body size -1"),
        (Init, "MPUB t\n<00500001>", "E_BAD_BODY MPUB body too big 5242881 > 5242880"),
        (Init, "MPUB t\n<0000000400000000>", "E_BAD_BODY MPUB invalid message count 0"),
        (Init, "MPUB t\n<00000004ffffffff>", "E_BAD_BODY MPUB invalid message count -1"),
        (Init, "MPUB t\n<0000000400100000>", "E_BAD_BODY MPUB invalid message count 1048576"),
        (
            Init,
            "MPUB t\n<00000008000000010000000000>",
            "E_BAD_MESSAGE MPUB invalid message(0) body size 0",
        ),
        (
            Init,
            "MPUB t\n<000000100000000200000001>a<ffffffff>",
            "E_BAD_MESSAGE MPUB invalid message(1) body size -1",
        ),
        (
            Init,
            "MPUB t\n<000000100000000200000001>a<00100001>",
            "E_BAD_MESSAGE MPUB message too big 1048577 > 1048576",
        ),
        (Subscribed, "MPUB t\n<0000000400000000>", "E_BAD_BODY MPUB invalid message count 0"),
    ]);
}

/// The limits are options, and the texts name the option's value.
#[test]
fn limits_follow_the_options() {
    let flags = [
        "--max-msg-size=100",
        "--max-body-size=204",
        "--max-rdy-count=7",
        "--max-req-timeout=2s",
        "--max-channel-consumers=1",
    ];
    let rows: [Row; 8] = [
        (Init, "PUB t\n<00000065>", "E_BAD_MESSAGE PUB message too big 101 > 100"),
        (Init, "DPUB t 2001\n", "E_INVALID DPUB timeout 2001 out of range 0-2000"),
        (Init, "IDENTIFY\n<000000cd>", "E_BAD_BODY IDENTIFY body too big 205 > 204"),
        (Init, "AUTH\n<000000cd>", "E_BAD_BODY AUTH body too big 205 > 204"),
        (Init, "MPUB t\n<000000cd>", "E_BAD_BODY MPUB body too big 205 > 204"),
        // (204 - 4) / 5 messages of one byte fit.
        (Init, "MPUB t\n<0000000400000029>", "E_BAD_BODY MPUB invalid message count 41"),
        (
            Init,
            "MPUB t\n<000000080000000100000065>",
            "E_BAD_MESSAGE MPUB message too big 101 > 100",
        ),
        (Init, "SUB full c\n", "E_SUB_FAILED SUB failed consumers for full:c exceeds limit of 1"),
    ];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &flags);
        let mut first = crate::harness::Client::consumer(&broker, "full", "c", 0);
        for row in &rows {
            let error = format!("error: {}", row.2);
            let replies = [error.as_str()];
            let case = Case { state: row.0, send: row.1, replies: &replies, then: Then::Closed };
            check_on(&broker, peer, &[case]);
        }
        first.command("RDY 8");
        first.expect("error: E_INVALID RDY count 8 out of range 0-7");
        first.closed();
    });
}
