//! nsq_tail's flags and options.

use std::ffi::OsString;

use super::flag::{Flag, Group, Program};
use super::settings::Settings;
use super::stop::Stop;
use super::value::Kind::{Bool, Int, Text, Texts};
use super::version;

/// nsq_tail as the command line sees it.
pub static NSQ_TAIL: Program = Program {
    name: "nsq_tail",
    about: "Prints the messages of topics as they come.",
    version_line: version::tool_line,
    groups: &[
        Group { title: "What", flags: WHAT },
        Group { title: "Where from", flags: WHERE_FROM },
    ],
};

const WHAT: &[Flag] = &[
    Flag::new("version", Bool, "false", "Print the version and exit").only_flag(),
    Flag::list("topic", Texts, "A topic; may be repeated"),
    Flag::new("channel", Text, "", "The channel on each topic")
        .computed("a random one that vanishes afterwards"),
    Flag::new("n", Int, "0", "Stop after this many messages of a topic; 0 for never"),
    Flag::new("print-topic", Bool, "false", "Print the topic in front of each message"),
];

const WHERE_FROM: &[Flag] = &[
    Flag::list("nsqd-tcp-address", Texts, "A nsqd's TCP address; may be repeated"),
    Flag::list("lookupd-http-address", Texts, "A nsqlookupd's HTTP address; may be repeated"),
    Flag::new("max-in-flight", Int, "200", "Messages that may be on their way at once"),
    Flag::list(
        "consumer-opt",
        Texts,
        "An option of the client library, as <name>,<value>; may be repeated",
    ),
];

/// What nsq_tail is told; the tool checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailOptions {
    /// `--channel`; a random ephemeral one when empty.
    pub channel: String,
    /// `--consumer-opt`, each `name,value`.
    pub consumer_opts: Vec<String>,
    /// `--lookupd-http-address`.
    pub lookupd_http_addresses: Vec<String>,
    /// `--max-in-flight`, per topic.
    pub max_in_flight: i64,
    /// `--n`: stop after so many messages of one topic; 0 is never.
    pub message_count: i64,
    /// `--nsqd-tcp-address`.
    pub nsqd_tcp_addresses: Vec<String>,
    /// `--print-topic`: put `topic | ` in front of each message.
    pub print_topic: bool,
    /// `--topic`.
    pub topics: Vec<String>,
}

impl TailOptions {
    /// Reads the arguments after the program's name. The second part is what to warn of.
    pub fn load(args: &[OsString]) -> Result<(TailOptions, Vec<String>), Stop> {
        let settings = Settings::load(&NSQ_TAIL, args)?;
        let options = TailOptions {
            channel: settings.text_if_given("channel").unwrap_or_default(),
            consumer_opts: settings.texts("consumer-opt"),
            lookupd_http_addresses: settings.texts("lookupd-http-address"),
            max_in_flight: settings.int("max-in-flight"),
            message_count: settings.int("n"),
            nsqd_tcp_addresses: settings.texts("nsqd-tcp-address"),
            print_topic: settings.bool("print-topic"),
            topics: settings.texts("topic"),
        };
        Ok((options, settings.warnings))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::TailOptions;
    use crate::config::stop::Stop;

    fn load(line: &str) -> Result<(TailOptions, Vec<String>), Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        TailOptions::load(&args)
    }

    #[test]
    fn options_are_read() {
        let (options, warnings) = load(
            "-topic a --topic b -n 5 --print-topic -nsqd-tcp-address h:4150 \
             -consumer-opt tls-v1 --consumer-opt=max_attempts,7 -channel=c more",
        )
        .unwrap();
        assert_eq!(options.topics, ["a", "b"]);
        assert_eq!(options.message_count, 5);
        assert_eq!(options.max_in_flight, 200);
        assert_eq!(options.channel, "c");
        assert_eq!(options.nsqd_tcp_addresses, ["h:4150"]);
        assert_eq!(options.consumer_opts, ["tls-v1", "max_attempts,7"]);
        assert!(options.print_topic && options.lookupd_http_addresses.is_empty());
        assert_eq!(warnings, ["arguments after the flags are ignored: more"]);
    }

    #[test]
    fn defaults_are_the_originals() {
        let (options, warnings) = load("").unwrap();
        assert_eq!((options.max_in_flight, options.message_count), (200, 0));
        assert!(options.channel.is_empty() && options.topics.is_empty() && !options.print_topic);
        assert!(warnings.is_empty());
        assert_eq!(load("-version").unwrap_err(), Stop::Version("nsq_tail v1.3.0".to_owned()));
    }
}
