//! Custom fields: their definitions, their places on projects, and what tasks hold in them.

use super::View;
use crate::gid::Kind;
use crate::json::{self, C, COMPACT, F, FULL, O, Object, Select};
use crate::random::Rng;
use crate::text;
use crate::time::{DAY, EARLIEST};
use crate::world::people::LAST;
use crate::world::rows::{Choice, CustomField, FieldKind, Task, Value};
use crate::world::values;

/// The most choices one field can have, as far as gids go.
const CHOICES: u32 = 64;

impl FieldKind {
    /// Asana's `type`, which knows fewer than `representation_type`.
    fn type_name(self) -> &'static str {
        match self {
            Self::Text | Self::CustomId => "text",
            Self::Number | Self::Formula => "number",
            Self::Enum => "enum",
            Self::MultiEnum => "multi_enum",
            Self::Date => "date",
            Self::People => "people",
            Self::Reference => "reference",
        }
    }

    fn representation(self) -> &'static str {
        match self {
            Self::CustomId => "custom_id",
            Self::Formula => "formula",
            other => other.type_name(),
        }
    }
}

impl View<'_> {
    pub(super) fn custom_field(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.fields.known(id, self.at) else { return json::null(out) };
        self.field(id, row, None, select, out);
    }

    /// What a task holds in a field: the definition and the value in one record, as Asana has it.
    pub(super) fn field_value(&self, task: u32, row: &Task, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(field) = self.world.fields.known(id, self.at) else { return json::null(out) };
        let value = values::of(self.world, task, row, id, field);
        self.field(id, field, Some(&value), select, out);
    }

    /// What a user, project or portfolio itself holds in custom fields: a few for most of them, of every kind.
    pub(super) fn own_fields(&self, kind: Kind, id: u32, select: &Select, out: &mut Vec<u8>) {
        let world = self.world;
        let mut rng = Rng::new(world.seed, 0x0f1e + kind as u64, u64::from(id));
        let count = if rng.once_in(4) { 0 } else { 3 + rng.below(3) as u32 };
        let first = rng.id(world.plan.fields);
        let mut drawn: Vec<(u32, Value)> = Vec::new();
        for nth in 0..count {
            let field = (first + nth) % world.plan.fields;
            if let Some(made) = world.fields.known(field, EARLIEST)
                && drawn.iter().all(|(known, _)| *known != field)
            {
                drawn.push((field, values::draw(world, &mut rng, made, LAST.div_euclid(DAY))));
            }
        }
        let live = drawn.iter().filter_map(|(id, value)| Some((id, world.fields.live(*id, self.at)?, value)));
        json::array(out, live, |out, (id, row, value)| self.field(*id, row, Some(value), select, out));
    }

    /// Writes a field, with a value when it is a task's.
    fn field(&self, id: u32, row: &CustomField, value: Option<&Value>, select: &Select, out: &mut Vec<u8>) {
        let mut object = Object::record(out, select, self.gid(Kind::CustomField, id), "custom_field");
        object.text(C, "name", &row.name);
        object.text(C, "type", row.kind.type_name());
        object.text(F, "resource_subtype", row.kind.type_name());
        if matches!(row.kind, FieldKind::Enum | FieldKind::MultiEnum) {
            object.nested(C, "enum_options", FULL, |out, select| {
                json::array(out, row.choices.iter().enumerate(), |out, (place, choice)| {
                    self.choice(id, place as u32, choice, select, out);
                });
            });
        }
        object.flag(C, "enabled", true);
        object.text(C, "representation_type", row.kind.representation());
        object.maybe(C, "id_prefix", row.id_prefix.as_deref());
        object.value(C, "input_restrictions", |out| {
            out.extend_from_slice(if row.kind == FieldKind::Reference { b"[\"task\"]" } else { b"[]" });
        });
        object.flag(C, "is_formula_field", row.kind == FieldKind::Formula);
        if let Some(value) = value {
            self.value(id, row, value, &mut object);
        }
        self.definition(row, &mut object);
        object.end();
    }

    /// The fields of a definition that its compact form leaves out.
    fn definition(&self, row: &CustomField, object: &mut Object<'_>) {
        object.text(O, "description", &row.description);
        if matches!(row.kind, FieldKind::Number | FieldKind::Formula) {
            object.count(F, "precision", usize::from(row.precision));
            object.text(F, "format", row.format);
            object.maybe(F, "currency_code", (row.format == "currency").then_some("EUR"));
            let custom = row.format == "custom";
            object.maybe(F, "custom_label", custom.then_some("gold pieces"));
            object.maybe(F, "custom_label_position", custom.then_some("suffix"));
        }
        object.flag(F, "is_global_to_workspace", row.global);
        object.flag(F, "has_notifications_enabled", row.notifications);
        object.maybe(F, "asana_created_field", row.asana_created);
        object.flag(F, "is_value_read_only", matches!(row.kind, FieldKind::Formula | FieldKind::CustomId));
        object.nested(F, "created_by", COMPACT, |out, select| {
            super::maybe(self, Kind::User, row.created_by, select, out);
        });
        object.text(F, "privacy_setting", row.privacy);
        object.text(F, "default_access_level", row.access);
    }

    fn value(&self, id: u32, row: &CustomField, value: &Value, object: &mut Object<'_>) {
        match row.kind {
            FieldKind::Text | FieldKind::CustomId => self.text_value(value, object),
            FieldKind::Number | FieldKind::Formula => object.value(C, "number_value", |out| match value {
                Value::Number(number) => json::number(out, *number),
                _ => json::null(out),
            }),
            FieldKind::Enum => object.nested(C, "enum_value", FULL, |out, select| match value {
                Value::Choice(place) => self.chosen(id, row, *place, select, out),
                _ => json::null(out),
            }),
            FieldKind::MultiEnum => object.nested(C, "multi_enum_values", FULL, |out, select| {
                let places: &[u32] = if let Value::Choices(places) = value { places } else { &[] };
                json::array(out, places, |out, place| self.chosen(id, row, *place, select, out));
            }),
            FieldKind::Date => object.nested(C, "date_value", FULL, |out, select| match value {
                Value::Date(day, at) => {
                    let mut object = Object::plain(out, select);
                    object.maybe_day(C, "date", Some(*day));
                    if at.is_some() {
                        object.maybe_moment(C, "date_time", *at);
                    }
                    object.end();
                }
                _ => json::null(out),
            }),
            FieldKind::People => object.nested(F, "people_value", COMPACT, |out, select| {
                let ids: &[u32] = if let Value::People(ids) = value { ids } else { &[] };
                super::each(self, Kind::User, ids, select, out);
            }),
            FieldKind::Reference => object.nested(F, "reference_value", COMPACT, |out, select| {
                let ids: &[u32] = if let Value::Tasks(ids) = value { ids } else { &[] };
                json::array(out, ids, |out, id| self.named_task(*id, select, out));
            }),
        }
        object.value(C, "display_value", |out| match self.display(row, value) {
            Some(text) => json::string(out, &text),
            None => json::null(out),
        });
    }

    fn text_value(&self, value: &Value, object: &mut Object<'_>) {
        let text = if let Value::Text(text) = value { Some(text.read()) } else { None };
        object.maybe(C, "text_value", text.as_deref());
        object.value(F, "html_text_value", |out| match &text {
            Some(text) => json::string(out, &text::html(text)),
            None => json::null(out),
        });
    }

    /// A value as people read it.
    fn display(&self, row: &CustomField, value: &Value) -> Option<String> {
        let name = |place: &u32| row.choices.get(*place as usize).map(|choice| choice.name.clone());
        Some(match value {
            Value::Empty => return None,
            Value::Text(text) => text.read().into_owned(),
            Value::Number(number) => format!("{number:.*}", usize::from(row.precision)),
            Value::Choice(place) => name(place)?,
            Value::Choices(places) if places.is_empty() => return None,
            Value::Choices(places) => places.iter().filter_map(name).collect::<Vec<_>>().join(", "),
            Value::Date(day, None) => format!("{}T00:00:00.000Z", crate::time::day(*day)),
            Value::Date(_, Some(at)) => crate::time::moment(*at),
            Value::People(ids) => {
                let names = ids.iter().filter_map(|id| self.world.users.known(*id, self.at));
                names.map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ")
            }
            Value::Tasks(ids) => {
                let tasks = ids.iter().filter_map(|id| self.world.known_task(*id, self.at));
                tasks.map(|task| task.name.read().into_owned()).collect::<Vec<_>>().join(", ")
            }
        })
    }

    fn chosen(&self, id: u32, row: &CustomField, place: u32, select: &Select, out: &mut Vec<u8>) {
        match row.choices.get(place as usize) {
            Some(choice) => self.choice(id, place, choice, select, out),
            None => json::null(out),
        }
    }

    fn choice(&self, id: u32, place: u32, choice: &Choice, select: &Select, out: &mut Vec<u8>) {
        let gid = self.gid(Kind::EnumOption, id * CHOICES + place);
        let mut object = Object::record(out, select, gid, "enum_option");
        object.text(C, "name", &choice.name);
        object.flag(C, "enabled", choice.enabled);
        object.text(C, "color", choice.color);
        object.end();
    }

    /// The values of a story about a changed field: `old_...` and `new_...`.
    pub(super) fn changed(&self, id: u32, values: (&Value, &Value), object: &mut Object<'_>) {
        let Some(row) = self.world.fields.known(id, self.at) else { return };
        object.nested(F, "custom_field", COMPACT, |out, select| self.custom_field(id, select, out));
        self.change(id, row, values.0, ["old_text_value", "old_number_value", "old_enum_value"], object);
        self.change(id, row, values.1, ["new_text_value", "new_number_value", "new_enum_value"], object);
        self.plural(
            id,
            row,
            values.0,
            ["old_date_value", "old_people_value", "old_multi_enum_values"],
            object,
        );
        self.plural(
            id,
            row,
            values.1,
            ["new_date_value", "new_people_value", "new_multi_enum_values"],
            object,
        );
    }

    fn change(&self, id: u32, row: &CustomField, value: &Value, names: [&str; 3], object: &mut Object<'_>) {
        match value {
            Value::Text(text) => object.text(F, names[0], &text.read()),
            // Asana documents whole numbers here, although the field itself may hold a fraction.
            Value::Number(number) => {
                object.value(F, names[1], |out| json::integer(out, number.round() as i64))
            }
            Value::Choice(place) => {
                object.nested(F, names[2], FULL, |out, select| self.chosen(id, row, *place, select, out));
            }
            _ => {}
        }
    }

    fn plural(&self, id: u32, row: &CustomField, value: &Value, names: [&str; 3], object: &mut Object<'_>) {
        match value {
            Value::Date(day, at) => object.nested(F, names[0], FULL, |out, select| {
                self.dates(Some(crate::world::rows::Due { day: *day, at: *at }), select, out);
            }),
            Value::People(ids) => {
                object.nested(F, names[1], COMPACT, |out, select| {
                    super::each(self, Kind::User, ids, select, out)
                });
            }
            Value::Choices(places) => object.nested(F, names[2], FULL, |out, select| {
                json::array(out, places, |out, place| self.chosen(id, row, *place, select, out));
            }),
            _ => {}
        }
    }

    pub(super) fn setting(&self, id: u32, select: &Select, out: &mut Vec<u8>) {
        let Some(row) = self.world.settings.known(id, self.at) else { return json::null(out) };
        let gid = self.gid(Kind::Setting, id);
        let mut object = Object::record(out, select, gid, "custom_field_setting");
        object.nested(F, "project", COMPACT, |out, select| self.project(row.project, select, out));
        object.flag(F, "is_important", row.important);
        object.nested(F, "parent", COMPACT, |out, select| self.project(row.project, select, out));
        object.nested(F, "custom_field", FULL, |out, select| self.custom_field(row.field, select, out));
        object.end();
    }
}
