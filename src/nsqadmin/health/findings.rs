//! What an operator should look at, the worst first.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Checkup, LookupdHealth, NodeHealth};
use crate::nsqadmin::history::{Numbers, Totals};

/// The most findings of one kind; beyond it there is one that says how many more there are.
const OF_A_KIND_MAX: usize = 200;
/// A clock that is further away is worth a word.
const CLOCK_SKEW_MS_MAX: i64 = 5_000;
/// Who was started so short ago may have lost its counters in the operator's eyes.
const RESTARTED_S_MAX: i64 = 600;
/// Parts of a disk that should be free, and that must be.
const FREE_LOW: f64 = 0.10;
/// As above.
const FREE_CRITICAL: f64 = 0.02;
/// Where the whole is not known: bytes that should be free.
const FREE_BYTES_LOW: f64 = 1024.0 * 1024.0 * 1024.0;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Messages are at stake, or a node is not there.
    Critical,
    /// It will be worse soon, or is not what anybody wants.
    Warning,
    /// Good to know.
    Info,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which of the kinds of findings it is.
    pub kind: &'static str,
    /// What it is about.
    pub subject: String,
    /// What is wrong with it.
    pub text: String,
    /// Where to look.
    pub topic: Option<String>,
    /// As above.
    pub channel: Option<String>,
    /// As above.
    pub node: Option<String>,
}

impl Finding {
    fn of_node(severity: Severity, kind: &'static str, node: &str, text: String) -> Finding {
        let subject = node.to_owned();
        let node = Some(node.to_owned());
        Finding { severity, kind, subject, text, topic: None, channel: None, node }
    }

    fn of_lookupd(
        severity: Severity,
        kind: &'static str,
        of: &LookupdHealth,
        text: String,
    ) -> Self {
        let subject = of.address.clone();
        Finding { severity, kind, subject, text, topic: None, channel: None, node: None }
    }

    fn of_topic(severity: Severity, kind: &'static str, topic: &str, text: String) -> Finding {
        let subject = topic.to_owned();
        let topic = Some(topic.to_owned());
        Finding { severity, kind, subject, text, topic, channel: None, node: None }
    }

    fn of_channel(severity: Severity, kind: &'static str, of: (&str, &str), text: String) -> Self {
        let (topic, channel) = of;
        let found = Finding::of_topic(severity, kind, topic, text);
        let subject = format!("{topic}/{channel}");
        Finding { subject, channel: Some(channel.to_owned()), ..found }
    }
}

/// All findings, the worst first, then by kind and subject.
pub fn findings(checkup: &Checkup, totals: &Totals) -> Vec<Finding> {
    let mut found = Vec::new();
    checkup.nodes.iter().for_each(|node| look_at_node(node, &mut found));
    look_at_versions(&checkup.nodes, &mut found);
    look_at_lookupds(&checkup.lookupds, &mut found);
    for (name, topic) in &totals.topics {
        look_at_topic(name, &topic.numbers, &mut found);
        for (channel, numbers) in &topic.channels {
            look_at_channel((name, channel), numbers, &mut found);
        }
    }
    found.sort_by(|a, b| (a.severity, a.kind, &a.subject).cmp(&(b.severity, b.kind, &b.subject)));
    shorten(found)
}

fn look_at_node(node: &NodeHealth, found: &mut Vec<Finding>) {
    use Severity::{Critical, Info, Warning};
    let mut add = |severity, kind, text| {
        found.push(Finding::of_node(severity, kind, &node.address, text));
    };
    if !node.ok {
        add(Critical, "node_unreachable", node.error.clone());
        return;
    }
    if node.health != "OK" && !node.health.is_empty() {
        add(Critical, "node_unhealthy", node.health.clone());
    }
    if let Some(free) = node.data_path_free_bytes {
        let share = node.data_path_size_bytes.filter(|size| *size > 0.0).map(|size| free / size);
        let text = format!("{:.1} GiB of its disk are free", free / FREE_BYTES_LOW);
        match share {
            Some(share) if share < FREE_CRITICAL => add(Critical, "disk_nearly_full", text),
            Some(share) if share < FREE_LOW => add(Warning, "disk_nearly_full", text),
            None if free < FREE_BYTES_LOW => add(Warning, "disk_nearly_full", text),
            _ => {}
        }
    }
    if let Some(skew_ms) = node.clock_skew_ms.filter(|skew| skew.abs() > CLOCK_SKEW_MS_MAX) {
        let direction = if skew_ms > 0 { "ahead of" } else { "behind" };
        let text = format!("its clock is {} s {direction} this one", skew_ms.abs() / 1000);
        add(Warning, "clock_skew", text);
    }
    if let Some(uptime_s) = node.uptime_s.filter(|uptime| (0..RESTARTED_S_MAX).contains(uptime)) {
        add(Info, "restarted", format!("it was started {uptime_s} s ago"));
    }
    if !node.missing_lookupds.is_empty() {
        let text = format!("it is not registered with {}", node.missing_lookupds.join(", "));
        add(Warning, "lookupd_disagrees", text);
    }
}

