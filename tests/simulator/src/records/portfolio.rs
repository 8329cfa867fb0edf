//! Portfolios.

use super::{View, each};
use crate::gid::Kind;
use crate::json::{self, C, COMPACT, F, O, Object, Select};
use crate::world::rows::ORGANIZATION;

impl View<'_> {
    pub(super) fn portfolio(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.portfolios.known(id, self.at) else { return json::null(out) };
        let gid = self.gid(Kind::Portfolio, id);
        let mut object = Object::record(out, select, gid, "portfolio");
        object.text(C, "name", &row.name);
        object.flag(O, "archived", row.archived);
        object.text(F, "color", row.color);
        object.maybe_day(F, "start_on", row.start_on);
        object.maybe_day(F, "due_on", row.due_on);
        object.text(F, "default_access_level", row.access);
        object.moment(F, "created_at", row.created_at);
        object.nested(F, "created_by", COMPACT, |out, select| self.user(row.created_by, select, out));
        object.value(F, "custom_field_settings", |out| out.extend_from_slice(b"[]"));
        self.status_update("portfolio_status_update", row.status.as_ref(), &mut object);
        object.nested(F, "custom_fields", COMPACT, |out, select| {
            self.own_fields(Kind::Portfolio, id, select, out)
        });
        object.nested(F, "members", COMPACT, |out, select| each(self, Kind::User, &row.members, select, out));
        object.nested(F, "owner", COMPACT, |out, select| self.user(row.owner, select, out));
        object.nested(F, "workspace", COMPACT, |out, select| self.workspace(ORGANIZATION, select, out));
        object.lazy(F, "permalink_url", || format!("https://app.asana.com/0/portfolio/{gid}/list").into());
        object.flag(F, "public", row.public);
        object.text(F, "privacy_setting", if row.public { "public_to_domain" } else { "members_only" });
        object.nested(F, "project_templates", COMPACT, |out, select| match row.template {
            true => {
                json::array(out, [0], |out, id| self.named(Kind::Template, id, "Packing list", select, out))
            }
            false => out.extend_from_slice(b"[]"),
        });
        object.end();
    }
}
