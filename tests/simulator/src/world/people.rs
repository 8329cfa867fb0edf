//! Workspaces, people and teams of the seed's making.

use super::World;
use super::rows::*;
use crate::random::Rng;
use crate::text;
use crate::time::{DAY, Ms};

/// The first moment of the history.
pub(crate) const START: Ms = 1_704_067_200_000; // 2024-01-01
/// The moment the last task of the history was created.
pub(crate) const END: Ms = 1_782_345_600_000; // 2026-06-25
/// The last moment of the history.
pub(crate) const LAST: Ms = END + 5 * DAY;

const DEPARTMENTS: &[&str] = &[
    "Marketing",
    "Engineering",
    "Sales",
    "People",
    "Finance",
    "Legal",
    "IT",
    "Design",
    "Support",
    "Operations",
    "Produktion & Vertrieb",
    "الموارد البشرية",
    "R&D 🔬",
];

/// Fills the tables of people.
pub(crate) fn make(world: &mut World) {
    workspaces(world);
    users(world);
    teams(world);
}

fn workspaces(world: &mut World) {
    world.workspaces.seed(Workspace {
        name: "Mittens & Söhne 🐈".into(),
        email_domains: vec!["mittens.example".into(), "mittens.example.org".into()],
        is_organization: true,
    });
    world.workspaces.seed(Workspace {
        name: "Personal Projects".into(),
        email_domains: Vec::new(),
        is_organization: false,
    });
}

/// User 0 is the service account, the last one is only in the personal workspace.
fn users(world: &mut World) {
    let robot = User {
        name: "Backup service account".into(),
        email: "robot@mittens.example".into(),
        photo: false,
        joined: None,
        active: false,
        guest: false,
        admin: false,
        view_only: false,
        vacation: None,
        personal: true,
        found: true,
    };
    world.robot = world.users.seed(robot.clone());
    for id in 1..=world.plan.users {
        let user = member(world.seed, id);
        world.users.seed(user);
    }
    let name = "Nobody of the organization".into();
    world.users.seed(User { name, email: "nobody@elsewhere.example".into(), photo: true, ..robot });
}

fn member(seed: u64, id: u32) -> User {
    let mut rng = Rng::new(seed, 0x05e2, u64::from(id));
    let name = text::person(&mut rng);
    let (guest, removed) = (id % 9 == 4, id > 2 && id % 11 == 3);
    let domain = if guest { "guest.example.net" } else { "mittens.example" };
    let first = START.div_euclid(DAY);
    let away = first + 700 + rng.below(300) as i64;
    User {
        name,
        email: format!("person{id}@{domain}"),
        photo: !rng.once_in(3),
        joined: Some(START - 400 * DAY + rng.below(900 * DAY as u64) as i64),
        active: !removed,
        guest,
        admin: id == 1 || (!guest && rng.once_in(40)),
        view_only: !guest && rng.once_in(15),
        vacation: rng.once_in(8).then(|| (away, (!rng.once_in(3)).then_some(away + 14))),
        personal: id == 2,
        // Asana forgets some of those who left altogether; every other one here.
        found: !removed || id.is_multiple_of(2),
    }
}

fn teams(world: &mut World) {
    for id in 0..world.plan.teams {
        let mut rng = Rng::new(world.seed, 0x7ea3, u64::from(id));
        let department = DEPARTMENTS[id as usize % DEPARTMENTS.len()];
        let round = id as usize / DEPARTMENTS.len();
        let team = Team {
            name: if round == 0 { department.into() } else { format!("{department} {}", round + 1) },
            description: if rng.once_in(3) { String::new() } else { text::title(&mut rng, 8) },
            visibility: ["public", "request_to_join", "secret"][id as usize % 3],
            only_admins: rng.below(128) as u8,
            endorsed: rng.once_in(4),
        };
        world.teams.seed(team);
    }
    let (users, teams) = (world.plan.users, world.plan.teams);
    for user in 1..=users {
        let mut rng = Rng::new(world.seed, 0x7ea4, u64::from(user));
        // Team 0 holds nearly everyone, so that it too passes the 2,000 at which its listing stops.
        let mut mine = vec![0];
        for _ in 0..rng.below(3) {
            let team = rng.id(teams);
            if !mine.contains(&team) {
                mine.push(team);
            }
        }
        let row = world.users.known(user, crate::time::LATEST).cloned();
        let Some(row) = row.filter(|row| row.active && (!rng.once_in(30) || world.plan.mini)) else {
            continue;
        };
        for team in mine {
            let (limited, admin) = (row.guest && rng.once_in(2), !row.guest && rng.once_in(6));
            world.team_memberships.seed(TeamMembership { user, team, guest: row.guest, limited, admin });
        }
    }
}
