//! Taking out what is proven gone.
//!
//! Rule: absence alone proves nothing. A row that the run did not meet goes when what it hangs below is proven gone;
//! else when the object itself answers 404; a relation, which cannot be asked for, when its parent's listing was
//! read to its end without it, twice: pages are positions, so life on an earlier page can hide a row once. Anything
//! else stays as it is.

use std::collections::{BTreeSet, HashSet};

use crate::backup::stage::{Missing, Stage};
use crate::backup::staged;
use crate::crawl::{Scope, Walk};
use crate::error::Result;
use crate::resources::{self, Resource};

/// Settles every missing row, parents before what hangs below them.
pub(super) async fn settle(walk: &Walk, stage: &mut Stage, scope: &Scope) -> Result<()> {
    // By gid, which is unique over all tables.
    let mut gone: HashSet<Box<str>> = HashSet::new();
    for resource in resources::ALL.iter().copied().filter(|resource| scope.keeps(resource)) {
        if resource.single.is_none() {
            list_again(walk, stage, resource).await?;
        }
        let mut ask = Vec::new();
        for row in stage.missing(resource)? {
            match verdict(resource, &row, &gone, stage) {
                Verdict::Gone => take_out(stage, resource, &row.key, &mut gone)?,
                Verdict::Ask => ask.push((resource, row.key)),
                Verdict::Keep => {}
            }
        }
        if ask.is_empty() {
            continue;
        }
        tracing::debug!(table = resource.table, rows = ask.len(), "asking for rows that no listing brought");
        let asked = staged(stage, |told| {
            let walk = walk.clone();
            async move { walk.singles(ask, &told).await }
        })
        .await?;
        for (resource, gid) in asked.gone {
            take_out(stage, resource, &gid, &mut gone)?;
        }
    }
    Ok(())
}

async fn list_again(walk: &Walk, stage: &mut Stage, resource: &'static Resource) -> Result<()> {
    let missing = stage.missing(resource)?;
    let parents: BTreeSet<_> = missing.into_iter().filter_map(|row| row.parent).collect();
    let parents: Vec<_> = parents.into_iter().filter(|parent| stage.listed(resource, parent)).collect();
    if parents.is_empty() {
        return Ok(());
    }
    staged(stage, |told| {
        let walk = walk.clone();
        async move { walk.again(resource, parents, &told).await }
    })
    .await
}

enum Verdict {
    Gone,
    Ask,
    Keep,
}

fn verdict(resource: &Resource, row: &Missing, gone: &HashSet<Box<str>>, stage: &Stage) -> Verdict {
    let parent = row.parent.as_deref();
    if resource.goes_with_parent && parent.is_some_and(|parent| gone.contains(parent)) {
        return Verdict::Gone;
    }
    match (resource.single, parent) {
        (Some(_), _) => Verdict::Ask,
        (None, Some(parent)) if stage.listed(resource, parent) => Verdict::Gone,
        (None, _) => Verdict::Keep,
    }
}

fn take_out(stage: &mut Stage, resource: &Resource, key: &str, gone: &mut HashSet<Box<str>>) -> Result<()> {
    stage.gone(resource, key)?;
    gone.insert(key.into());
    Ok(())
}
