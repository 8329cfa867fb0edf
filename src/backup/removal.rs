//! Settling what a run did not meet, although the repository has it.
//!
//! Rule: absence alone proves nothing. A row is asked about when the listing that would name it was read to its end
//! without it; it is proven gone when what it hangs below is, else when the object itself answers 404; a relation,
//! which cannot be asked for, when its parent's listing was read to its end without it, twice: pages are positions, so
//! life on an earlier page can hide a row once. Anything else stays as it is.

use std::collections::{BTreeSet, HashSet};

use crate::backup::stage::Missing;
use crate::backup::work::Work;
use crate::crawl::{Ask, Unit, Why};
use crate::error::Result;
use crate::resources::{self, Below, Resource};

/// Settles every missing row, parents before what hangs below them.
pub(super) async fn settle(work: &mut Work<'_>) -> Result<()> {
    // Whoever walks nothing has no use for what only helps to find records below what is there still.
    let walks = work.walks();
    let why = if walks { Why::Missing } else { Why::Unlisted };
    for resource in resources::ALL.iter().copied() {
        if !work.walk.scope().keeps(resource) {
            continue;
        }
        // What is gone may take others along, and those others again.
        let mut asked = HashSet::new();
        loop {
            fetch(work, resource).await?;
            let ask = judge(work, resource, &asked)?;
            if ask.is_empty() {
                break;
            }
            tracing::debug!(
                table = resource.table,
                rows = ask.len(),
                "asking for rows that no listing brought"
            );
            work.want(ask.iter().map(|key| Unit::single(resource, key, why)).collect()).await?;
            work.drain().await?;
            asked.extend(ask);
        }
        if resource.single.is_none() {
            list_again(work, resource).await?;
        }
    }
    Ok(())
}

/// Sees to it that every row which may be missing is in the index.
async fn fetch(work: &mut Work<'_>, resource: &'static Resource) -> Result<()> {
    if work.stage.is_loaded(resource) {
        return Ok(());
    }
    let mut parents = work.take_listed_names(resource);
    for above in above(resource) {
        parents.extend(work.stage.gone_of(above).map(Box::from));
    }
    if parents.remove(work.walk.organization()) {
        // Everything was listed: there is no telling what is missing but by looking at it all.
        return work.load(resource).await;
    }
    work.stage.fetch_below(resource, &parents).await
}

/// The tables that records of `resource` may hang below.
fn above(resource: &Resource) -> impl Iterator<Item = &'static Resource> + Clone {
    let below = |above: &Resource| resource.listings.iter().any(|one| one.below == Below::Table(above.table));
    resources::ALL.iter().copied().filter(move |above| below(above))
}

/// Notes what is proven gone, and says which rows must be asked for.
fn judge(
    work: &mut Work<'_>,
    resource: &'static Resource,
    asked: &HashSet<Box<str>>,
) -> Result<Vec<Box<str>>> {
    if resource.goes_with_parent {
        for above in above(resource) {
            work.stage.gone_below(resource, above)?;
        }
    }
    let mut ask = Vec::new();
    if resource.single.is_some() {
        for row in work.stage.missing(resource)? {
            if !asked.contains(&row.key) && is_expected(work, resource, &row) {
                ask.push(row.key);
            }
        }
    }
    Ok(ask)
}

/// What was put off because it may go with what it hangs below: what is left to ask for.
pub(super) async fn without_gone(work: &mut Work<'_>) -> Result<Vec<Unit>> {
    let mut left = Vec::new();
    for unit in work.walk.take_later() {
        work.stage.fetch(unit.resource, std::iter::once(&*unit.gid)).await?;
        let parent = work.stage.parent(unit.resource, &unit.gid)?;
        let row = Missing { key: unit.gid.clone(), parent };
        if !parent_is_gone(work, unit.resource, &row) {
            left.push(unit);
        }
    }
    Ok(left)
}

