//! Manual pages and completions of shells under `packaging/`, made from the tables of flags.
//!
//! The files are in the repository, so that a package is built without building anything else. This
//! test compares them; with `SHOAL_WRITE_MANUAL` set it writes them (`make manual`).

use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::argv::command;
use super::flag::Program;
use super::nsqadmin_flags::NSQADMIN;
use super::nsqd_flags::NSQD;
use super::nsqlookupd::NSQLOOKUPD;
use super::tail::NSQ_TAIL;

/// A program, and what its page says besides its flags.
const PAGES: [(&Program, &str); 4] =
    [(&NSQD, OF_NSQD), (&NSQLOOKUPD, OF_DAEMON), (&NSQADMIN, OF_DAEMON), (&NSQ_TAIL, "")];

const OF_NSQD: &str = r#".SH ENVIRONMENT
Each flag that may stand in a configuration file may also be set by a variable:
\fBNSQD_TCP_ADDRESS\fR for \fB\-\-tcp\-address\fR. Lists are separated by commas. The command line
counts more than a variable, and a variable more than the file.
\fB\-\-print\-config\fR shows what holds and where it comes from.
.SH SIGNALS
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
Stop: everything that is to outlast the process is written to the disk.
.TP
\fBSIGUSR1\fR
Drain: nsqlookupds forget this node, publishes are refused, and consumers are served until nothing
is left or \fB\-\-drain\-timeout\fR is over; then stop.
.TP
\fBSIGHUP\fR
Read the certificates again.
.SH EXIT STATUS
0 after a stop, 1 when it cannot start or go on, 2 for wrong flags.
.SH FILES
.TP
\fInsqd.dat\fR in the data path
Names of topics and channels, and which are paused.
.TP
\fIlog/\fR in the data path
Messages, and what became of them.
.SH SEE ALSO
\fBnsqlookupd\fR(1), \fBnsqadmin\fR(1), \fBnsq_tail\fR(1)
"#;

const OF_DAEMON: &str = r#".SH ENVIRONMENT
Each flag that may stand in a configuration file may also be set by a variable, with the program's
name in front of the flag's, in capitals and with underscores. Lists are separated by commas. The
command line counts more than a variable, and a variable more than the file.
\fB\-\-print\-config\fR shows what holds and where it comes from.
.SH SIGNALS
\fBSIGTERM\fR and \fBSIGINT\fR stop it.
.SH EXIT STATUS
0 after a stop, 1 when it cannot start or go on, 2 for wrong flags.
.SH SEE ALSO
\fBnsqd\fR(1)
"#;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn page(program: &'static Program, more: &str) -> String {
    let mut text = Vec::new();
    let command = command(program).version(env!("CARGO_PKG_VERSION"));
    Man::new(command).manual("Shoal").render(&mut text).unwrap();
    text.extend_from_slice(more.as_bytes());
    String::from_utf8(text).unwrap()
}

fn completion(program: &'static Program, shell: Shell) -> String {
    let mut text = Vec::new();
    let mut command = command(program).no_binary_name(false);
    generate(shell, &mut command, program.name, &mut text);
    String::from_utf8(text).unwrap()
}

/// All files by their paths, and what belongs into them.
fn files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for (program, more) in PAGES {
        let name = program.name;
        files.push((format!("man/{name}.1"), page(program, more)));
        for (shell, path) in [
            (Shell::Bash, format!("completions/{name}.bash")),
            (Shell::Zsh, format!("completions/_{name}")),
            (Shell::Fish, format!("completions/{name}.fish")),
        ] {
            files.push((path, completion(program, shell)));
        }
    }
    files.into_iter().map(|(path, text)| (packaging().join(path), text)).collect()
}

#[test]
fn manual_pages_and_completions_are_those_of_the_flags() {
    for (path, text) in files() {
        if std::env::var_os("SHOAL_WRITE_MANUAL").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "{} is not that of the flags: `make manual`", path.display());
    }
}

#[test]
fn every_flag_is_in_the_manual() {
    for (program, more) in PAGES {
        let page = page(program, more);
        for flag in program.flags().filter(|flag| !flag.deprecated) {
            let name = format!("\\fB\\-\\-{}\\fR", flag.name.replace('-', "\\-"));
            assert!(page.contains(&name), "{}: {name}", program.name);
        }
    }
}
