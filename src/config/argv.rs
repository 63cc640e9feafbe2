//! The command line: Go's forms of a flag are rewritten into one, then clap reads them.
//!
//! Go knows `-flag` and `--flag` alike, a value after `=` or in the next argument, and truth
//! values only after `=`. It stops at the first argument that is no flag. clap contributes the
//! help, and the suggestion for a mistyped flag.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::env;
use super::flag::{Default, Flag, Program};
use super::stop::Stop;
use super::value::{Kind, Value};

/// What a command line says.
#[derive(Debug, Default)]
pub struct Given {
    /// Each flag that was used, with the value of all its uses together.
    pub values: Vec<(&'static Flag, Value)>,
    /// What came after the first argument that is no flag; nobody looks at it.
    pub ignored: Vec<String>,
}

/// Reads the arguments after the program's name.
pub fn parse(program: &'static Program, args: &[OsString]) -> Result<Given, Stop> {
    let (rewritten, ignored) = rewrite(program, args)?;
    let matches = command(program).try_get_matches_from(rewritten).map_err(|error| {
        let text = error.render().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp => Stop::Help(text),
            _ => Stop::Usage(text),
        }
    })?;
    let mut given = Given { values: Vec::new(), ignored };
    for flag in program.flags() {
        if let Some(value) = value_of(program, flag, &matches)? {
            given.values.push((flag, value));
        }
    }
    Ok(given)
}

/// A usage error in our own words.
pub fn usage(program: &Program, text: &str) -> Stop {
    Stop::Usage(format!("{text}\n\nFor more information, try '{} --help'.", program.name))
}

/// Turns each flag into `--flag=value`; the second list is what comes after the flags.
fn rewrite(
    program: &'static Program,
    args: &[OsString],
) -> Result<(Vec<String>, Vec<String>), Stop> {
    let mut texts = Vec::with_capacity(args.len());
    for arg in args {
        let text = arg.to_str().ok_or_else(|| {
            usage(program, &format!("argument {:?} is not valid UTF-8", arg.to_string_lossy()))
        })?;
        texts.push(text.to_owned());
    }
    let mut rewritten = Vec::new();
    let mut args = texts.into_iter();
    while let Some(arg) = args.next() {
        let Some(body) = flag_body(program, &arg)? else {
            let first = (arg != "--").then_some(arg);
            return Ok((rewritten, first.into_iter().chain(args).collect()));
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = program.find(name) else {
            let name = if name == "h" { "help" } else { name };
            rewritten.push(format!("--{name}"));
            continue;
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind.stands_alone() => "true".to_owned(),
            None => args.next().ok_or_else(|| {
                usage(program, &format!("flag needs an argument: -{}", flag.name))
            })?,
        };
        rewritten.push(format!("--{name}={value}"));
    }
    Ok((rewritten, Vec::new()))
}

/// What stands after the dashes; `None` when the argument is no flag.
fn flag_body<'a>(program: &Program, arg: &'a str) -> Result<Option<&'a str>, Stop> {
    let Some(body) = arg.strip_prefix('-') else {
        return Ok(None);
    };
    let body = body.strip_prefix('-').unwrap_or(body);
    if body.is_empty() {
        return Ok(None);
    }
    if body.starts_with(['-', '=']) {
        return Err(usage(program, &format!("bad flag syntax: {arg}")));
    }
    Ok(Some(body))
}

/// The program as clap sees it.
pub fn command(program: &'static Program) -> Command {
    let mut command = Command::new(program.name)
        .about(program.about)
        .no_binary_name(true)
        .disable_version_flag(true)
        .override_usage(format!("{} [flags]", program.name));
    if let Some(variable) = program.find("log-level").and_then(|flag| env::variable(program, flag))
    {
        command = command.after_help(format!(
            "Environment variables such as {variable} stand below flags and above the file."
        ));
    }
    for group in program.groups {
        for flag in group.flags {
            command = command.arg(arg(flag).help_heading(group.title));
        }
    }
    command
}

fn arg(flag: &'static Flag) -> Arg {
    let values = if flag.kind.stands_alone() { 0..=1 } else { 1..=1 };
    Arg::new(flag.name)
        .long(flag.name)
        .value_name(flag.kind.placeholder())
        .help(help(flag))
        .hide(flag.deprecated)
        .action(ArgAction::Append)
        .num_args(values)
        .require_equals(flag.kind.stands_alone())
}

fn help(flag: &Flag) -> String {
    match flag.default {
        Default::Text("") | Default::Empty => flag.help.to_owned(),
        Default::Text(text) => format!("{} [default: {text}]", flag.help),
        Default::Computed(how) => format!("{} [default: {how}]", flag.help),
    }
}

/// The value that all uses of a flag make together; `None` when it was not used.
fn value_of(
    program: &Program,
    flag: &'static Flag,
    matches: &ArgMatches,
) -> Result<Option<Value>, Stop> {
    let Some(texts) = matches.get_many::<String>(flag.name) else {
        return Ok(None);
    };
    let mut whole: Option<Value> = None;
    for text in texts {
        let value =
            flag.kind.parse(text).map_err(|problem| unreadable(program, flag, text, &problem))?;
        match &mut whole {
            Some(whole) => whole.merge(value),
            None => whole = Some(value),
        }
    }
    Ok(whole)
}

