//! The measurable part of the style, over every Rust file of the repository.
//!
//! Each rule is a function from a file's text to complaints, and `canaries` shows each of them a
//! text that it has to catch.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// A rule: from a file's path in the repository and its text to complaints.
type Rule = fn(&str, &str) -> Vec<String>;

const RULES: [Rule; 7] =
    [opening, file_length, function_length, line_length, unfinished, purity, directions];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Files below `dir` with this ending, without what is built or installed.
fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let skipped = matches!(name.as_str(), "target" | "node_modules" | "vendor")
            || name.starts_with('.')
            || path.is_symlink();
        if path.is_dir() && !skipped {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources(ending: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    files(&root, ending, &mut found);
    found.sort();
    assert!(found.len() > 3, "no files below {}", root.display());
    let text = |path: &PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_string();
        (name, fs::read_to_string(path).unwrap())
    };
    found.iter().map(text).collect()
}

fn opening(_: &str, text: &str) -> Vec<String> {
    let complaint = "does not open with `//!` and what it holds".to_string();
    if text.starts_with("//! ") { Vec::new() } else { vec![complaint] }
}

fn file_length(_: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let complaint = format!("has {lines} lines, more than {FILE_LINES_MAX}");
    if lines <= FILE_LINES_MAX { Vec::new() } else { vec![complaint] }
}

fn line_length(_: &str, text: &str) -> Vec<String> {
    let columns = |line: &str| line.chars().count();
    let long = text.lines().enumerate().filter(|(_, line)| columns(line) > COLUMNS_MAX);
    long.map(|(at, line)| format!("line {} has {} columns", at + 1, columns(line))).collect()
}

/// In code that rustfmt has set, a function ends at the brace that stands where it began.
fn function_length(_: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !begins_function(line) || line.ends_with(['}', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let is_end = |line: &&str| {
            line.trim_end() == format!("{}}}", " ".repeat(indent)) || is_signature_end(line, indent)
        };
        let length = lines[at..].iter().position(is_end).unwrap_or(0) + 1;
        if length > FUNCTION_LINES_MAX {
            complaints.push(format!("line {}: a function of {length} lines", at + 1));
        }
    }
    complaints
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let qualifier = |word: &&str| {
        matches!(*word, "const" | "async" | "unsafe" | "extern" | "\"C\"")
            || word.starts_with("pub")
    };
    words.find(|word| !qualifier(word)) == Some("fn")
}

/// A declaration in a trait, whose signature takes several lines.
fn is_signature_end(line: &str, indent: usize) -> bool {
    line.starts_with(&format!("{})", " ".repeat(indent))) && line.ends_with(';')
}

/// The words are put together here so that this file does not contain them.
fn unfinished(_: &str, text: &str) -> Vec<String> {
    let words = [["to", "do!"], ["unimple", "mented!"], ["FIX", "ME"], ["TO", "DO"], ["XX", "X:"]];
    let found = |word: &String| text.contains(word.as_str());
    let words = words.iter().map(|halves| halves.concat()).filter(found);
    words.map(|word| format!("contains {word}")).collect()
}

/// The shard has no clock, thread, file, socket or runtime.
fn purity(path: &str, text: &str) -> Vec<String> {
    let of_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
    if !path.starts_with("shards/src/") || of_tests {
        return Vec::new();
    }
    let banned = [
        "std",
        "thread",
        "Instant",
        "SystemTime",
        "println",
        "eprintln",
        "print",
        "dbg",
        "async",
        "await",
        "RefCell",
        "unwrap",
    ];
    let mut complaints = Vec::new();
    for (number, line) in without_tests(text) {
        let line = code(line);
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for word in banned.iter().filter(|word| words.contains(word)) {
            complaints.push(format!("line {number}: `{word}` inside the shard"));
        }
    }
    complaints
}

/// Lines with their numbers, less the items that are compiled for tests only.
fn without_tests(text: &str) -> Vec<(usize, &str)> {
    let mut kept = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if line.trim() != "#[cfg(test)]" && line.trim() != "#![cfg(test)]" {
            kept.push((number, line));
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let item = lines.find(|(_, line)| !line.trim().starts_with("#["));
        if item.is_some_and(|(_, line)| line.trim_end().ends_with('{')) {
            lines.find(|(_, line)| line.trim_end() == end);
        }
    }
    kept
}

/// A line without its comment and without what stands in quotes.
fn code(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut previous = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' if previous != '\\' && previous != '\'' => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("//") => break,
            _ if quoted => {}
            _ => out.push(c),
        }
        previous = c;
    }
    out
}

/// A folder, and what it must not name.
const DIRECTIONS: [(&str, &[&str]); 11] = [
    ("shards/", &["shoal", "loadtest", "glommio", "io_uring"]),
    ("loadtest/", &["shoal", "shards"]),
    ("tests/", &["shoal", "shards"]),
    ("src/nsqd/", &["crate::nsqlookupd", "crate::nsqadmin", "crate::tools", "crate::client"]),
    ("src/nsqlookupd/", &["crate::nsqd", "crate::nsqadmin", "crate::tools", "shards"]),
    ("src/nsqadmin/", &["crate::nsqd", "crate::nsqlookupd", "crate::tools", "shards"]),
    ("src/tools/", &["crate::nsqd", "crate::nsqlookupd", "crate::nsqadmin", "shards"]),
    ("src/client/", &["crate::nsqd", "crate::tools", "crate::nsqadmin", "shards"]),
    ("src/http/", &["crate::nsqd", "crate::tools", "crate::nsqadmin", "crate::nsqlookupd"]),
    ("src/config/", &["crate::nsqd", "crate::tools", "crate::client"]),
    ("src/", &["loadtest", "shoal_tests"]),
];

