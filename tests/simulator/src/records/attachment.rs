//! Attachments: what they are called and where they lie, never what is in them.

use super::{Ref, View};
use crate::gid::Kind;
use crate::json::{self, C, COMPACT, F, Object, Select};
use crate::world::rows::{Attachment, Parent};

impl View<'_> {
    pub(super) fn attachment(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.attachment(id, self.at) else { return json::null(out) };
        let row = row.as_ref();
        let gid = self.gid(Kind::Attachment, id);
        let mut object = Object::record(out, select, gid, "attachment");
        object.text(C, "name", &row.name);
        object.text(C, "resource_subtype", row.host);
        object.moment(F, "created_at", row.created_at);
        object.value(F, "download_url", |out| maybe_text(out, self.download_url(gid, row)));
        let asana = row.host == "asana";
        object.value(F, "permanent_url", |out| {
            let url = || format!("https://app.asana.com/app/asana/-/get_asset?asset_id={gid}");
            maybe_text(out, asana.then(url));
        });
        object.text(F, "host", row.host);
        object.nested(F, "parent", COMPACT, |out, select| {
            let parent = match row.parent {
                Parent::Task(id) => Ref { kind: Kind::Task, id },
                Parent::Project(id) => Ref { kind: Kind::Project, id },
            };
            self.record(parent, select, out);
        });
        if asana {
            object.count(F, "size", row.size as usize);
        }
        object.value(F, "view_url", |out| maybe_text(out, self.view_url(gid, row)));
        object.flag(F, "connected_to_app", row.connected_to_app);
        object.end();
    }

    /// A signed URL, another one in every answer; null for Vimeo and Box.
    fn download_url(&self, gid: u64, row: &Attachment) -> Option<String> {
        let place = match row.host {
            "asana" => format!("https://asana-user-private-us-east-1.s3.amazonaws.com/assets/{gid}/file"),
            "dropbox" | "gdrive" | "onedrive" | "external" => format!("https://{}.example/{gid}", row.host),
            _ => return None,
        };
        Some(match self.signature {
            Some(signature) if row.host == "asana" => {
                format!("{place}?X-Amz-Expires=120&X-Amz-Signature={:016x}", signature ^ gid)
            }
            _ => place,
        })
    }

    fn view_url(&self, gid: u64, row: &Attachment) -> Option<String> {
        match row.host {
            "asana" => self.download_url(gid, row),
            "box" => None,
            host => Some(format!("https://{host}.example/view/{gid}")),
        }
    }
}

fn maybe_text(out: &mut Vec<u8>, text: Option<String>) {
    match text {
        Some(text) => json::string(out, &text),
        None => json::null(out),
    }
}