/// What asks for the deletions that were held back, when they may happen now: each by itself, a relation by the listing
/// of its parent, and what goes with a parent that is asked for not at all.
pub(super) async fn held_units(work: &mut Work<'_>) -> Result<Vec<Unit>> {
    let Some(base) = work.base.as_ref().filter(|_| work.run.accept_deletions) else { return Ok(Vec::new()) };
    let held: BTreeSet<(String, String)> = work.run.repository.list(base.snapshot.held).await?;
    let (mut units, mut parents) = (Vec::new(), BTreeSet::new());
    for resource in resources::ALL.iter().copied() {
        let keys = held.iter().filter(|(table, _)| table == resource.table).map(|(_, key)| &**key);
        work.stage.fetch(resource, keys.clone()).await?;
        for key in keys {
            let parent = work.stage.parent(resource, key)?.filter(|_| resource.goes_with_parent);
            let is_held =
                |above: &Resource, parent: &str| held.contains(&(above.table.into(), parent.into()));
            match parent {
                Some(parent) if resources::tables_above(resource).any(|above| is_held(above, &parent)) => {}
                Some(parent) if resource.single.is_none() => _ = parents.insert((resource.place(), parent)),
                _ if resource.single.is_some() => units.push(Unit::single(resource, key, Why::Missing)),
                _ => {}
            }
        }
    }
    let listings = parents.iter().flat_map(|(place, parent)| Unit::proving(resources::ALL[*place], parent));
    Ok(units.into_iter().chain(listings).collect())
}

fn parent_is_gone(work: &Work<'_>, resource: &Resource, row: &Missing) -> bool {
    let Some(parent) = &row.parent else { return false };
    above(resource).any(|above| work.stage.is_gone(above, parent))
}

/// The question about one record, asked as about one that no listing brought, where this run should have met it.
pub(super) async fn as_expected(work: &mut Work<'_>, unit: Unit) -> Result<Unit> {
    if !matches!(unit.ask, Ask::Single(_)) {
        return Ok(unit);
    }
    work.stage.fetch(unit.resource, std::iter::once(&*unit.gid)).await?;
    let row = Missing { key: unit.gid.clone(), parent: work.stage.parent(unit.resource, &unit.gid)? };
    let is_expected = is_expected(work, unit.resource, &row);
    Ok(if is_expected { Unit::single(unit.resource, &unit.gid, Why::Missing) } else { unit })
}

/// Whether this run should have met the row.
fn is_expected(work: &Work<'_>, resource: &Resource, row: &Missing) -> bool {
    let Some(planned) = &work.planned else { return false };
    let parent = row.parent.as_deref();
    planned.meets_all_of(resource)
        || work.is_listed(resource, work.walk.organization())
        || parent.is_some_and(|parent| work.is_listed(resource, parent))
        || (resource.table == "tasks" && planned.slices.hold(&row.key))
        || (resource.table == "tasks" && parent.is_some_and(|parent| work.stage.is_gone(resource, parent)))
}

/// Lists relations once more, and notes those that are absent again, or whose parent is not there any more.
async fn list_again(work: &mut Work<'_>, resource: &'static Resource) -> Result<()> {
    let missing = work.stage.missing(resource)?;
    let is_listed =
        |row: &Missing| row.parent.as_ref().filter(|parent| work.is_listed(resource, parent)).cloned();
    let parents: BTreeSet<Box<str>> = missing.iter().filter_map(is_listed).collect();
    let units = parents.iter().flat_map(|parent| Unit::proving(resource, parent)).collect();
    // Refused this time, there is no second listing.
    parents.iter().for_each(|parent| work.forget_listed(resource, parent));
    let asked_at = work.run.clock.now();
    work.want(units).await?;
    work.drain().await?;
    for row in work.stage.missing(resource)? {
        let Some(parent) = &row.parent else { continue };
        if parents.contains(parent) && work.is_listed(resource, parent) {
            work.stage.gone(resource, &row.key, asked_at, "absent from two complete listings")?;
        } else if is_orphan(work, resource, parent)? {
            work.stage.gone(resource, &row.key, asked_at, "what it hung below is not there")?;
        }
    }
    Ok(())
}

/// Whether this run has listed everything that `parent` could be, and it is not there.
fn is_orphan(work: &Work<'_>, resource: &Resource, parent: &str) -> Result<bool> {
    for above in above(resource) {
        if !work.is_listed(above, work.walk.organization()) || work.stage.has(above, parent)? {
            return Ok(false);
        }
    }
    Ok(true)
}
