//! The dashboard and the alert rules that come with the broker ask for what it really tells.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::page::{Page, promtool};
use super::{ONLY_OURS, busy_broker};
use crate::harness::{SOON, eventually, on_each_shoal};

fn packaged(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging").join(path)
}

/// The names of our metrics in a text, without what a summary or a histogram adds to them.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    let ours = words.filter(|word| word.starts_with("nsq_") || word.starts_with("process_"));
    ours.map(ToString::to_string).collect()
}

/// Names that a page does not have.
fn missing(wanted: &BTreeSet<String>, there: &BTreeSet<String>) -> Vec<String> {
    let is_there = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        there.contains(name)
            || parts.iter().any(|part| name.strip_suffix(part).is_some_and(|of| there.contains(of)))
    };
    wanted.iter().filter(|name| !is_there(name)).cloned().collect()
}

/// Every text in a document.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        _ => {}
    }
}

#[test]
fn what_dashboards_and_alerts_ask_for_is_there() {
    on_each_shoal(ONLY_OURS, |peer| {
        let board = fs::read_to_string(packaged("grafana/shoal.json")).unwrap();
        let mut all = Vec::new();
        texts(&serde_json::from_str(&board).unwrap(), &mut all);
        let mut wanted = names_in(&all.join("\n"));
        wanted.extend(names_in(&fs::read_to_string(packaged("prometheus/alerts.yml")).unwrap()));
        assert!(wanted.len() > 40, "{wanted:?}");
        let lookupd = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("--lookupd-tcp-address={}", lookupd.local_addr().unwrap());
        let (broker, _clients) = busy_broker(peer, &[&address]);
        eventually("the broker knows its nsqlookupd", SOON, || {
            Page::of(&broker, "").names().contains("nsq_lookupd_up")
        });
        let there = Page::of(&broker, "").names();
        assert_eq!(missing(&wanted, &there), [""; 0]);
        let strange = BTreeSet::from(["nsq_topic_depht".to_string()]);
        assert_eq!(missing(&strange, &there).len(), 1, "what is not there is found");
    });
}

#[test]
fn promtool_accepts_the_rules() {
    let Some(tool) = promtool() else { return };
    let rules = packaged("prometheus/alerts.yml");
    let output = Command::new(&tool).args(["check", "rules"]).arg(&rules).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).to_string());
    assert!(output.status.success(), "{}", said.concat());
    let scrape = packaged("prometheus/scrape.yml");
    let output = Command::new(&tool).args(["check", "config"]).arg(&scrape).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).to_string());
    assert!(output.status.success(), "{}", said.concat());
}
