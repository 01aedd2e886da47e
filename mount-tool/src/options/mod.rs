//! Mount options: what the user said ([`given`]), the table of all words ([`table`]), those of others ([`foreign`]), how a list is read
//! ([`parse`]) and what it means ([`meaning`]).

mod given;
mod table;
mod foreign;
mod error;
mod parse;
mod meaning;

pub(crate) use error::OptionError;
pub(crate) use given::Given;
pub(crate) use meaning::{Meaning, access_times, default_key, resolve};
pub(crate) use parse::read;
pub(crate) use table::{Kind, TABLE, VERBS};
