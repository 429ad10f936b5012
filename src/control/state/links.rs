//! Directions and the names of rules, as paths and JSON write them.

use crate::control::message::Response;
use crate::filter::{Direction, Scope};

/// Up, then down: the order of all lists.
pub(in crate::control) const BOTH: [Direction; 2] = [Direction::Upstream, Direction::Downstream];

/// `up.NAME`.
pub(in crate::control) fn id_of(direction: Direction, name: &str) -> String {
    format!("{direction}.{name}")
}

/// The direction and the name of a rule.
pub(in crate::control) fn parts_of(id: &str) -> Option<(Direction, &str)> {
    let (way, name) = id.split_once('.')?;
    Some((direction_of(way)?, name))
}

pub(in crate::control) fn direction_of(word: &str) -> Option<Direction> {
    BOTH.into_iter().find(|direction| direction.to_string() == word)
}

/// That direction alone.
pub(in crate::control) fn scope_of(direction: Direction) -> Scope {
    match direction {
        Direction::Upstream => Scope::Up,
        Direction::Downstream => Scope::Down,
    }
}

/// A name that people can type and programs can put into a path.
pub(in crate::control) fn check_name(field: &str, name: &str) -> Result<(), Response> {
    let is_good = |c: char| c.is_alphanumeric() || " ._#-".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(is_good) {
        return Ok(());
    }
    Err(Response::error_of(
        400,
        field,
        format!("{field} must be 1 to 64 letters, digits, blanks and . _ # -"),
    ))
}
