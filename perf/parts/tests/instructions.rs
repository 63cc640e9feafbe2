//! How many instructions a message takes, beside what was recorded: no neighbour changes that, so
//! five per cent are enough to tell.
//!
//! Counts belong to a compiler, a C library and an architecture. On others than the recorded ones
//! the comparison is skipped, and says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Batches of the first count; the second has twice as many.
const BATCHES: usize = 16;

/// What may change without a reason, as a part of what was recorded.
const TOLERANCE: f64 = 0.05;

/// Set to anything, the counts are written to the record instead of being compared with it.
const RECORD: &str = "PARTS_RECORD";

const RECORD_AGAIN: &str = "make guard-record";

/// Instructions for a message, and what they depend on besides the code.
#[derive(Debug, PartialEq)]
struct Counts {
    environment: String,
    rows: BTreeMap<String, f64>,
}

impl Counts {
    /// The record's lines: a note, the environment, and rows with their counts.
    fn parse(text: &str) -> Option<Counts> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let environment = lines.next()?.to_string();
        let row = |line: &str| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_string(), count.trim().parse().ok()?))
        };
        Some(Counts { environment, rows: lines.map(row).collect::<Option<_>>()? })
    }

    fn show(&self) -> String {
        let note = format!("# Instructions for a message, as `{RECORD_AGAIN}` found them.\n");
        let rows = self.rows.iter().map(|(name, count)| format!("{name:<12} {count:>8.1}\n"));
        note + &self.environment + "\n" + &rows.collect::<String>()
    }

    /// What is wrong with these counts if those were recorded.
    fn complaints(&self, recorded: &Counts) -> Vec<String> {
        let mut complaints = Vec::new();
        for (name, found) in &self.rows {
            match recorded.rows.get(name) {
                None => complaints.push(format!("{name}: {found:.1} found, nothing recorded")),
                Some(was) if (found / was - 1.0).abs() > TOLERANCE => complaints.push(format!(
                    "{name}: {was:.1} instructions for a message recorded, {found:.1} found \
                     ({:+.1} %)",
                    (found / was - 1.0) * 100.0
                )),
                Some(_) => {}
            }
        }
        let gone = recorded.rows.keys().filter(|name| !self.rows.contains_key(*name));
        complaints.extend(gone.map(|name| format!("{name}: recorded, but there is no such row")));
        complaints
    }
}

/// Says so on standard error itself: the harness keeps what passing tests print.
fn skipped(reason: &str) {
    let line = format!("skipped: instructions for a message: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn record_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded.txt")
}

/// The compiler's version stands in what it made.
fn compiler(program: &Path) -> String {
    let bytes = fs::read(program).unwrap();
    let mark = b"rustc version ";
    let start = bytes.windows(mark.len()).position(|window| window == mark);
    let text = &bytes[start.expect("made by rustc") + mark.len()..];
    let end = text.iter().position(|byte| !(b' '..=b'~').contains(byte)).unwrap_or(text.len());
    format!("rustc {}", String::from_utf8_lossy(&text[..end]))
}

/// Runs all rows in one go; `None` where there is no valgrind.
fn count() -> Option<Counts> {
    let program = Path::new(env!("CARGO_BIN_EXE_parts"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--toggle-collect=parts_counted"]);
    command.arg("--dump-after=parts_counted");
    command.arg(format!("--callgrind-out-file={}", folder.join("out").display()));
    command.arg(program).arg(BATCHES.to_string());
    // It decides how the C library copies.
    command.env_remove("GLIBC_TUNABLES");
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let listing = String::from_utf8(output.stdout).unwrap();
    let counts = read(&listing, &folder, &compiler(program));
    fs::remove_dir_all(&folder).unwrap();
    Some(counts)
}

/// Puts what the program said and what valgrind counted together.
fn read(listing: &str, folder: &Path, compiler: &str) -> Counts {
    let mut lines = listing.lines();
    let environment = format!("{compiler} {}", lines.next().unwrap());
    let mut rows = BTreeMap::new();
    for (at, line) in lines.enumerate() {
        let (name, messages) = line.split_once(' ').unwrap();
        let messages = BATCHES * messages.parse::<usize>().unwrap();
        let [once, twice] = [2 * at + 1, 2 * at + 2].map(|dump| instructions(folder, dump));
        rows.insert(name.to_string(), (twice - once) as f64 / messages as f64);
    }
    Counts { environment, rows }
}

fn instructions(folder: &Path, dump: usize) -> u64 {
    let text = fs::read_to_string(folder.join(format!("out.{dump}"))).unwrap();
    let summary = text.lines().find_map(|line| line.strip_prefix("summary: ")).unwrap();
    summary.trim().parse().unwrap()
}

#[test]
fn a_message_takes_what_it_took() {
    if cfg!(debug_assertions) {
        return skipped("this build is not optimised; `make guard` has one that is");
    }
    let Some(found) = count() else {
        return skipped("there is no valgrind here (Debian has it in the package of that name)");
    };
    if std::env::var_os(RECORD).is_some() {
        return fs::write(record_path(), found.show()).unwrap();
    }
    let text = fs::read_to_string(record_path()).unwrap();
    let recorded = Counts::parse(&text).expect("a record as this test writes it");
    if recorded.environment != found.environment {
        return skipped(&format!(
            "this is {}, and the record was taken with {}; `{RECORD_AGAIN}` takes it anew",
            found.environment, recorded.environment
        ));
    }
    let complaints = found.complaints(&recorded).join("\n");
    let advice = format!("where that is meant, `{RECORD_AGAIN}` writes it down");
    assert!(complaints.is_empty(), "{complaints}\n{advice}; all that was found:\n{}", found.show());
}

/// Both directions, and rows that only one side knows.
#[test]
fn canaries() {
    let counts = |rows: &[(&str, f64)]| Counts {
        environment: "rustc 1 glibc 2".to_string(),
        rows: rows.iter().map(|&(name, count)| (name.to_string(), count)).collect(),
    };
    let recorded = counts(&[("flow", 1000.0), ("pub", 400.0)]);
    assert_eq!(Counts::parse(&recorded.show()).as_ref(), Some(&recorded));
    let wrong = |rows: &[(&str, f64)]| counts(rows).complaints(&recorded).len();
    assert_eq!(wrong(&[("flow", 1049.0), ("pub", 381.0)]), 0);
    assert_eq!(wrong(&[("flow", 1051.0), ("pub", 400.0)]), 1);
    assert_eq!(wrong(&[("flow", 1000.0), ("pub", 379.0)]), 1);
    assert_eq!(wrong(&[("flow", 1000.0)]), 1);
    assert_eq!(wrong(&[("flow", 1000.0), ("pub", 400.0), ("sub", 1.0)]), 1);
}
