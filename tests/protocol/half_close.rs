//! The client says that it will send no more: in the middle of a body, of a line, of the magic.

use super::case::State::{self, Bare, Closing, Init, Subscribed};
use super::case::{Case, Delivery, Then, run};
use crate::harness::{Broker, Client, End, SOON, bytes, on_each_peer};

/// What is sent before the half close, and the error that answers it; `""` for none.
type Row = (State, &'static str, &'static str);

fn check(rows: &[Row]) {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        for (state, send, error) in rows {
            for split in [false, true] {
                let got = answer(&broker, *state, send, split);
                assert_eq!(got, *error, "{peer:?} {state:?} {send:?} split {split}");
            }
        }
    });
}

fn answer(broker: &Broker, state: State, send: &str, split: bool) -> String {
    let mut client = Client::bare(broker.tcp);
    let before = match state {
        Bare => "",
        Subscribed => "  V2SUB half c\n",
        Closing => "  V2SUB half c\nCLS\n",
        _ => "  V2",
    };
    let all = [bytes(before), bytes(send)].concat();
    if split {
        client.send_split(&all);
    } else {
        client.send(&all);
    }
    client.half_close();
    let mut error = String::new();
    loop {
        match client.next(SOON) {
            Ok(frame) => match frame.describe().strip_prefix("error: ") {
                Some(text) => error.push_str(text),
                None => assert_eq!(error, "", "nothing follows an error"),
            },
            Err(end) => {
                assert_eq!(end, End::Closed);
                return error;
            }
        }
    }
}

const IN_A_BODY: &[Row] = &[
    (Init, "IDENTIFY\n", "E_BAD_BODY IDENTIFY failed to read body size"),
    (Init, "IDENTIFY\n<000000>", "E_BAD_BODY IDENTIFY failed to read body size"),
    (Init, "IDENTIFY\n<00000002>", "E_BAD_BODY IDENTIFY failed to read body"),
    (Init, "IDENTIFY\n<00000002>{", "E_BAD_BODY IDENTIFY failed to read body"),
    (Init, "AUTH\n<0000>", "E_BAD_BODY AUTH failed to read body size"),
    (Init, "AUTH\n<00000002>x", "E_BAD_BODY AUTH failed to read body"),
    (Init, "PUB t\n", "E_BAD_MESSAGE PUB failed to read message body size"),
    (Init, "PUB t\n<000000>", "E_BAD_MESSAGE PUB failed to read message body size"),
    (Init, "PUB t\n<00000005>", "E_BAD_MESSAGE PUB failed to read message body"),
    (Init, "PUB t\n<00000005>hell", "E_BAD_MESSAGE PUB failed to read message body"),
    (Subscribed, "PUB t\n<00000005>hell", "E_BAD_MESSAGE PUB failed to read message body"),
    (Closing, "PUB t\n", "E_BAD_MESSAGE PUB failed to read message body size"),
    (Init, "DPUB t 9\n<00>", "E_BAD_MESSAGE DPUB failed to read message body size"),
    (Init, "DPUB t 9\n<00000005>h", "E_BAD_MESSAGE DPUB failed to read message body"),
    (Init, "MPUB t\n", "E_BAD_BODY MPUB failed to read body size"),
    (Init, "MPUB t\n<000000>", "E_BAD_BODY MPUB failed to read body size"),
    (Init, "MPUB t\n<00000009>", "E_BAD_BODY MPUB failed to read message count"),
    (Init, "MPUB t\n<000000090000>", "E_BAD_BODY MPUB failed to read message count"),
    (Init, "MPUB t\n<0000000900000001>", "E_BAD_MESSAGE MPUB failed to read message(0) body size"),
    (
        Init,
        "MPUB t\n<0000001000000002><00000001>a<0000>",
        "E_BAD_MESSAGE MPUB failed to read message(1) body size",
    ),
    (
        Init,
        "MPUB t\n<0000001000000002><00000001>a<00000002>b",
        "E_BAD_MESSAGE MPUB failed to read message body",
    ),
];

#[test]
fn in_a_body() {
    check(IN_A_BODY);
}

#[test]
fn in_a_line_or_between_commands() {
    check(&[
        (Bare, "", ""),
        (Bare, " ", ""),
        (Bare, "  V", ""),
        (Bare, "XXX", ""),
        (Init, "", ""),
        (Init, "PUB t", ""),
        (Init, "BOGUS", ""),
        (Init, "NOP\r", ""),
        (Subscribed, "", ""),
        (Subscribed, "RDY 1\nFI", ""),
        (Closing, "NO", ""),
    ]);
}

/// What came whole before the end is still done and answered.
#[test]
fn commands_before_the_end_count() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let mut client = Client::new(&broker);
        let mut all = Vec::new();
        for number in 0..100 {
            all.extend(crate::harness::publish("counted", format!("{number}").as_bytes()));
        }
        all.extend(b"PUB counted");
        client.send(&all);
        client.half_close();
        for _ in 0..100 {
            client.ok();
        }
        client.closed();
        assert_eq!(broker.topic("counted")["message_count"], 100);
    });
}

/// An error frame arrives although bytes behind the faulty command were never looked at.
#[test]
fn error_with_more_behind_it() {
    let more = format!("BOGUS\n{}", "NOP\n".repeat(1000));
    let error = ["error: E_INVALID invalid command BOGUS"];
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let case = Case { state: Init, send: &more, replies: &error, then: Then::Closed };
        run(&broker, &case, Delivery::Whole).unwrap();
    });
}
