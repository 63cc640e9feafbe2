//! Percentiles of processing times, of a node and of several together.
//!
//! What nodes tell are percentiles, so what is made of them here are averages of percentiles,
//! weighted by the samples behind them, with the least and the greatest beside them.

use serde::{Deserialize, Serialize};

use super::wire::{go_float, nullable};

/// `e2e_processing_latency`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Latency {
    /// Samples.
    pub count: i64,
    /// In the order of the node's configuration; `null` when it has none.
    #[serde(deserialize_with = "nullable")]
    #[serde(serialize_with = "null_when_empty")]
    pub percentiles: Vec<Percentile>,
    /// Whose; empty for a single node.
    pub topic: String,
    /// As above.
    pub channel: String,
    /// `*` for several nodes, empty for one.
    pub host: String,
}

/// One percentile, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Percentile {
    /// The mean of the nodes' values, weighted by their samples.
    #[serde(serialize_with = "go_float")]
    pub average: f64,
    /// Samples.
    #[serde(serialize_with = "go_float")]
    pub count: f64,
    /// The greatest of the nodes' values.
    #[serde(serialize_with = "go_float")]
    pub max: f64,
    /// The least of the values of nodes with samples.
    #[serde(serialize_with = "go_float")]
    pub min: f64,
    /// Above 0 and up to 1.
    #[serde(serialize_with = "go_float")]
    pub quantile: f64,
    /// A single node's value.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "go_float_if_any")]
    pub value: Option<f64>,
}

fn null_when_empty<S: serde::Serializer>(list: &[Percentile], to: S) -> Result<S::Ok, S::Error> {
    if list.is_empty() { to.serialize_none() } else { to.collect_seq(list) }
}

fn go_float_if_any<S: serde::Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    go_float(&value.unwrap_or_default(), to)
}

impl Latency {
    /// That of several nodes; nothing is in it yet.
    pub fn of_all(topic: &str, channel: &str) -> Latency {
        Latency {
            topic: topic.to_owned(),
            channel: channel.to_owned(),
            host: "*".to_owned(),
            ..Latency::default()
        }
    }

    /// Makes the most of what a node says: one value each.
    pub fn completed(mut self) -> Latency {
        #[allow(clippy::cast_precision_loss, reason = "counts of samples are small")]
        let count = self.count as f64;
        for percentile in &mut self.percentiles {
            let value = percentile.value.unwrap_or_default();
            percentile.average = value;
            percentile.max = value;
            percentile.min = value;
            percentile.count = count;
        }
        self
    }

    /// Takes in those of another node.
    pub fn add(&mut self, other: &Latency) {
        self.count += other.count;
        for theirs in &other.percentiles {
            let same = |ours: &&mut Percentile| ours.quantile == theirs.quantile;
            match self.percentiles.iter_mut().find(same) {
                Some(ours) => ours.add(theirs),
                None => self.percentiles.push(Percentile { value: None, ..theirs.clone() }),
            }
        }
    }
}

impl Percentile {
    fn add(&mut self, other: &Percentile) {
        self.max = self.max.max(other.max);
        // A node without samples says 0, which nobody measured.
        if self.count == 0.0 {
            self.min = other.min;
        } else if other.count > 0.0 {
            self.min = self.min.min(other.min);
        }
        self.count += other.count;
        if self.count > 0.0 {
            self.average += (other.average - self.average) * other.count / self.count;
        } else {
            self.average = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Latency;

    fn node(count: i64, p99: f64, p95: f64) -> Latency {
        let said = json!({"count": count, "percentiles":
            [{"quantile": 0.99, "value": p99}, {"quantile": 0.95, "value": p95}]});
        serde_json::from_value::<Latency>(said).unwrap().completed()
    }

    fn merged(nodes: &[Latency]) -> Value {
        let mut all = Latency::of_all("t", "c");
        nodes.iter().for_each(|node| all.add(node));
        serde_json::to_value(all).unwrap()
    }

    #[test]
    fn a_node_has_one_value_each() {
        let shown = serde_json::to_value(node(10, 250.5, 100.0)).unwrap();
        let p99 = json!({"average": 250.5, "count": 10, "max": 250.5, "min": 250.5,
            "quantile": 0.99, "value": 250.5});
        assert_eq!(shown["percentiles"][0], p99);
        assert_eq!(shown["host"], "");
        let none = json!({"count": 0, "percentiles": null});
        let none = serde_json::from_value::<Latency>(none).unwrap().completed();
        assert_eq!(serde_json::to_value(none).unwrap()["percentiles"], Value::Null);
    }

    #[test]
    fn nodes_are_averaged_by_their_samples() {
        let all = merged(&[node(10, 100.0, 50.0), node(30, 300.0, 20.0)]);
        let p99 = json!({"average": 250, "count": 40, "max": 300, "min": 100, "quantile": 0.99});
        assert_eq!(all["percentiles"][0], p99);
        assert_eq!(all["percentiles"][1]["average"], json!(27.5));
        assert_eq!((&all["count"], &all["host"]), (&json!(40), &json!("*")));
        assert_eq!((&all["topic"], &all["channel"]), (&json!("t"), &json!("c")));
    }

    #[test]
    fn the_least_is_the_least_in_whatever_order_nodes_come() {
        let (a, b, c) = (node(1, 100.0, 1.0), node(1, 50.0, 1.0), node(1, 70.0, 1.0));
        for order in [[&a, &b, &c], [&b, &c, &a], [&c, &a, &b]] {
            let all = merged(&order.map(Clone::clone));
            assert_eq!(all["percentiles"][0]["min"], 50);
            assert_eq!(all["percentiles"][0]["max"], 100);
        }
    }

    #[test]
    fn nodes_without_samples_change_nothing() {
        let (idle, busy) = (node(0, 0.0, 0.0), node(5, 80.0, 60.0));
        for order in [[&idle, &busy], [&busy, &idle]] {
            let all = merged(&order.map(Clone::clone));
            let p99 = &all["percentiles"][0];
            assert_eq!((&p99["min"], &p99["average"]), (&json!(80), &json!(80)), "{all}");
        }
        let all = merged(&[idle.clone(), idle]);
        assert_eq!(all["percentiles"][0]["average"], 0);
    }
}
