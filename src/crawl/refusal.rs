//! What a refusal is: the end of the run, a table that the plan does not have, a parent that went, or a gap.
//!
//! Rule: one failing object becomes a gap and never ends a run; a listing without which a backup would be worthless ends it,
//! and so does a service that answers nothing any more.

use tokio::sync::mpsc;

use crate::asana::{Answer, Refusal};
use crate::crawl::told::{End, Step, Told};
use crate::crawl::unit::{Unit, Why};
use crate::crawl::walk::Walk;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Gap;
use crate::resources::{self, Below, Listing};

/// After so many units in a row that no retry could read, the service counts as down: with eight tries each and
/// growing waits, that is half an hour without a single answer.
const DOWN_AFTER: u64 = 50;

impl Walk {
    pub(super) async fn refused(
        &self,
        unit: &Unit,
        operation: &str,
        listing: &Listing,
        refusal: &Refusal,
        told: &mpsc::Sender<Told>,
    ) -> Result<End> {
        if listing.essential {
            return Err(essential(operation, refusal));
        }
        if refusal.status == 402 && listing.below == Below::Organization {
            let answer = format!("402 {}", refusal.phrase);
            self.take_step(Step::Unavailable(unit.resource.table.to_owned(), answer), told).await?;
            return Ok(End::Unavailable);
        }
        if refusal.status == 404 && self.went(unit, listing).await? {
            return Ok(End::ParentGone);
        }
        self.gap(unit, operation, refusal)
    }

    /// Whether what the listing hangs below went while the crawl was on its way: then nothing hangs there. A 404 on
    /// the listing of something that is still there proves nothing.
    async fn went(&self, unit: &Unit, listing: &Listing) -> Result<bool> {
        let Below::Table(table) = listing.below else { return Ok(false) };
        let Some(above) = resources::by_table(table).filter(|above| above.single.is_some()) else {
            return Ok(false);
        };
        let (operation, path, query) =
            Unit::single(above, &unit.gid, Why::Missing).request(self.organization());
        let answer = self.client().get(operation, &path, &query).await?;
        Ok(matches!(answer, Answer::Refused(refusal) if refusal.status == 404))
    }

    pub(super) fn gap(&self, unit: &Unit, operation: &str, refusal: &Refusal) -> Result<End> {
        let now = self.clock().now();
        tracing::debug!(
            table = unit.resource.table,
            operation,
            gid = unit.gid,
            status = refusal.status,
            "gap"
        );
        let gap = Gap {
            table: unit.resource.table.to_owned(),
            scope: operation.to_owned(),
            gid: unit.gid.to_string(),
            status: refusal.status,
            phrase: refusal.phrase.clone(),
            first_seen: now,
            last_seen: now,
            accepted: None,
        };
        if (400..500).contains(&refusal.status) {
            return Ok(End::Refused(gap));
        }
        let in_a_row = self.client().statistics().unreadable_in_a_row;
        if in_a_row < DOWN_AFTER {
            return Ok(End::Refused(gap));
        }
        let message =
            format!("Asana is down: {in_a_row} questions in a row were not answered, last {refusal}");
        Err(Error::new(ErrorKind::Unavailable, message)
            .remedy("run again when https://status.asana.com is green"))
    }
}

/// The error of a listing without which a backup would be worthless.
pub(super) fn essential(operation: &str, refusal: &Refusal) -> Error {
    if let Some(error) = refusal.redirected() {
        return error.doing(format!("read {operation}"));
    }
    let (kind, remedy) = match refusal.status {
        404 => (
            ErrorKind::Config,
            "check the organization's gid: `asana-backup check` lists what the token sees",
        ),
        400..500 => (ErrorKind::Denied, "use the token of a service account of this organization"),
        _ => (ErrorKind::Unavailable, "run again when Asana answers"),
    };
    Error::new(kind, format!("{operation} is refused, and a backup without it would be worthless: {refusal}"))
        .remedy(remedy)
}
