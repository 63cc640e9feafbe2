//! The error catalogue: every fatal answer but those to publishes, in the order of the checks.

use super::case::State::{Bare, Closing, Init, NoHeartbeats, Subscribed};
use super::case::{Row, check_errors as check};

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
    ]);
}

#[test]
fn identify_with_both_compressions() {
    let row: Row = (
        Init,
        "IDENTIFY\n<00000039>{\"feature_negotiation\":true,\"snappy\":true,\"deflate\":true}",
        "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
    );
    check(&[row]);
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
        (Subscribed, "RDY 18446744073709551615\n", "E_INVALID RDY count -1 out of range 0-2500"),
        (
            Subscribed,
            "RDY 9223372036854775808\n",
            "E_INVALID RDY count -9223372036854775808 out of range 0-2500",
        ),
    ]);
}

const FIN_REQ_TOUCH: &[Row] = &[
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
];

#[test]
fn fin_req_touch() {
    check(FIN_REQ_TOUCH);
}

#[test]
fn cls() {
    check(&[
        (Init, "CLS\n", "E_INVALID cannot CLS in current state"),
        (NoHeartbeats, "CLS\n", "E_INVALID cannot CLS in current state"),
        (Closing, "CLS\n", "E_INVALID cannot CLS in current state"),
    ]);
}