fn unreadable(program: &Program, flag: &Flag, text: &str, problem: &str) -> Stop {
    let name = flag.name;
    match flag.kind {
        // The original ends differently here, and with 1.
        Kind::Floats => Stop::Plain(format!("Could not parse: {problem}")),
        Kind::Bool => {
            usage(program, &format!("invalid boolean value {text:?} for -{name}: {problem}"))
        }
        _ => usage(program, &format!("invalid value {text:?} for flag -{name}: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Given, parse};
    use crate::config::flag::{Flag, Group, Program};
    use crate::config::stop::Stop;
    use crate::config::value::{Kind, Value};

    static PROGRAM: Program = Program {
        name: "example",
        about: "An example.",
        version_line: |name| format!("{name} v1"),
        groups: &[
            Group {
                title: "Basics",
                flags: &[
                    Flag::new("tcp-address", Kind::Text, "0.0.0.0:4150", "where to listen"),
                    Flag::new("deflate", Kind::Bool, "true", "squeeze"),
                    Flag::new("old", Kind::Bool, "false", "gone").deprecated(),
                    Flag::new("n", Kind::Int, "0", "how many"),
                ],
            },
            Group {
                title: "More",
                flags: &[
                    Flag::list("lookupd-tcp-address", Kind::Texts, "lookup servers"),
                    Flag::list("percentile", Kind::Floats, "percentiles"),
                    Flag::new("wait", Kind::Duration, "1m", "how long"),
                ],
            },
        ],
    };

    fn read(line: &str) -> Result<Given, Stop> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&PROGRAM, &args)
    }

    fn value(line: &str, name: &str) -> Option<Value> {
        let given = read(line).unwrap();
        given.values.into_iter().find(|(flag, _)| flag.name == name).map(|(_, value)| value)
    }

    #[test]
    fn every_go_form_gives_the_same_value() {
        for line in ["-tcp-address=x", "--tcp-address=x", "-tcp-address x", "--tcp-address x"] {
            assert_eq!(value(line, "tcp-address"), Some(Value::Text("x".into())), "{line}");
        }
        for line in ["-n 5", "--n=0x5", "-n=+5", "--n 1 -n 5"] {
            assert_eq!(value(line, "n"), Some(Value::Int(5)), "{line}");
        }
    }

    #[test]
    fn truth_values_stand_alone_or_after_an_equals_sign() {
        for (line, on) in [("--deflate", true), ("-deflate=false", false), ("--deflate=0", false)] {
            assert_eq!(value(line, "deflate"), Some(Value::Bool(on)), "{line}");
        }
        // Go ends its flags at `false` here, and so the address is never seen.
        let given = read("--deflate false --tcp-address=x").unwrap();
        assert_eq!(given.values.len(), 1);
        assert_eq!(given.values[0].1, Value::Bool(true));
        assert_eq!(given.ignored, ["false", "--tcp-address=x"]);
    }

    #[test]
    fn a_value_may_look_like_a_flag_or_be_empty() {
        assert_eq!(value("-n -5", "n"), Some(Value::Int(-5)));
        assert_eq!(
            value("--tcp-address --deflate", "tcp-address"),
            Some(Value::Text("--deflate".into()))
        );
        assert_eq!(value("--tcp-address=", "tcp-address"), Some(Value::Text(String::new())));
        assert_eq!(value("--tcp-address=a=b", "tcp-address"), Some(Value::Text("a=b".into())));
    }

    #[test]
    fn the_last_scalar_wins_and_lists_append() {
        assert_eq!(value("-wait 1s -wait=2s", "wait"), Some(Value::DurationNs(2_000_000_000)));
        assert_eq!(
            value("-lookupd-tcp-address a:1,b:2 --lookupd-tcp-address=c:3", "lookupd-tcp-address"),
            Some(Value::Texts(vec!["a:1,b:2".into(), "c:3".into()]))
        );
        assert_eq!(
            value("-percentile 0.5,1 -percentile=0.9", "percentile"),
            Some(Value::Floats(vec![1.0, 0.9, 0.5]))
        );
    }

    #[test]
    fn flags_end_at_the_first_other_argument() {
        for line in ["-n 1 rest -n 2", "-n 1 - -n 2", "-n 1 -- -n 2"] {
            assert_eq!(value(line, "n"), Some(Value::Int(1)), "{line}");
        }
        assert_eq!(read("-n 1 -- -n 2").unwrap().ignored, ["-n", "2"]);
    }

    #[track_caller]
    fn check_usage(line: &str, parts: &[&str]) {
        let Err(Stop::Usage(text)) = read(line) else { panic!("{line} is accepted") };
        for part in parts.iter().chain(&["--help"]) {
            assert!(text.contains(part), "{line}: {text}");
        }
    }

    #[test]
    fn a_wrong_flag_is_named_with_a_hint() {
        check_usage("--tcp-adress=x", &["--tcp-adress", "--tcp-address"]);
        check_usage("-nope", &["--nope"]);
        check_usage("---n=1", &["bad flag syntax: ---n=1"]);
        check_usage("-=1", &["bad flag syntax: -=1"]);
        check_usage("--tcp-address", &["flag needs an argument: -tcp-address"]);
        check_usage("-n=1x", &["invalid value \"1x\" for flag -n"]);
        check_usage("-n 1x -n 1", &["invalid value \"1x\" for flag -n"]);
        check_usage("-wait=5", &["\"5\" for flag -wait", "missing unit"]);
        check_usage("--deflate=maybe", &["invalid boolean value \"maybe\" for -deflate"]);
        check_usage("--old=5", &["invalid boolean value \"5\" for -old"]);
    }

    #[test]
    fn a_wrong_percentile_ends_as_in_the_original() {
        assert_eq!(
            read("-percentile=1,abc").unwrap_err(),
            Stop::Plain("Could not parse: abc".into())
        );
    }

    #[test]
    fn help_lists_flags_with_defaults_and_hides_the_deprecated() {
        for line in ["--help", "-h", "-help", "-n 1 -h"] {
            let Err(Stop::Help(text)) = read(line) else { panic!("{line} is no help") };
            for part in ["An example.", "Basics", "More", "--wait", "[default: 1m]", "where to"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("--old"), "{text}");
        }
    }
}