fn look_at_versions(nodes: &[NodeHealth], found: &mut Vec<Finding>) {
    let known = nodes.iter().filter(|node| !node.version.is_empty());
    let versions: BTreeSet<&str> = known.map(|node| node.version.as_str()).collect();
    if versions.len() > 1 {
        let list: Vec<&str> = versions.into_iter().collect();
        let text = format!("nodes have different versions: {}", list.join(", "));
        let severity = Severity::Warning;
        found.push(Finding {
            severity,
            kind: "version_skew",
            subject: "nodes".to_owned(),
            text,
            topic: None,
            channel: None,
            node: None,
        });
    }
}

fn look_at_lookupds(lookupds: &[LookupdHealth], found: &mut Vec<Finding>) {
    let all_silent = lookupds.iter().all(|of| !of.ok);
    for of in lookupds {
        if !of.ok {
            let severity = if all_silent { Severity::Critical } else { Severity::Warning };
            let error = of.error.clone();
            found.push(Finding::of_lookupd(severity, "lookupd_unreachable", of, error));
        }
        for (what, missing) in [("nodes", &of.missing), ("topics", &of.missing_topics)] {
            if missing.is_empty() {
                continue;
            }
            let shown: Vec<&str> = missing.iter().take(5).map(String::as_str).collect();
            let more = match missing.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let text = format!("it lacks {what} that others have: {}{more}", shown.join(", "));
            found.push(Finding::of_lookupd(Severity::Warning, "lookupd_disagrees", of, text));
        }
    }
}

fn look_at_topic(name: &str, of: &Numbers, found: &mut Vec<Finding>) {
    use Severity::{Info, Warning};
    let mut add = |severity, kind, text: &str| {
        found.push(Finding::of_topic(severity, kind, name, text.to_owned()));
    };
    if of.nodes == 0 {
        add(Info, "topic_without_producers", "no node has it");
        return;
    }
    if of.paused {
        let severity = if of.depth > 0 { Warning } else { Info };
        add(severity, "topic_paused", &format!("it is paused, {} messages wait", of.depth));
    }
    if of.channels == 0 {
        let severity = if of.depth > 0 { Warning } else { Info };
        let text = format!("it has no channel, {} messages wait for one", of.depth);
        add(severity, "topic_without_channels", &text);
    }
}

fn look_at_channel(name: (&str, &str), of: &Numbers, found: &mut Vec<Finding>) {
    let waiting = of.depth + of.deferred;
    let severity = if waiting > 0 { Severity::Warning } else { Severity::Info };
    let mut add = |kind, text| found.push(Finding::of_channel(severity, kind, name, text));
    if of.paused {
        add("channel_paused", format!("it is paused, {waiting} messages wait"));
    }
    if of.clients == 0 {
        let text = format!("nobody consumes it, {waiting} messages wait");
        add("channel_without_consumers", text);
    }
}

