//! The error catalogue: every fatal answer, in the order in which the broker makes its checks.

use super::case::State::{self, Bare, Closing, Init, NoHeartbeats, Subscribed};
use super::case::{Case, Then, check_all, check_on};
use crate::harness::{Broker, on_each_peer};

/// Where the connection stands, what is sent, and the error that closes it.
type Row = (State, &'static str, &'static str);

/// Checks rows that end in one error frame and the end of the connection.
fn check(rows: &[Row]) {
    let errors: Vec<String> = rows.iter().map(|row| format!("error: {}", row.2)).collect();
    let replies: Vec<[&str; 1]> = errors.iter().map(|error| [error.as_str()]).collect();
    let cases: Vec<Case<'_>> = rows
        .iter()
        .zip(&replies)
        .map(|(row, replies)| Case { state: row.0, send: row.1, replies, then: Then::Closed })
        .collect();
    check_all(&cases);
}

#[test]
fn magic_and_dispatch() {
    check(&[
        (Bare, "HTTP", "E_BAD_PROTOCOL"),
        (Bare, "  V1", "E_BAD_PROTOCOL"),
        (Bare, " V2 ", "E_BAD_PROTOCOL"),
        (Bare, "<00000000>", "E_BAD_PROTOCOL"),
        (Init, "BOGUS\n", "E_INVALID invalid command BOGUS"),
        (Init, "BOGUS a b c\n", "E_INVALID invalid command BOGUS"),
        (Init, "\n", "E_INVALID invalid command "),
        (Init, "\r\n", "E_INVALID invalid command "),
        (Init, " NOP\n", "E_INVALID invalid command "),
        (Init, "nop\n", "E_INVALID invalid command nop"),
        (Init, "Pub t\n", "E_INVALID invalid command Pub"),
        (Init, "NOPE\n", "E_INVALID invalid command NOPE"),
        (Init, "NO\n", "E_INVALID invalid command NO"),
        (Init, "NOP\r\r\n", "E_INVALID invalid command NOP<0d>"),
        (Init, "NOP\t\n", "E_INVALID invalid command NOP<09>"),
        (Init, "<ff><00>\n", "E_INVALID invalid command <ff><00>"),
        (Init, "é\n", "E_INVALID invalid command é"),
        (Subscribed, "BOGUS\n", "E_INVALID invalid command BOGUS"),
        (Closing, "\n", "E_INVALID invalid command "),
    ]);
}

#[test]
fn identify() {
    check(&[
        (Subscribed, "IDENTIFY\n", "E_INVALID cannot IDENTIFY in current state"),
        (Subscribed, "IDENTIFY\n<00000002>{}", "E_INVALID cannot IDENTIFY in current state"),
        (Closing, "IDENTIFY\n", "E_INVALID cannot IDENTIFY in current state"),
        (Init, "IDENTIFY\n<00500001>", "E_BAD_BODY IDENTIFY body too big 5242881 > 5242880"),
        (Init, "IDENTIFY\n<7fffffff>", "E_BAD_BODY IDENTIFY body too big 2147483647 > 5242880"),
        (Init, "IDENTIFY\n<00000000>", "E_BAD_BODY IDENTIFY invalid body size 0"),
        (Init, "IDENTIFY\n<ffffffff>", "E_BAD_BODY IDENTIFY invalid body size -1"),
        (Init, "IDENTIFY\n<80000000>", "E_BAD_BODY IDENTIFY invalid body size -2147483648"),
        (Init, "IDENTIFY\n<00000001>{", "E_BAD_BODY IDENTIFY failed to decode JSON body"),
        (
            Init,
            "IDENTIFY\n<00000039>{\"feature_negotiation\":true,\"snappy\":true,\"deflate\":true}",
            "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
        ),
    ]);
}

#[test]
fn auth_without_an_auth_server() {
    check(&[
        (Subscribed, "AUTH\n<00000001>x", "E_INVALID cannot AUTH in current state"),
        (Closing, "AUTH\n", "E_INVALID cannot AUTH in current state"),
        (Subscribed, "AUTH x\n", "E_INVALID cannot AUTH in current state"),
        (Init, "AUTH x\n", "E_INVALID AUTH invalid number of parameters"),
        (Init, "AUTH \n", "E_INVALID AUTH invalid number of parameters"),
        (Init, "AUTH\n<00500001>", "E_BAD_BODY AUTH body too big 5242881 > 5242880"),
        (Init, "AUTH\n<00000000>", "E_BAD_BODY AUTH invalid body size 0"),
        (Init, "AUTH\n<fffffffe>", "E_BAD_BODY AUTH invalid body size -2"),
        (Init, "AUTH\n<00000001>x", "E_AUTH_DISABLED AUTH disabled"),
    ]);
}

