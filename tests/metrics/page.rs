//! A page of metrics, read by a parser that is not ours, and checked where parsers are lenient.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use prometheus_parse::{Scrape, Value};

use crate::harness::Broker;

/// A page.
pub struct Page {
    /// As it came.
    pub text: String,
    scrape: Scrape,
}

impl Page {
    /// The page of a broker; it has to be sound.
    pub fn of(broker: &Broker, query: &str) -> Page {
        let reply = broker.request("GET", &format!("/metrics{query}"), b"");
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4"));
        let text = reply.text().to_string();
        let complaints = complaints(&text);
        assert!(complaints.is_empty(), "{complaints:#?}");
        let lines = text.lines().map(|line| Ok(line.to_string()));
        let scrape = Scrape::parse(lines).unwrap();
        Page { text, scrape }
    }

    /// The value of a gauge or counter with these labels and no others.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.scrape.samples.iter().find(|sample| {
            let same = |(name, value): &(&str, &str)| sample.labels.get(name) == Some(*value);
            sample.metric == name && sample.labels.len() == labels.len() && labels.iter().all(same)
        });
        match found?.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => Some(value),
            _ => None,
        }
    }

    /// The same, for a value that has to be there.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {}", self.text))
    }

    /// The sum over all labels.
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = self.scrape.samples.iter().filter(|sample| sample.metric == name);
        of_name
            .map(|sample| match sample.value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
                _ => panic!("{name} is no plain number"),
            })
            .sum()
    }

    /// The names of all families.
    pub fn names(&self) -> BTreeSet<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| Some(line.split_once(' ')?.0.to_string())).collect()
    }

    /// Lines with a number.
    pub fn series(&self) -> usize {
        self.text.lines().filter(|line| !line.starts_with('#')).count()
    }
}

/// What is wrong with a page, by the rules of the format that a lenient parser overlooks.
pub fn complaints(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let (mut types, mut seen) = (BTreeMap::new(), HashSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            if types.insert(name.to_string(), kind.to_string()).is_some() {
                complaints.push(format!("{name} is there twice"));
            }
            let is_counter = kind == "counter";
            let is_legacy = name.ends_with("_count") || name == "nsq_topic_message_bytes";
            if is_counter != name.ends_with("_total") && !(is_counter && is_legacy) {
                complaints.push(format!("{name} is a {kind}"));
            }
            current = name.to_string();
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            if rest.split_once(' ').is_none_or(|(_, help)| !help.ends_with('.')) {
                complaints.push(format!("no sentence: {line}"));
            }
        } else {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let parts = ["", "_bucket", "_sum", "_count"];
            if !parts.iter().any(|part| name.strip_suffix(part) == Some(&current)) {
                complaints.push(format!("{line} is below {current}"));
            }
            let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
            if !seen.insert(series.to_string()) {
                complaints.push(format!("{series} is there twice"));
            }
        }
    }
    complaints
}

/// `promtool`, where it is installed: named by `SHOAL_TEST_PROMTOOL`, or in the path. Says so when
/// there is none.
pub fn promtool() -> Option<PathBuf> {
    let named = std::env::var_os("SHOAL_TEST_PROMTOOL").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path).map(|dir| dir.join("promtool")).find(|tool| tool.is_file())
    });
    if found.is_none() {
        eprintln!("skipped: there is no promtool (Debian has it in the package prometheus)");
    }
    found
}

/// What promtool says to this on its standard input.
pub fn ask_promtool(tool: &PathBuf, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).to_string());
    if output.status.success() { Ok(()) } else { Err(said.concat()) }
}

#[test]
fn canaries() {
    let sound = "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n";
    assert_eq!(complaints(sound), [""; 0]);
    for (broken, about) in [
        ("# HELP a A.\n# TYPE a gauge\na 1\na 2\n", "twice"),
        ("# HELP a A.\n# TYPE a gauge\nb 1\n", "below"),
        ("# HELP a A.\n# TYPE a counter\na 1\n", "counter"),
        ("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n", "gauge"),
        ("# HELP a A\n# TYPE a gauge\na 1\n", "sentence"),
        ("# TYPE a gauge\na 1\n# TYPE a gauge\n", "twice"),
    ] {
        let found = complaints(broken);
        assert!(found.iter().any(|text| text.contains(about)), "{broken}: {found:?}");
    }
}
