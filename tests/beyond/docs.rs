//! The examples of `docs/BEYOND.md`, run as they stand there.

use std::path::Path;
use std::process::Command;

use crate::harness::{Broker, on_each_shoal};

/// Scripts and what they print, in order.
fn examples(text: &str) -> Vec<(String, String)> {
    let mut blocks = text.split("```");
    let mut found = Vec::new();
    let mut script = None;
    while let (Some(_), Some(block)) = (blocks.next(), blocks.next()) {
        let (kind, body) = block.split_once('\n').unwrap();
        match (kind, script.take()) {
            ("sh", None) => script = Some(body.to_owned()),
            ("json" | "text", Some(script)) => found.push((script, body.trim().to_owned())),
            (kind, _) => panic!("a block of {kind} where none should be"),
        }
    }
    assert!(script.is_none(), "a script without what it prints");
    found
}

#[test]
fn the_examples_do_what_they_say() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/BEYOND.md");
    let text = std::fs::read_to_string(path).unwrap();
    let examples = examples(&text);
    assert_eq!(examples.len(), 5, "each part has one");
    on_each_shoal("the original has none of it", |peer| {
        let broker = Broker::start(peer, &["--max-defer-time=2400h"]);
        for (script, wanted) in &examples {
            let run = Command::new("sh")
                .args(["-eu", "-c", script])
                .env("NSQD", format!("http://{}", broker.http))
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{script}: {errors}");
            assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), wanted, "{script}");
        }
    });
}
