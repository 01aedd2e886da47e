//! The namespace service: one call in, one [`Output`] out.

mod output;
mod step;
mod record;
mod service;
mod persist;
mod load;
mod space;
mod sessions;
mod names;
mod files;
mod dispatch;
mod check;
#[cfg(test)]
mod tests;

pub use output::{Config, GrantChange, Output};
pub use service::Namespace;
