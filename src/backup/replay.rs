//! Taking a run up from its journal.
//!
//! Rule: replayed in order, the journal brings a new process to the moment of its last entry: what was read is staged again,
//! what was asked is asked no more, what waits still waits. What was committed meanwhile is in the base already, and only met.
//! A crash in the middle leaves the journal as it was.

use std::sync::Arc;

use crate::backup::journal::{self, Entry, Kept, Read};
use crate::backup::work::Work;
use crate::crawl::Unit;
use crate::encode;
use crate::error::Result;
use crate::model::Reading;

impl Work<'_> {
    /// Takes up the journal from before a crash. What was committed meanwhile is in the base already.
    pub(super) async fn replay(&mut self, segments: u64) -> Result<()> {
        let base = self.base.as_ref().map(|base| &base.snapshot);
        let committed = base.filter(|base| base.run == self.id).and_then(|base| base.continues).unwrap_or(0);
        for segment in 1..=segments {
            for entry in journal::read(&self.run.repository, &self.id, segment).await? {
                self.replay_one(entry, segment <= committed).await?;
            }
            if segment == committed {
                self.stage.committed(Vec::new());
            }
            self.stage.keep_within_budget().await?;
        }
        Ok(())
    }

    async fn replay_one(&mut self, entry: Entry, is_committed: bool) -> Result<()> {
        match entry {
            Entry::Began(_) | Entry::At(_) | Entry::Ended => {}
            Entry::Planned(planned) => {
                self.planned = Some(planned);
                self.load_what_is_read().await?;
            }
            Entry::Step(step) => self.walk.restore_step(&step),
            Entry::Streams(answers) => self.walk.restore_streams(&answers),
            Entry::Hits { of, next, wanted } => {
                self.sought.extend(wanted.iter().map(|unit| unit.gid.clone()));
                self.walk.push(wanted);
                self.walk.restore_search(of, next);
            }
            Entry::Page(kept) => {
                let Kept { unit, lane, began_at, seen_at, rows, odd, end, wanted } = *kept;
                let reading = journal::reading(&self.fields(unit.resource), lane, began_at, seen_at);
                self.fetch_gone(&unit, &end).await?;
                self.replay_rows(&unit, &rows, &reading, is_committed).await?;
                self.conclude(&unit, &end, odd.as_deref(), began_at)?;
                let leads: Vec<_> = rows.into_iter().map(|row| row.lead).collect();
                self.walk.restore_page(&unit, &leads, &end);
                self.walk.push(wanted);
            }
        }
        Ok(())
    }

    async fn replay_rows(
        &mut self,
        unit: &Unit,
        rows: &[Read],
        reading: &Arc<Reading>,
        is_committed: bool,
    ) -> Result<()> {
        let resource = unit.resource;
        for row in rows {
            self.gaps.close(resource.table, resource.single_operation, &row.lead.gid);
            self.note_none(&row.lead.gid, &row.lead.none);
        }
        if !self.walk.scope().keeps(resource) {
            return Ok(());
        }
        let keys = rows.iter().map(|row| row.key.as_deref().unwrap_or(&row.lead.gid));
        self.stage.fetch(resource, keys).await?;
        for row in rows {
            let key = row.key.as_deref().unwrap_or(&row.lead.gid);
            match row.raw.as_ref().filter(|_| !is_committed) {
                Some(raw) => {
                    let above = unit.proves().then_some(&*unit.gid);
                    let parsed = encode::record(resource, raw.get(), above, reading)?;
                    self.stage.observe(parsed.record)?;
                }
                None => self.stage.met(resource, key, reading.began_at)?,
            }
        }
        Ok(())
    }
}
