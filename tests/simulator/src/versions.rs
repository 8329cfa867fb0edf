//! The oracle of a stretch of time: every version of every record that was true at some moment of it.
//!
//! Rule: a record changes by the copies it embeds as well as by its own edits, so the whole table is evaluated at
//! each moment at which anything was edited. That is honest for some hundreds of records, and slow for many more.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::simulator::oracle;
use crate::time::Ms;
use crate::truth::{self, Row};
use crate::world::World;

/// One record over a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Versions {
    /// Its gid; of a portfolio's item, the portfolio's and the item's with a colon between.
    pub key: String,
    /// The versions that were true at some moment, in the order in which they began, each as [`truth`] shows it. A
    /// version that was true twice is there twice.
    ///
    /// [`truth`]: crate::Simulator::truth
    pub versions: Vec<Value>,
    /// It lived from the first moment to the last without a gap.
    pub throughout: bool,
}

/// The versions of a table's records at these moments.
pub(crate) fn versions(world: &World, table: &str, moments: &[Ms]) -> Vec<Versions> {
    let mut found: BTreeMap<String, (Vec<Value>, usize)> = BTreeMap::new();
    for at in moments {
        let view = oracle(world, *at);
        for row in truth::rows(world, table, *at) {
            let key = match row {
                Row::Record(row) => view.gid(row.kind, row.id).to_string(),
                Row::Item { portfolio, project } => {
                    let gid = |kind, id| view.gid(kind, id);
                    let (kind, of) = (crate::gid::Kind::Portfolio, crate::gid::Kind::Project);
                    format!("{}:{}", gid(kind, portfolio), gid(of, project))
                }
            };
            let mut line = Vec::new();
            truth::write(&view, row, &mut line);
            let record = serde_json::from_slice(&line).expect("the records are JSON");
            let (versions, lived) = found.entry(key).or_default();
            *lived += 1;
            if versions.last() != Some(&record) {
                versions.push(record);
            }
        }
    }
    let whole = moments.len();
    let each = |(key, (versions, lived))| Versions { key, versions, throughout: lived == whole };
    found.into_iter().map(each).collect()
}
