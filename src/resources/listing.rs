//! Listings: the operations that bring the records of a resource.

/// What a listing hangs below: for each record of it, the listing is read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// The organization: read once.
    Organization,
    /// Every record of this table.
    Table(&'static str),
}

/// For which records of the parent table a listing is worth a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those whose count of this name is above zero.
    Counts(&'static str),
}

/// One operation that brings records.
#[derive(Debug)]
pub struct Listing {
    /// Its id in Asana's description.
    pub operation: &'static str,
    /// Its path; `{gid}` stands for the parent record's gid, `{a.b}` for a field of that record, `{organization}`
    /// for the organization's gid.
    pub path: &'static str,
    /// Its query, with the same placeholders.
    pub query: &'static [(&'static str, &'static str)],
    /// What it hangs below.
    pub below: Below,
    /// For which parents it is read.
    pub when: When,
    /// Whether it answers in pages. One that does not is a single record or a whole list.
    pub paged: bool,
    /// Whether a backup without it would be worthless: refused, it ends the run instead of becoming a gap.
    pub essential: bool,
    /// Whether the records hang below the parent, so that this listing, read to its end, names every one of them
    /// that the parent has. False for listings that only help to find records which hang elsewhere.
    pub proves: bool,
}

impl Listing {
    /// Whether it can be told to answer only what changed since a moment: `modified_since` is for one operation alone.
    #[must_use]
    pub fn filters_changes(&self) -> bool {
        self.operation == "getTasks"
    }

    /// A paged listing of all that the organization has.
    pub(super) const fn root(
        operation: &'static str,
        path: &'static str,
        query: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            operation,
            path,
            query,
            below: Below::Organization,
            when: When::Always,
            paged: true,
            essential: false,
            proves: true,
        }
    }

    /// A paged listing of what hangs below each record of `table`.
    pub(super) const fn below(
        table: &'static str,
        operation: &'static str,
        path: &'static str,
        query: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { below: Below::Table(table), ..Self::root(operation, path, query) }
    }

    /// The same listing, without which a backup would be worthless.
    pub(super) const fn essential(self) -> Self {
        Self { essential: true, ..self }
    }

    /// The same listing, which only helps to find records.
    pub(super) const fn finds(self) -> Self {
        Self { proves: false, ..self }
    }

    /// The same listing, read only where the parent counts some.
    pub(super) const fn where_counted(self, count: &'static str) -> Self {
        Self { when: When::Counts(count), ..self }
    }

    /// The same listing, answered in one piece.
    pub(super) const fn whole(self) -> Self {
        Self { paged: false, ..self }
    }
}
