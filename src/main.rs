//! One binary for all programs: `shoal <program> [flags]`, or a link with a program's name.
//!
//! `shoal` alone runs everything there is on defaults.

mod beside;
mod client;
mod config;
mod http;
mod log;
mod net;
mod nsqadmin;
mod nsqd;
mod nsqlookupd;
mod systemd;
mod tls;
mod tools;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

use config::export::ExportOptions;
use config::nsqadmin::AdminOptions;
use config::nsqd::NsqdOptions;
use config::nsqlookupd::LookupdOptions;
use config::stop::Stop;
use config::tail::TailOptions;
use config::version;

/// The name of the binary itself.
const SHOAL: &str = "shoal";

/// A program of this binary.
struct Entry {
    name: &'static str,
    about: &'static str,
    /// Runs it with the arguments after its name.
    run: fn(&[OsString]) -> ExitCode,
}

const PROGRAMS: &[Entry] = &[
    Entry { name: "nsqd", about: "receives, keeps and delivers messages", run: run_nsqd },
    Entry { name: "nsqlookupd", about: "tells who has which topics", run: run_nsqlookupd },
    Entry { name: "nsqadmin", about: "shows and steers a cluster", run: run_nsqadmin },
    Entry { name: "nsq_tail", about: "prints the messages of topics", run: run_nsq_tail },
    Entry { name: "export", about: "writes a data path for the original nsqd", run: run_export },
];

/// What `shoal` alone tells nsqd, which is the first program.
static EVERYTHING: LazyLock<[OsString; 2]> =
    LazyLock::new(|| ["--with-lookupd".into(), "--with-admin".into()]);

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    match choose(&args) {
        Choice::Run(entry, rest) => (entry.run)(rest),
        Choice::Stop(stop) => stop.report(SHOAL),
        Choice::Help => {
            use std::io::Write;
            // Nobody is left to be told that standard output is closed.
            let _ = write!(std::io::stdout(), "{}", help());
            ExitCode::SUCCESS
        }
    }
}

/// What the arguments ask for.
enum Choice<'a> {
    Run(&'static Entry, &'a [OsString]),
    Help,
    Stop(Stop),
}

/// Finds the program by the name of the binary, or else by the first argument.
fn choose(args: &[OsString]) -> Choice<'_> {
    let called = args.first().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    let rest = args.get(1..).unwrap_or_default();
    if let Some(entry) = called.and_then(find) {
        return Choice::Run(entry, rest);
    }
    let Some(first) = rest.first() else {
        return Choice::Run(&PROGRAMS[0], &EVERYTHING[..]);
    };
    let first = first.to_string_lossy();
    if let Some(entry) = find(&first) {
        return Choice::Run(entry, &rest[1..]);
    }
    match first.as_ref() {
        "help" | "-h" | "-help" | "--help" => Choice::Help,
        "version" | "-version" | "--version" => {
            Choice::Stop(Stop::Version(format!("{SHOAL} v{}", version::SHOAL_VERSION)))
        }
        flag if flag.starts_with('-') => {
            Choice::Stop(Stop::Usage(format!("{flag}: flags come after a program.\n\n{}", help())))
        }
        other => Choice::Stop(Stop::Usage(format!("there is no program {other:?}.\n\n{}", help()))),
    }
}

fn find(name: &str) -> Option<&'static Entry> {
    PROGRAMS.iter().find(|entry| entry.name == name)
}

fn help() -> String {
    let mut text = format!(
        "A message broker that speaks NSQ's protocol.\n\n\
         Usage: {SHOAL}                    runs nsqd, nsqlookupd and nsqadmin on defaults\n       \
         {SHOAL} <program> [flags]\n       \
         {SHOAL} <program> --help     lists a program's flags\n\nPrograms:\n"
    );
    for entry in PROGRAMS {
        text.push_str(&format!("  {:<12} {}\n", entry.name, entry.about));
    }
    text.push_str("\nA link to this binary with a program's name runs that program.\n");
    text
}

fn run_nsqd(args: &[OsString]) -> ExitCode {
    match NsqdOptions::load(args) {
        Ok(options) => nsqd::run::run(options, beside::start),
        Err(stop) => stop.report("nsqd"),
    }
}

fn run_nsqlookupd(args: &[OsString]) -> ExitCode {
    match LookupdOptions::load(args) {
        Ok(options) => nsqlookupd::run::run(options),
        Err(stop) => stop.report("nsqlookupd"),
    }
}

fn run_nsqadmin(args: &[OsString]) -> ExitCode {
    match AdminOptions::load(args) {
        Ok(options) => nsqadmin::program::run(options),
        Err(stop) => stop.report("nsqadmin"),
    }
}

fn run_nsq_tail(args: &[OsString]) -> ExitCode {
    match TailOptions::load(args) {
        Ok((options, warnings)) => {
            warnings.iter().for_each(|warning| eprintln!("nsq_tail: {warning}"));
            tools::nsq_tail::run(options)
        }
        Err(stop) => stop.report("nsq_tail"),
    }
}

fn run_export(args: &[OsString]) -> ExitCode {
    match ExportOptions::load(args) {
        Ok((options, warnings)) => {
            warnings.iter().for_each(|warning| eprintln!("export: {warning}"));
            nsqd::export::run(&options)
        }
        Err(stop) => stop.report("export"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Choice, Stop, choose, help};

    /// The program that a command line chooses and its arguments, or else the end it comes to.
    fn chosen(line: &str) -> String {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match choose(&args) {
            Choice::Run(entry, rest) => {
                let rest: Vec<String> =
                    rest.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
                format!("{}({})", entry.name, rest.join(" "))
            }
            Choice::Help => "help".to_owned(),
            Choice::Stop(Stop::Version(text)) => text,
            Choice::Stop(Stop::Usage(text)) => text.lines().next().unwrap_or_default().to_owned(),
            Choice::Stop(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn programs_are_found_by_link_or_argument() {
        assert_eq!(chosen("/usr/bin/nsqd -node-id 5"), "nsqd(-node-id 5)");
        assert_eq!(chosen("nsqd nsqd"), "nsqd(nsqd)");
        assert_eq!(chosen("./shoal nsqd -node-id 5"), "nsqd(-node-id 5)");
        assert_eq!(chosen("shoal"), "nsqd(--with-lookupd --with-admin)");
        assert_eq!(chosen("/opt/shoal-0.1"), "nsqd(--with-lookupd --with-admin)");
        assert_eq!(chosen("shoal nsqlookupd -config x"), "nsqlookupd(-config x)");
    }

    #[test]
    fn other_words_are_answered() {
        assert_eq!(chosen("shoal --help"), "help");
        assert_eq!(chosen("shoal -h"), "help");
        assert!(chosen("shoal --version").starts_with("shoal v"));
        assert_eq!(chosen("shoal nsqdd"), "there is no program \"nsqdd\".");
        assert_eq!(chosen("shoal -tcp-address=x"), "-tcp-address=x: flags come after a program.");
        assert!(help().contains("  nsqd "));
    }
}
