//! In place of `fs::process`: plays decide themselves when a caller is killed.

/// Nobody can be looked at.
pub(crate) fn of_task(_tid: u32, _file: &str) -> Option<String> {
    None
}
