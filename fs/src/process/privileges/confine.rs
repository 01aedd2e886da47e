//! A daemon gives up what it does not need, before its first thread starts, so that every thread is born without it.

use super::calls::{Only, groups};
use super::capabilities::{Role, keep_only};
use super::filter::{Unlisted, install};
use crate::process::harden::LeftOut;
use std::fmt::Write;

/// What becomes of system calls that are not listed: `refuse` (the default), `log` or `allow`.
const VARIABLE: &str = "RDMAFS_UNLISTED_CALLS";

/// Keeps the capabilities and system calls of the role and no others, in this thread and in all that it starts, for good: no new privileges,
/// no program is executed. Call it before threads are started, before bytes of others are read, and after all that needs more.
///
/// What the kernel or a container does not let a process give up is noted in `left_out`: the daemon goes on, since it serves as well
/// without.
pub fn confine(role: Role, left_out: &mut LeftOut) {
    left_out.note(
        rustix::thread::set_no_new_privs(true),
        "cannot forbid new privileges",
    );
    left_out.note(
        keep_only(role),
        "cannot give up the capabilities that are not needed",
    );
    let word = std::env::var(VARIABLE).unwrap_or_default();
    let unlisted = match word.as_str() {
        "" | "refuse" => Unlisted::Refuse,
        "log" => Unlisted::Log,
        "allow" => {
            let all: Result<(), &str> = Err("it may make all system calls");
            return left_out.note(all, &format!("{VARIABLE}=allow"));
        }
        _ => {
            let unknown: Result<(), &str> = Err("use refuse, log or allow; it is taken for refuse");
            left_out.note(unknown, &format!("{VARIABLE}={word}"));
            Unlisted::Refuse
        }
    };
    if unlisted == Unlisted::Log {
        let logged: Result<(), &str> =
            Err("system calls that are not listed are logged by the kernel, and done");
        left_out.note(logged, &format!("{VARIABLE}=log"));
    }
    left_out.note(
        install(role, unlisted),
        "cannot restrict the system calls of this process",
    );
}

/// What a role keeps, in lines: `capabilities HEX`, then each capability and each group of system calls with its reason.
#[must_use]
pub fn describe(role: Role) -> String {
    let mut text = format!("capabilities {:016x}\n", role.set().bits());
    for (_, name, reason) in role.kept() {
        let _ = writeln!(text, "{name}: {reason}");
    }
    for group in groups(role) {
        let _ = writeln!(text, "system calls, {}:", group.reason);
        for call in group.calls {
            let name = call.name.trim_start_matches("SYS_");
            let _ = match call.only {
                Only::Any => writeln!(text, "  {name}"),
                only => writeln!(text, "  {name} ({only:?})"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests;