/// A cluster with ten thousand idle channels is told so once.
fn shorten(found: Vec<Finding>) -> Vec<Finding> {
    let mut short: Vec<Finding> = Vec::new();
    let mut count = 0;
    let mut left_out = 0;
    for finding in found {
        let same = |last: &Finding| last.kind == finding.kind && last.severity == finding.severity;
        count = if short.last().is_some_and(same) { count + 1 } else { 1 };
        if count > OF_A_KIND_MAX {
            left_out += 1;
            if let Some(last) = short.last_mut() {
                last.subject = format!("{} more", left_out + 1);
                (last.topic, last.channel, last.node) = (None, None, None);
            }
            continue;
        }
        left_out = 0;
        short.push(finding);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::{Checkup, Finding, LookupdHealth, NodeHealth, OF_A_KIND_MAX, Severity, findings};
    use crate::nsqadmin::history::{Numbers, Totals};

    fn node(address: &str) -> NodeHealth {
        NodeHealth {
            address: address.to_owned(),
            version: "1.3.0".to_owned(),
            ok: true,
            health: "OK".to_owned(),
            uptime_s: Some(100_000),
            ..NodeHealth::default()
        }
    }

    fn lookupd(address: &str) -> LookupdHealth {
        let address = address.to_owned();
        LookupdHealth { address, ok: true, ..LookupdHealth::default() }
    }

    fn kinds(checkup: &Checkup, totals: &Totals) -> Vec<(Severity, &'static str)> {
        findings(checkup, totals).iter().map(|found| (found.severity, found.kind)).collect()
    }

    #[test]
    fn a_healthy_cluster_has_no_findings() {
        let checkup = Checkup {
            nodes: vec![node("a:1"), node("b:1")],
            lookupds: vec![lookupd("l:1")],
            ..Checkup::default()
        };
        assert_eq!(findings(&checkup, &Totals::default()), Vec::<Finding>::new());
    }

    #[test]
    fn what_is_wrong_with_nodes_is_found() {
        use Severity::{Critical, Info, Warning};
        let gib = 1024.0 * 1024.0 * 1024.0;
        let nodes = vec![
            NodeHealth { ok: false, error: "refused".to_owned(), ..node("a:1") },
            NodeHealth { health: "NOK - disk".to_owned(), ..node("b:1") },
            NodeHealth {
                data_path_free_bytes: Some(gib),
                data_path_size_bytes: Some(100.0 * gib),
                ..node("c:1")
            },
            NodeHealth { clock_skew_ms: Some(-30_000), uptime_s: Some(5), ..node("d:1") },
            NodeHealth { version: "1.2.0".to_owned(), ..node("e:1") },
            NodeHealth { missing_lookupds: vec!["l:1".to_owned()], ..node("f:1") },
        ];
        let checkup = Checkup { nodes, ..Checkup::default() };
        let wanted = [
            (Critical, "disk_nearly_full"),
            (Critical, "node_unhealthy"),
            (Critical, "node_unreachable"),
            (Warning, "clock_skew"),
            (Warning, "lookupd_disagrees"),
            (Warning, "version_skew"),
            (Info, "restarted"),
        ];
        assert_eq!(kinds(&checkup, &Totals::default()), wanted);
    }

    #[test]
    fn lookup_servers_that_are_silent_or_disagree_are_found() {
        let silent = LookupdHealth { ok: false, ..lookupd("l:1") };
        let missing: Vec<String> = (0..7).map(|topic| format!("t{topic}")).collect();
        let lacking = LookupdHealth { missing_topics: missing, ..lookupd("l:2") };
        let lookupds = vec![silent, lacking];
        let found = findings(&Checkup { lookupds, ..Checkup::default() }, &Totals::default());
        assert_eq!(found[0].kind, "lookupd_disagrees");
        assert!(found[0].text.ends_with("t0, t1, t2, t3, t4 and 2 more"), "{}", found[0].text);
        assert_eq!((found[1].kind, found[1].severity), ("lookupd_unreachable", Severity::Warning));
        let silent = LookupdHealth { ok: false, ..lookupd("l:1") };
        let all = Checkup { lookupds: vec![silent], ..Checkup::default() };
        assert_eq!(findings(&all, &Totals::default())[0].severity, Severity::Critical);
    }

    #[test]
    fn topics_and_channels_that_stand_still_are_found() {
        let mut totals = Totals::default();
        totals.topics.insert("idle".to_owned(), Default::default());
        let mut topic = crate::nsqadmin::history::rates::TopicTotals {
            numbers: Numbers { nodes: 1, channels: 1, ..Numbers::default() },
            ..Default::default()
        };
        let channel = Numbers { depth: 5, paused: true, ..Numbers::default() };
        topic.channels.insert("c".to_owned(), channel);
        totals.topics.insert("t".to_owned(), topic);
        let found = findings(&Checkup::default(), &totals);
        let shown: Vec<(&str, &str)> =
            found.iter().map(|found| (found.kind, found.subject.as_str())).collect();
        let wanted = [
            ("channel_paused", "t/c"),
            ("channel_without_consumers", "t/c"),
            ("topic_without_producers", "idle"),
        ];
        assert_eq!(shown, wanted);
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(found[0].channel.as_deref(), Some("c"));
    }

    #[test]
    fn many_of_a_kind_are_told_once() {
        let mut totals = Totals::default();
        for topic in 0..1000 {
            totals.topics.insert(format!("t{topic:04}"), Default::default());
        }
        let found = findings(&Checkup::default(), &totals);
        assert_eq!(found.len(), OF_A_KIND_MAX);
        assert_eq!(found.last().unwrap().subject, "801 more");
        assert_eq!(found.last().unwrap().topic, None);
    }
}
