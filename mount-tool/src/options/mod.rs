//! Mount options: the table of all words ([`table`]), those of others ([`foreign`]), what the user said ([`given`]) and what it means ([`meaning`]).

mod foreign;
mod given;
mod meaning;
mod table;

pub(crate) use given::{Given, read};
pub(crate) use meaning::{Meaning, access_times, default_key, resolve};
pub(crate) use table::{Kind, TABLE, VERBS};