#[test]
fn sub() {
    check(&[
        (Subscribed, "SUB t c\n", "E_INVALID cannot SUB in current state"),
        (Subscribed, "SUB\n", "E_INVALID cannot SUB in current state"),
        (Closing, "SUB t c\n", "E_INVALID cannot SUB in current state"),
        (NoHeartbeats, "SUB t c\n", "E_INVALID cannot SUB with heartbeats disabled"),
        (NoHeartbeats, "SUB\n", "E_INVALID cannot SUB with heartbeats disabled"),
        (Init, "SUB\n", "E_INVALID SUB insufficient number of parameters"),
        (Init, "SUB t\n", "E_INVALID SUB insufficient number of parameters"),
        (Init, "SUB a$b c\n", "E_BAD_TOPIC SUB topic name \"a$b\" is not valid"),
        (Init, "SUB a$b c!\n", "E_BAD_TOPIC SUB topic name \"a$b\" is not valid"),
        (Init, "SUB  c\n", "E_BAD_TOPIC SUB topic name \"\" is not valid"),
        (Init, "SUB t \n", "E_BAD_CHANNEL SUB channel name \"\" is not valid"),
        (Init, "SUB t c!\n", "E_BAD_CHANNEL SUB channel name \"c!\" is not valid"),
        (Init, "SUB t c\r\r\n", "E_BAD_CHANNEL SUB channel name \"c\\r\" is not valid"),
    ]);
}

#[test]
fn rdy() {
    check(&[
        (Init, "RDY 1\n", "E_INVALID cannot RDY in current state"),
        (Init, "RDY x\n", "E_INVALID cannot RDY in current state"),
        (Subscribed, "RDY x\n", "E_INVALID RDY could not parse count x"),
        (Subscribed, "RDY -1\n", "E_INVALID RDY could not parse count -1"),
        (Subscribed, "RDY +1\n", "E_INVALID RDY could not parse count +1"),
        (Subscribed, "RDY 1.0\n", "E_INVALID RDY could not parse count 1.0"),
        (Subscribed, "RDY <ff>\n", "E_INVALID RDY could not parse count <ff>"),
        (Subscribed, "RDY 2501\n", "E_INVALID RDY count 2501 out of range 0-2500"),
        (
            Subscribed,
            "RDY 18446744073709551615\n",
            "E_INVALID RDY count -1 out of range 0-2500",
        ),
        (
            Subscribed,
            "RDY 9223372036854775808\n",
            "E_INVALID RDY count -9223372036854775808 out of range 0-2500",
        ),
    ]);
}

#[test]
fn fin_req_touch() {
    check(&[
        (Init, "FIN 0123456789abcdef\n", "E_INVALID cannot FIN in current state"),
        (Init, "FIN\n", "E_INVALID cannot FIN in current state"),
        (Init, "REQ 0123456789abcdef 0\n", "E_INVALID cannot REQ in current state"),
        (Init, "REQ\n", "E_INVALID cannot REQ in current state"),
        (Init, "TOUCH 0123456789abcdef\n", "E_INVALID cannot TOUCH in current state"),
        (Init, "TOUCH\n", "E_INVALID cannot TOUCH in current state"),
        (Subscribed, "FIN\n", "E_INVALID FIN insufficient number of params"),
        (Subscribed, "TOUCH\n", "E_INVALID TOUCH insufficient number of params"),
        (Subscribed, "REQ\n", "E_INVALID REQ insufficient number of params"),
        (Subscribed, "REQ 0123456789abcdef\n", "E_INVALID REQ insufficient number of params"),
        (Subscribed, "REQ short\n", "E_INVALID REQ insufficient number of params"),
        (Closing, "FIN\n", "E_INVALID FIN insufficient number of params"),
        (Subscribed, "FIN \n", "E_INVALID invalid message ID"),
        (Subscribed, "FIN 0123456789abcde\n", "E_INVALID invalid message ID"),
        (Subscribed, "FIN 0123456789abcdef0\n", "E_INVALID invalid message ID"),
        (Subscribed, "FIN  0123456789abcdef\n", "E_INVALID invalid message ID"),
        (Subscribed, "TOUCH 1\n", "E_INVALID invalid message ID"),
        (Subscribed, "REQ 1 0\n", "E_INVALID invalid message ID"),
        (Subscribed, "REQ 1 x\n", "E_INVALID invalid message ID"),
        (Closing, "REQ 1 0\n", "E_INVALID invalid message ID"),
        (Closing, "TOUCH 1\n", "E_INVALID invalid message ID"),
        (Subscribed, "REQ 0123456789abcdef x\n", "E_INVALID REQ could not parse timeout x"),
        (Subscribed, "REQ 0123456789abcdef -1\n", "E_INVALID REQ could not parse timeout -1"),
        (Closing, "REQ 0123456789abcdef 1s\n", "E_INVALID REQ could not parse timeout 1s"),
    ]);
}

#[test]
fn cls() {
    check(&[
        (Init, "CLS\n", "E_INVALID cannot CLS in current state"),
        (NoHeartbeats, "CLS\n", "E_INVALID cannot CLS in current state"),
        (Closing, "CLS\n", "E_INVALID cannot CLS in current state"),
    ]);
}

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
        (
            Init,
            "MPUB a$b\n",
            "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"a$b\" is not valid",
        ),
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
        (
            Subscribed,
            "MPUB t\n<0000000400000000>",
            "E_BAD_BODY MPUB invalid message count 0",
        ),
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
        (
            Init,
            "SUB full c\n",
            "E_SUB_FAILED SUB failed consumers for full:c exceeds limit of 1",
        ),
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
