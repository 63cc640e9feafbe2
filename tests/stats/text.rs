//! The text form of the statistics, column by column.

use super::known_flow;
use crate::harness::{Broker, on_each_peer};

/// What follows the memory block; `#` stands for a client's port, `~` for a duration.
const TOPICS: &str = "
Topics:
*P [empty          ] depth: 0     be-depth: 0     msgs: 0        e2e%: 
   *P [a                        ] depth: 0     be-depth: 0     inflt: 0    def: 0    re-q: 0     \
timeout: 0     msgs: 0        e2e%: 

   [orders         ] depth: 0     be-depth: 0     msgs: 4        e2e%: 
      [archive                  ] depth: 1     be-depth: 0     inflt: 1    def: 1    re-q: 1     \
timeout: 0     msgs: 4        e2e%: 
        [V2 ch:# sub/1] state: 3 inflt: 1    rdy: 0    fin: 1        re-q: 1        \
msgs: 3        connected: ~

Producers:
   [V2 ph:# pub/1] msgs: 4        topics: orders=4 connected: ~
";

/// Replaces what differs from run to run in client lines; their padding depends on the port.
fn mask(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let (Some(from), Some(to)) = (line.find("[V2 "), line.find(" connected: ")) else {
            return format!("{line}\n");
        };
        let close = line.find(']').unwrap();
        let (client, agent) = line[from + 4..close].trim_end().rsplit_once(' ').unwrap();
        let (name, port) = client.rsplit_once(':').unwrap();
        assert!(port.parse::<u16>().is_ok(), "{line}");
        assert!(close - from - 4 >= 21, "narrower than its column: {line}");
        assert!(line.ends_with('s'), "{line}");
        format!("{}[V2 {name}:# {agent}{} connected: ~\n", &line[..from], &line[close..to])
    });
    lines.collect()
}

#[test]
fn columns() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let _clients = known_flow(&broker);
        let reply = broker.request("GET", "/stats", b"");
        let text = reply.text();
        let (head, rest) = text.split_once("\nTopics:").unwrap();
        head_lines(head);
        assert_eq!(mask(&format!("\nTopics:{rest}")), TOPICS);
    });
}

fn head_lines(head: &str) {
    let lines: Vec<&str> = head.lines().collect();
    assert!(lines[0].starts_with("nsqd v1.3.0 (built w/"), "{}", lines[0]);
    assert!(lines[1].starts_with("start_time 2") && lines[1].contains('T'), "{}", lines[1]);
    assert!(lines[2].starts_with("uptime ") && lines[2].ends_with('s'), "{}", lines[2]);
    assert_eq!(lines[3..7], ["", "Health: OK", "", "Memory:"]);
    let keys = [
        "heap_objects",
        "heap_idle_bytes",
        "heap_in_use_bytes",
        "heap_released_bytes",
        "gc_pause_usec_100",
        "gc_pause_usec_99",
        "gc_pause_usec_95",
        "next_gc_bytes",
        "gc_total_runs",
    ];
    assert_eq!(lines.len(), 7 + keys.len());
    for (line, key) in lines[7..].iter().zip(keys) {
        let start = format!("   {key:<25}\t");
        let value = line.strip_prefix(&start).unwrap_or_else(|| panic!("{line:?}"));
        assert!(value.parse::<u64>().is_ok(), "{line:?}");
    }
}

/// With nothing there, both lists say so; without memory and clients their parts are missing.
#[test]
fn nothing_there() {
    on_each_peer(|peer| {
        let broker = Broker::start(peer, &[]);
        let text = broker.request("GET", "/stats", b"").text().to_string();
        assert!(text.ends_with("\nTopics: None\n\nProducers: None\n"), "{text}");
        let text = broker.request("GET", "/stats?include_mem=false", b"").text().to_string();
        assert!(!text.contains("Memory"), "{text}");
        let _clients = known_flow(&broker);
        let target = "/stats?include_clients=false&topic=orders";
        let text = broker.request("GET", target, b"").text().to_string();
        assert!(text.contains("[orders ") && !text.contains("empty"), "{text}");
        assert!(!text.contains("[V2 "), "{text}");
    });
}
