//! What a task holds in a custom field.

use super::World;
use super::rows::{CustomField, FieldKind, Task, Value};
use crate::random::Rng;
use crate::text::{Form, Text};
use crate::time::{DAY, EARLIEST};

/// The value of a task in a field: what an edit gave, else what the seed gives.
pub(crate) fn of(world: &World, id: u32, task: &Task, field_id: u32, field: &CustomField) -> Value {
    if let Some((_, value)) = task.values.iter().find(|(given, _)| *given == field_id) {
        return value.clone();
    }
    if !task.seeded_values && field.kind != FieldKind::CustomId {
        return Value::Empty;
    }
    let mut rng = Rng::new(world.seed, 0xa1 + (u64::from(field_id) << 8), u64::from(id));
    match field.kind {
        FieldKind::CustomId => {
            let prefix = field.id_prefix.as_deref().unwrap_or("ID");
            Value::Text(Text::given(&format!("{prefix}-{}", id + 1)))
        }
        FieldKind::Formula => Value::Number((rng.below(100_000) as f64) / 100.0),
        _ if rng.once_in(3) => Value::Empty,
        _ => {
            // The definition as the seed made it: a value must not change when an option is added.
            let made = world.fields.known(field_id, EARLIEST).unwrap_or(field);
            draw(world, &mut rng, made, task.created_at.div_euclid(DAY))
        }
    }
}

/// A fresh value for a field.
pub(crate) fn draw(world: &World, rng: &mut Rng, field: &CustomField, day: i64) -> Value {
    match field.kind {
        FieldKind::Text | FieldKind::CustomId => Value::Text(Text::Seeded(Form::Comment, rng.draw())),
        FieldKind::Number | FieldKind::Formula => {
            let scale = 10_f64.powi(i32::from(field.precision));
            Value::Number(
                ((rng.below(10_000) as f64 - 100.0) * scale + rng.below(scale as u64) as f64) / scale,
            )
        }
        FieldKind::Enum => Value::Choice(rng.id(field.choices.len() as u32)),
        FieldKind::MultiEnum => {
            let count = field.choices.len() as u32;
            Value::Choices((0..count).filter(|_| rng.once_in(2)).collect())
        }
        FieldKind::Date => {
            let due = day + rng.below(200) as i64;
            Value::Date(due, rng.once_in(3).then(|| due * DAY + 3_600_000 * rng.below(24) as i64))
        }
        FieldKind::People => {
            let (first, second) = (1 + rng.id(world.plan.users), 1 + rng.id(world.plan.users));
            Value::People(if rng.once_in(2) && first != second { vec![first, second] } else { vec![first] })
        }
        FieldKind::Reference => Value::Tasks(vec![rng.id(world.plan.tasks - super::tasks::PERSONAL_TASKS)]),
    }
}
