//! nsqadmin's page in Chromium, over a cluster: two of our nsqds, the original's where
//! `SHOAL_TEST_PEER` names it, and two nsqlookupds.
//!
//! What is looked at stands in the scripts beside this file, `main.mjs` first. Their pictures are
//! kept in `target/page/` for people to look at. `SHOAL_PAGE_ONLY` may name some scenarios.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Broker, Peer, SOON, eventually, request};
use crate::nsqadmin::{Admin, lookupd};

/// A nsqlookupd, and where nodes connect to it.
type Lookupd = (Admin, SocketAddr);

/// Much longer than it takes, on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(600);
/// nsqadmin gives up on a node that hangs after this.
const REQUEST_TIMEOUT: &str = "--http-client-request-timeout=2s";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("page")
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/nsqadmin/page")
}

fn must_be_set_up() {
    for place in [folder(), source()] {
        let stamp = place.join("node_modules/.stamp");
        assert!(stamp.exists(), "{} is missing: run tests/page/setup", stamp.display());
    }
}

fn nsqadmin(lookupds: &[Lookupd], flags: &[&str]) -> Admin {
    let known = lookupds.iter().map(|(lookupd, _)| lookupd.http);
    let mut all: Vec<String> = known.map(|http| format!("--lookupd-http-address={http}")).collect();
    all.push(REQUEST_TIMEOUT.to_string());
    all.extend(flags.iter().map(ToString::to_string));
    Admin::start(&all)
}

/// Nodes that both lookupds know, ours first.
fn nodes(lookupds: &[Lookupd]) -> Vec<Broker> {
    let mut peers = vec![Peer::Shoal { shards: 1 }, Peer::Shoal { shards: 2 }];
    match std::env::var_os("SHOAL_TEST_PEER") {
        Some(_) => peers.push(Peer::Original),
        None => eprintln!("without an original node: SHOAL_TEST_PEER does not name one"),
    }
    let flags: Vec<String> =
        lookupds.iter().map(|(_, tcp)| format!("--lookupd-tcp-address={tcp}")).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let started: Vec<Broker> = peers.iter().map(|peer| Broker::start(*peer, &flags)).collect();
    for (lookupd, _) in lookupds {
        eventually("the nodes are registered", SOON, || {
            let known = request(lookupd.http, "GET", "/nodes", b"").json();
            known["producers"].as_array().is_some_and(|all| all.len() == started.len())
        });
    }
    started
}

fn url(admin: &Admin) -> String {
    format!("http://{}", admin.http)
}

fn plan(admin: &Admin, reader: &Admin, nodes: &[Broker], lookupds: &[Lookupd]) -> Value {
    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/page");
    std::fs::create_dir_all(&shots).unwrap();
    let known = |node: &Broker| {
        let (http, tcp) = (node.http.to_string(), node.tcp.to_string());
        json!({ "http": http, "tcp": tcp, "pid": node.pid() })
    };
    let lookupd = |(lookupd, _): &Lookupd| lookupd.http.to_string();
    json!({
        "admin": url(admin),
        "admin_pid": admin.pid(),
        "reader": format!("{}/nsq/x", url(reader)),
        "nodes": nodes.iter().map(known).collect::<Vec<_>>(),
        "lookupds": lookupds.iter().map(lookupd).collect::<Vec<_>>(),
        "shots": shots,
    })
}

/// Every page, every action, and what is seen when nodes hang, die or half of an action fails.
#[test]
fn in_a_browser() {
    if !Peer::shoal_is_built() {
        eprintln!("only for Shoal, which is not built");
        return;
    }
    must_be_set_up();
    let lookupds = [lookupd(), lookupd()];
    let nodes = nodes(&lookupds);
    let admin = nsqadmin(&lookupds, &[]);
    let reader = nsqadmin(&lookupds, &["--admin-user=somebody-else", "--base-path=/nsq/x"]);
    let mut command = Command::new("node");
    command.arg("main.mjs").current_dir(folder());
    command.env("PAGE_PLAN", plan(&admin, &reader, &nodes, &lookupds).to_string());
    let only = std::env::var("SHOAL_PAGE_ONLY").unwrap_or_default();
    command.args(only.split_whitespace());
    let exit = Broker::run(command, WITHIN);
    eprintln!("{}", exit.output);
    assert!(exit.status.success(), "{}", exit.status);
}

/// Who changes the source of the page builds it anew; it has the types that it claims, and is set
/// as its formatter sets it.
#[test]
fn is_built_from_its_source() {
    must_be_set_up();
    for script in ["check", "types", "style"] {
        let mut command = Command::new("npm");
        command.args(["run", "--silent", script]).current_dir(source());
        let exit = Broker::run(command, WITHIN);
        assert!(exit.status.success(), "npm run {script}: {}", exit.output);
    }
}

/// The pages refer to nothing outside, and run no script that stands in them.
#[test]
fn is_whole() {
    let built = source().join("dist");
    let index = std::fs::read_to_string(built.join("index.html")).unwrap();
    for outside in ["http:", "https:", "//cdn", "<script>", "style="] {
        assert!(!index.contains(outside), "index.html contains {outside}");
    }
    let style = std::fs::read_to_string(built.join("main.css")).unwrap();
    assert!(!style.contains("@import") && !style.contains("url("), "main.css refers elsewhere");
}
