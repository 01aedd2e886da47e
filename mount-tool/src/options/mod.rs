//! Mount options: the table of all words ([`table`]), what the user said ([`given`]) and what it means ([`meaning`]).

mod given;
mod meaning;
mod table;

pub(crate) use given::{Given, read};
pub(crate) use meaning::{Meaning, default_key, resolve};
pub(crate) use table::{Kind, TABLE, VERBS};
