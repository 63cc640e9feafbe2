//! The brokers of a comparison, and how each is started for a row.

use std::error::Error;
use std::ffi::OsString;

use crate::broker::{Durability, Kind, Recipe};
use crate::options::Bench;
use crate::rows::Row;

/// One broker of the comparison; Shoal may be several, with a promise each.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Without the row's arguments.
    recipe: Recipe,
    /// What Shoal is told to promise; its default otherwise.
    durability: Option<Durability>,
    /// Come last, so that they overrule the row's.
    last: Vec<OsString>,
}

impl Variant {
    /// Which kind of broker.
    pub fn kind(&self) -> Kind {
        self.recipe.kind
    }

    /// Name and version, as the broker says itself.
    pub fn version(&self) -> Result<String, Box<dyn Error>> {
        let version = self.recipe.version();
        Ok(version.map_err(|error| format!("{}: {error}", self.recipe.program.display()))?)
    }

    /// How it is started for a row.
    pub fn recipe(&self, row: &Row) -> Recipe {
        let mut recipe = self.recipe.clone();
        let of_row = match self.kind() {
            Kind::Shoal => row.setup.shoal,
            Kind::Original => row.setup.original,
            Kind::Floor => &[],
        };
        recipe.arguments.extend(of_row.iter().map(OsString::from));
        if let Some(durability) = row.setup.durability.or(self.durability)
            && self.kind() == Kind::Shoal
        {
            recipe.arguments.push(format!("--durability={}", durability.name()).into());
        }
        recipe.arguments.extend(self.last.iter().cloned());
        if self.kind() != Kind::Floor {
            recipe.metadata = row.metadata();
        }
        recipe.tls = row.setup.tls;
        recipe.shards = row.setup.shards;
        recipe
    }
}

/// The brokers to compare.
pub fn chosen(options: &Bench) -> Result<Vec<Variant>, Box<dyn Error>> {
    let mut variants = Vec::new();
    if !options.without_shoal {
        let shoal = |durability| Variant {
            recipe: Recipe {
                kind: Kind::Shoal,
                program: options.shoal.clone(),
                arguments: vec![OsString::from("--memory-limit=8GB")],
                metadata: None,
                tls: false,
                shards: 1,
            },
            durability,
            last: options.shoal_arg.clone(),
        };
        match options.durability.as_slice() {
            [] => variants.push(shoal(None)),
            listed => variants.extend(listed.iter().map(|durability| shoal(Some(*durability)))),
        }
    }
    if let Some(peer) = &options.peer {
        let arguments = vec![
            OsString::from(format!("--mem-queue-size={}", options.peer_mem_queue_size)),
            OsString::from("--log-level=warn"),
        ];
        let recipe = Recipe {
            kind: Kind::Original,
            program: peer.clone(),
            arguments,
            metadata: None,
            tls: false,
            shards: 1,
        };
        variants.push(Variant { recipe, durability: None, last: Vec::new() });
    }
    if options.floor {
        let program = std::env::current_exe()?;
        let recipe = Recipe {
            kind: Kind::Floor,
            program,
            arguments: Vec::new(),
            metadata: None,
            tls: false,
            shards: 1,
        };
        variants.push(Variant { recipe, durability: None, last: Vec::new() });
    }
    if variants.is_empty() {
        return Err("nothing to measure: neither Shoal nor --peer nor --floor".into());
    }
    Ok(variants)
}

/// Those that a row is for, in the order of this round: who was first in one is last in the next.
pub fn in_turn<'v>(variants: &'v [Variant], row: &Row, round: usize) -> Vec<&'v Variant> {
    let is_first_shoal = |at: usize| !variants[..at].iter().any(|one| one.kind() == Kind::Shoal);
    let applies = |at: usize, variant: &Variant| match variant.kind() {
        // With a promise of the row's own, all of them would be the same.
        Kind::Shoal => row.setup.durability.is_none() || is_first_shoal(at),
        // It has no shards: the row with one stands for it.
        Kind::Original => row.setup.shards == 1,
        Kind::Floor => row.setup.has_floor,
    };
    let fitting = variants.iter().enumerate().filter(|(at, variant)| applies(*at, variant));
    let mut fitting: Vec<&Variant> = fitting.map(|(_, variant)| variant).collect();
    if !fitting.is_empty() {
        let first = round % fitting.len();
        fitting.rotate_left(first);
    }
    fitting
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;
    use crate::rows::ROWS;

    fn row(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).unwrap()
    }

    fn variants(arguments: &[&str]) -> Vec<Variant> {
        let options = Options::parse_from([&["perf"], arguments].concat());
        chosen(&options.bench).unwrap()
    }

    fn arguments(variant: &Variant, name: &str) -> String {
        let recipe = variant.recipe(row(name));
        let texts = recipe.arguments.iter().map(|text| text.to_string_lossy());
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_row_overrules_the_run_and_the_user_overrules_both() {
        let all = variants(&[
            "--durability=memory,written",
            "--shoal-arg=--memory-limit=1GB",
            "--peer=nsqd",
            "--floor",
        ]);
        assert_eq!(
            arguments(&all[1], "overflow-fill"),
            "--memory-limit=8GB --memory-limit=256MB --durability=written --memory-limit=1GB"
        );
        assert!(arguments(&all[0], "synced-pub-1").contains(" --durability=synced "));
        assert!(arguments(&all[2], "synced-pub-1").ends_with("--sync-every=1 --mem-queue-size=0"));
        assert_eq!(arguments(&all[3], "mpub"), "");
        let default = variants(&[]);
        assert_eq!(arguments(&default[0], "mpub"), "--memory-limit=8GB");
    }

    #[test]
    fn promises_take_turns_and_a_row_with_its_own_has_one_shoal() {
        let all = variants(&["--durability=memory,written", "--peer=nsqd", "--floor"]);
        let first = |name, round| in_turn(&all, row(name), round)[0].durability;
        assert_eq!(first("mpub", 0), Some(Durability::Memory));
        assert_eq!(first("mpub", 1), Some(Durability::Written));
        let kinds = |name| in_turn(&all, row(name), 0).iter().map(|one| one.kind()).collect();
        let synced: Vec<Kind> = kinds("synced-pub-1");
        assert_eq!(synced, [Kind::Shoal, Kind::Original]);
        let mpub: Vec<Kind> = kinds("mpub");
        assert_eq!(mpub, [Kind::Shoal, Kind::Shoal, Kind::Original, Kind::Floor]);
    }
}
