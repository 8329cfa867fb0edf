//! Custom fields of every type the API documents.

use super::World;
use super::rows::*;
use crate::random::Rng;
use crate::text;

const COLORS: &[&str] = &[
    "none",
    "red",
    "orange",
    "yellow-orange",
    "yellow",
    "yellow-green",
    "green",
    "blue-green",
    "aqua",
    "blue",
    "indigo",
    "purple",
    "magenta",
    "hot-pink",
    "pink",
    "cool-gray",
];
const CHOICES: &[&str] = &["Low", "Medium", "High", "On hold ⏸", "Très urgent", "نعم", "A, B", "N/A"];

/// Fills the table of custom fields.
pub(crate) fn make(world: &mut World) {
    for id in 0..world.plan.fields {
        let field = field(world, id);
        world.fields.seed(field);
    }
}

/// One field; the first eighteen have every type and every number format once.
fn field(world: &World, id: u32) -> CustomField {
    let mut rng = Rng::new(world.seed, 0xf1e1d, u64::from(id));
    let place = id % 18;
    let (kind, name, format) = match place {
        0 => (FieldKind::Enum, "Priority", "none"),
        1 => (FieldKind::Text, "Reference no.", "none"),
        2 => (FieldKind::Number, "Budget", "currency"),
        3 => (FieldKind::Date, "Review on", "none"),
        4 => (FieldKind::MultiEnum, "Channels", "none"),
        5 => (FieldKind::People, "Reviewers", "none"),
        6 => (FieldKind::Formula, "Cost per hour", "none"),
        7 => (FieldKind::CustomId, "ID", "none"),
        8 => (FieldKind::Reference, "Related", "none"),
        9 => (FieldKind::Number, "Progress", "percentage"),
        10 => (FieldKind::Number, "Gold", "custom"),
        11 => (FieldKind::Number, "Ticket", "identifier"),
        12 => (FieldKind::Number, "Effort", "duration"),
        13 => (FieldKind::Number, "Points", "none"),
        14 => (FieldKind::Enum, "Stage", "none"),
        15 => (FieldKind::Text, "Größe & Maß", "none"),
        16 => (FieldKind::Date, "Deadline", "none"),
        _ => (FieldKind::Enum, "Sentiment", "none"),
    };
    let choices = match kind {
        FieldKind::Enum | FieldKind::MultiEnum => choices(&mut rng),
        _ => Vec::new(),
    };
    let round = id / 18;
    CustomField {
        name: if round == 0 { name.into() } else { format!("{name} {}", round + 1) },
        kind,
        description: if rng.once_in(2) { String::new() } else { text::title(&mut rng, 6) },
        choices,
        precision: if format == "none" || format == "currency" { rng.below(4) as u8 } else { 0 },
        format,
        id_prefix: (kind == FieldKind::CustomId).then(|| format!("REQ{round}")),
        global: !rng.once_in(4),
        notifications: rng.once_in(2),
        asana_created: match place {
            0 => Some("priority"),
            17 => Some("sentiment"),
            _ => None,
        },
        created_by: (!matches!(place, 0 | 17)).then(|| 1 + rng.id(world.plan.users)),
        privacy: rng.pick(&["public_with_guests", "public", "private"]),
        access: rng.pick(&["admin", "editor", "user"]),
    }
}

fn choices(rng: &mut Rng) -> Vec<Choice> {
    let count = 2 + rng.index(CHOICES.len() - 2);
    let start = rng.index(CHOICES.len());
    let choice = |place: usize| Choice {
        name: CHOICES[(start + place) % CHOICES.len()].into(),
        color: COLORS[(start + 3 * place) % COLORS.len()],
        enabled: place != 2,
    };
    (0..count).map(choice).collect()
}
