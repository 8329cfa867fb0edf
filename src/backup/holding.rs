//! Holding deletions back that look like a mistake.
//!
//! Rule: somebody else's token sees other things, and a tenth of a table does not go every day: then a person has to say so.
//! What was held back before waits for that word too, until it is met again. A gap for each table says what is held.
//! A crash leaves nothing: what is held is part of the snapshot.

use std::collections::BTreeSet;

use crate::backup::stage::Last;
use crate::backup::work::Work;
use crate::error::Result;
use crate::model::Gap;
use crate::resources::{self, Resource};

/// Fewer rows than this may go at once, however small their table is.
const FEW: u64 = 10;
/// More than one in so many rows of a table gone at once is held back.
const TENTH: u64 = 10;
/// What a gap is called that is about deletions held back.
pub(super) const HELD: &str = "deletions";

/// Records by table and key.
type Names = BTreeSet<(String, String)>;

/// What is held back, and the last of what is not.
pub(super) struct Holding {
    pub(super) held: Vec<(String, String)>,
    pub(super) last: Vec<Last>,
}

impl Work<'_> {
    /// Decides whether what is proven gone goes. Somebody else's token sees other things, and a tenth of a table does
    /// not go every day: then a person has to say so. What was held back before waits for that word too, however
    /// little it is by now and however long the token has been another's.
    pub(super) async fn hold_or_take_out(&mut self) -> Result<Holding> {
        self.stage.drop_broken_cascades()?;
        let before: Names = self.base_held().await?.into_iter().collect();
        for resource in resources::ALL {
            let of_table = before.iter().filter(|(table, _)| table == resource.table);
            self.stage.fetch(resource, of_table.map(|(_, key)| key.as_str())).await?;
        }
        if self.run.accept_deletions {
            let mut held = self.still_held(&before)?;
            let is_gone = |table: &str, key: &str| {
                resources::by_table(table).is_some_and(|resource| self.stage.is_gone(resource, key))
            };
            held.retain(|(table, key)| !is_gone(table, key));
            // What could not be asked about waits for the next word.
            self.note_held(&before, &Names::new(), &held, "");
            return Ok(Holding { held: held.into_iter().collect(), last: self.stage.take_out().await? });
        }
        let reason = self.reason_to_hold();
        let kept: Names = self
            .stage
            .hold(|resource, key| {
                reason.is_some() || before.contains(&(resource.table.to_owned(), key.to_owned()))
            })
            .into_iter()
            .map(|(resource, key)| (resource.table.to_owned(), key.into()))
            .collect();
        let held = &self.still_held(&before)? | &kept;
        self.note_held(&before, &kept, &held, reason.as_deref().unwrap_or("nobody has accepted them yet"));
        Ok(Holding { held: held.into_iter().collect(), last: self.stage.take_out().await? })
    }

    pub(super) async fn base_held(&self) -> Result<Vec<(String, String)>> {
        match &self.base {
            Some(base) => self.run.repository.list(base.snapshot.held).await,
            None => Ok(Vec::new()),
        }
    }

    /// What of `before` is held still: what is there, and this run has not met again.
    fn still_held(&self, before: &Names) -> Result<Names> {
        let mut held = Names::new();
        for (table, key) in before {
            let is_back = match resources::by_table(table) {
                Some(resource) => self.stage.is_met(resource, key)? || !self.stage.has(resource, key)?,
                None => false,
            };
            if !is_back {
                held.insert((table.clone(), key.clone()));
            }
        }
        Ok(held)
    }

    /// Says in a gap for each table what of it is held back. More than before is news, whoever accepted the gap.
    fn note_held(&mut self, before: &Names, kept: &Names, held: &Names, reason: &str) {
        let now = self.run.clock.now();
        let organization = self.walk.organization().to_owned();
        for table in resources::ALL.iter().map(|resource| resource.table) {
            let of_table = |(of, _): &&(String, String)| of == table;
            let count = held.iter().filter(of_table).count();
            if count == 0 {
                self.gaps.close(table, HELD, &organization);
                continue;
            }
            if kept.iter().filter(of_table).any(|one| !before.contains(one)) {
                self.known_gaps.close(table, HELD, &organization);
                self.gaps.withdraw(table, HELD, &organization);
            }
            if !kept.iter().any(|one| of_table(&one)) {
                continue;
            }
            tracing::warn!(table, count, reason, "deletions are held back");
            self.gaps.met(Gap {
                table: table.to_owned(),
                scope: HELD.to_owned(),
                gid: organization.clone(),
                status: 404,
                phrase: format!("{count} deletions are held back until --accept-deletions: {reason}"),
                first_seen: now,
                last_seen: now,
                accepted: None,
            });
        }
    }

    fn reason_to_hold(&self) -> Option<String> {
        let gone = |resource: &Resource| self.stage.gone_of(resource).count() as u64;
        let before = self.base.as_ref().map(|base| &base.snapshot.token);
        if let Some(before) = before.filter(|before| before.gid != self.token.gid)
            && resources::ALL.iter().any(|resource| gone(resource) > 0)
        {
            return Some(format!("the token is {}'s now, and was {}'s", self.token.gid, before.gid));
        }
        resources::ALL.iter().find_map(|resource| {
            let (gone, rows) = (gone(resource), self.stage.counts(resource).rows);
            (gone > FEW && gone * TENTH > rows)
                .then(|| format!("{gone} of {rows} {} at once", resource.table))
        })
    }
}
