//! What happens to people and teams.

use super::edits::Hand;
use super::{Act, Outcome, done, draw, some_user};
use crate::events::{Act as Told, Change, Silent};
use crate::gid::Kind;
use crate::random::Rng;
use crate::text;
use crate::time::LATEST;
use crate::world::World;
use crate::world::rows::*;

/// The edits, and how often each is drawn.
pub(crate) const ACTS: &[(u32, &str, Act)] = &[
    (20, "rename_user", rename),
    (8, "add_user", add),
    (5, "remove_user", remove),
    (2, "return_user", bring_back),
    (5, "rename_team", rename_team),
    (4, "create_team", create_team),
    (3, "change_team_access", change_team),
    (12, "add_team_member", add_member),
    (8, "remove_team_member", remove_member),
];

fn rename(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_user(world, rng)?;
    let name = text::person(rng);
    rename_to(world, id, hand, &name)
}

/// Renames a user: every record that names the user shows it, and none is modified.
pub(crate) fn rename_to(world: &mut World, id: u32, hand: Hand, name: &str) -> Outcome {
    world.users.live(id, LATEST)?;
    world.users.edit(id, hand.at, |row| row.name = name.into());
    done(Kind::User, id, name)
}

fn add(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let name = text::person(rng);
    let guest = rng.once_in(5);
    let user = User {
        name: name.clone(),
        email: format!(
            "person{}@{}",
            world.users.len(),
            if guest { "guest.example.net" } else { "mittens.example" }
        ),
        photo: rng.once_in(2),
        joined: Some(hand.at),
        active: true,
        guest,
        admin: false,
        view_only: false,
        vacation: None,
        personal: false,
        found: true,
    };
    let id = world.users.add(hand.at, user);
    world.index.assigned.push(Vec::new());
    note_member(world, id, hand, Told::Added(Some((Kind::Workspace, ORGANIZATION))));
    done(Kind::User, id, name)
}

/// Removes a user from the organization and from its teams; what the user did keeps the name.
fn remove(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_user(world, rng).filter(|id| *id > 2)?;
    let found = rng.once_in(2);
    world.users.edit(id, hand.at, |row| (row.active, row.found) = (false, found));
    let mine: Vec<u32> = world
        .team_memberships
        .ids(LATEST)
        .filter(|row| world.team_memberships.live(*row, LATEST).is_some_and(|row| row.user == id))
        .collect();
    for membership in mine {
        world.team_memberships.set_live(membership, hand.at, false);
        if world.tells(Silent::TeamMembers) {
            world.note_cascade(hand, (Kind::TeamMembership, membership), Told::Deleted);
        }
    }
    note_member(world, id, hand, Told::Removed((Kind::Workspace, ORGANIZATION)));
    done(Kind::User, id, if found { "still found by gid" } else { "no longer found" })
}

fn bring_back(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let left = |id: u32| world.users.live(id, LATEST).is_some_and(|row| row.joined.is_some() && !row.active);
    let id = draw(rng, world.users.len(), left)?;
    world.users.edit(id, hand.at, |row| (row.active, row.found) = (true, true));
    note_member(world, id, hand, Told::Added(Some((Kind::Workspace, ORGANIZATION))));
    done(Kind::User, id, "")
}

fn note_member(world: &mut World, user: u32, hand: Hand, told: Told) {
    world.note_if(Silent::Members, hand, (Kind::WorkspaceMembership, user), told);
}

fn some_team(world: &World, rng: &mut Rng) -> Option<u32> {
    draw(rng, world.teams.len(), |id| world.teams.live(id, LATEST).is_some())
}

fn rename_team(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_team(world, rng)?;
    let name = text::title(rng, 2);
    world.teams.edit(id, hand.at, |row| row.name.clone_from(&name));
    let told = Told::Changed("name", Change::Changed(None));
    world.note_if(Silent::Teams, hand, (Kind::Team, id), told);
    done(Kind::Team, id, name)
}

fn create_team(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let name = text::title(rng, 2);
    let visibility = rng.pick(&["secret", "request_to_join", "public"]);
    let team =
        Team { name: name.clone(), description: String::new(), visibility, only_admins: 3, endorsed: false };
    let id = world.teams.add(hand.at, team);
    let told = Told::Added(Some((Kind::Workspace, ORGANIZATION)));
    world.note_if(Silent::Teams, hand, (Kind::Team, id), told);
    done(Kind::Team, id, name)
}

fn change_team(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let id = some_team(world, rng)?;
    let (bits, visibility) = (rng.below(128) as u8, rng.pick(&["secret", "request_to_join", "public"]));
    world.teams.edit(id, hand.at, |row| (row.only_admins, row.visibility) = (bits, visibility));
    let told = Told::Changed("visibility", Change::Changed(None));
    world.note_if(Silent::Teams, hand, (Kind::Team, id), told);
    done(Kind::Team, id, visibility)
}

fn add_member(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let (team, user) = (some_team(world, rng)?, some_user(world, rng)?);
    let table = &world.team_memberships;
    let is_member = |id| table.live(id, LATEST).is_some_and(|row| row.team == team && row.user == user);
    if table.ids(LATEST).any(is_member) {
        return None;
    }
    let guest = world.users.live(user, LATEST)?.guest;
    let row = TeamMembership { user, team, guest, limited: guest, admin: false };
    let id = world.team_memberships.add(hand.at, row);
    let told = Told::Added(Some((Kind::Team, team)));
    world.note_if(Silent::TeamMembers, hand, (Kind::TeamMembership, id), told);
    done(Kind::TeamMembership, id, world.gid(Kind::Team, team).to_string())
}

fn remove_member(world: &mut World, rng: &mut Rng, hand: Hand) -> Outcome {
    let table = &world.team_memberships;
    let id = draw(rng, table.len(), |id| table.live(id, LATEST).is_some())?;
    world.team_memberships.set_live(id, hand.at, false);
    world.note_if(Silent::TeamMembers, hand, (Kind::TeamMembership, id), Told::Deleted);
    done(Kind::TeamMembership, id, "")
}