/// Folders, and what they may name all the same: names are checked by the broker's own rule, so
/// that tools, nsqlookupd and nsqadmin refuse what the broker would.
const EXCEPTIONS: [(&str, &str); 3] = [
    ("src/client/", "shards::wire::names::"),
    ("src/nsqlookupd/", "shards::wire::names::"),
    ("src/nsqadmin/", "shards::wire::names::"),
];

fn directions(path: &str, text: &str) -> Vec<String> {
    let rules = DIRECTIONS.iter().filter(|(folder, _)| path.starts_with(folder));
    let banned: Vec<&str> = rules.flat_map(|(_, banned)| banned.iter().copied()).collect();
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut line = code(line);
        for (_, allowed) in EXCEPTIONS.iter().filter(|(folder, _)| path.starts_with(folder)) {
            line = line.replace(allowed, "");
        }
        for name in &banned {
            if names_path(&line, name) {
                complaints.push(format!("line {number}: names `{name}`"));
            }
        }
    }
    complaints
}

/// True for `use name`, `name::…` and, for `crate::x`, also `crate::{x, …}`.
fn names_path(line: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let grouped = name.strip_prefix("crate::").is_some_and(|module| {
        let inside = line.split_once("crate::{").map_or("", |(_, rest)| rest);
        inside.split(|c| !is_word(c)).any(|word| word == module)
    });
    let direct = line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        let starts = before.is_none_or(|c| !is_word(c) && c != ':' && c != '.');
        let is_use = line.trim_start().starts_with("use ") || line.contains("pub use ");
        let end = is_use && (after.is_empty() || after.starts_with(';'));
        starts && (after.starts_with("::") || end)
    });
    direct || grouped
}

/// Every dependency has its reason in a comment above it; two that belong together share one.
fn reasons(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut in_dependencies = false;
    let mut covered: usize = 0;
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end().ends_with("dependencies]");
        } else if line.starts_with("# ") {
            covered = 2;
        } else if in_dependencies && line.contains('=') && !line.starts_with([' ', ']']) {
            if covered == 0 {
                complaints.push(format!("no reason above `{line}`"));
            }
            covered = covered.saturating_sub(1);
        }
    }
    complaints
}

#[test]
fn sources_follow_the_style() {
    let mut complaints = Vec::new();
    for (path, text) in sources(".rs") {
        for rule in RULES {
            complaints.extend(rule(&path, &text).into_iter().map(|what| format!("{path}: {what}")));
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn dependencies_have_reasons() {
    let mut complaints = Vec::new();
    for (path, text) in sources("Cargo.toml") {
        complaints.extend(reasons(&text).into_iter().map(|what| format!("{path}: {what}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Rule, path, a text it has to catch, and one it has to let pass.
#[test]
fn canaries() {
    let long_function = format!("fn f(\n    x: u8,\n) {{\n{}}}\n", "    g();\n".repeat(70));
    let fine_function = format!("fn f(x: u8) {{\n{}}}\n", "    g();\n".repeat(68));
    let (long_file, fine_file) = ("//\n".repeat(601), "//\n".repeat(600));
    let (long_line, fine_line) = ("é".repeat(101), "é".repeat(100));
    let unfinished_text = ["// TO", "DO later"].concat();
    let shard = "shards/src/x.rs";
    let tests_only = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
    let rows: [(Rule, &str, &str, &str); 16] = [
        (opening, "x.rs", "use x;\n", "//! What it holds.\n"),
        (file_length, "x.rs", &long_file, &fine_file),
        (function_length, "x.rs", &long_function, &fine_function),
        (line_length, "x.rs", &long_line, &fine_line),
        (unfinished, "x.rs", &unfinished_text, "// done"),
        (purity, shard, "use std::fs;", "// std is not used"),
        (purity, shard, "    let now = Instant::now();", "let instant = \"Instant\";"),
        (purity, shard, "#[cfg(test)]\nextern crate std;\nuse std::fs;", tests_only),
        (purity, shard, "x.unwrap();", "x.unwrap_or(1);"),
        (directions, "shards/src/x.rs", "use shoal::x;", "let shoal = 1;"),
        (directions, "tests/x.rs", "use shards::wire;", "mod shards;"),
        (directions, "src/tools/x.rs", "use crate::{client, nsqd};", "use crate::{client};"),
        (
            directions,
            "src/client/x.rs",
            "use shards::wire::frame;",
            "use shards::wire::names::Name;",
        ),
        (
            directions,
            "src/tools/x.rs",
            "use shards::wire::names::Name;",
            "use crate::client::Name;",
        ),
        (directions, "src/nsqadmin/x.rs", "crate::nsqd::f()", "crate::nsqadmin::f()"),
        (directions, "src/nsqlookupd/x.rs", "use crate::nsqd;", "use crate::nsqd_types;"),
    ];
    for (number, (rule, path, bad, good)) in rows.iter().enumerate() {
        assert!(!rule(path, bad).is_empty(), "row {number} was not caught");
        assert_eq!(rule(path, good), Vec::<String>::new(), "row {number}");
    }
    assert_eq!(reasons("[dependencies]\na = \"1\"\n").len(), 1);
    let third = "[dev-dependencies]\n# Why.\na = \"1\"\nb = \"1\"\nc = \"1\"\n";
    assert_eq!(reasons(third).len(), 1);
    assert_eq!(reasons("[package]\nname = \"x\"\n[dependencies]\n# Why.\na = \"1\"\n").len(), 0);
}
