//! What a manual page says beyond `--help`: EXIT STATUS, FILES, SEE ALSO.

use std::fmt::Write;

/// Exit codes and what they mean.
type Statuses = &'static [(&'static str, &'static str)];

const DONE: (&str, &str) = ("0", "Done.");
const USAGE: (&str, &str) = (
    "1",
    "Wrong words, not root where that is needed, or what was asked for cannot be as it is (one line on standard error says what to do).",
);
const SYSTEM: (&str, &str) = ("2", "A system call, a daemon or a memory node failed.");

const COMMON: Statuses = &[DONE, USAGE, SYSTEM];
const SERVE: Statuses = &[
    DONE,
    (
        "1",
        "Wrong words, or the pool cannot be served as asked for: nothing was begun.",
    ),
    ("2", "The node failed after it had begun to serve."),
];
const STOP: Statuses = &[
    DONE,
    (
        "1",
        "Wrong words; or the pool is in use, and neither --yes nor a person at the terminal said so.",
    ),
    ("2", "There is no such node on this host, or it cannot be ended."),
];
const MOUNT: Statuses = &[
    DONE,
    ("1", "Wrong words or options, or not root."),
    ("2", "A system call or the handler failed."),
    ("32", "The mount could not be made."),
];
const FSCK: Statuses = &[
    ("0", "Nothing is wrong."),
    ("1", "Problems were found, and all of them repaired."),
    ("4", "Problems are left."),
    ("8", "The pool could not be examined."),
    ("16", "Wrong words, or not root."),
];
const NEVER: Statuses = &[("1", "Always.")];

const KEYS: (&str, &str) = (
    "/etc/rdmafs/POOL.key",
    "The key of a pool, mode 0600. Who can read it acts as root of that pool.",
);
const RUN: (&str, &str) = (
    "/run/rdmafs",
    "Sockets, process ids and logs of the daemons; RDMAFS_RUN_DIR names another directory.",
);
const NODE_RUN: (&str, &str) = (
    "/run/rdmafs/node-PORT.control, node-PORT.sock, node-PORT.pid, node-PORT.log",
    "Of the memory node on a port: where it is asked and told to stop, where handlers of this host come in, its process id once it serves, and the log of one that is in the background.",
);
const HANDLER_RUN: (&str, &str) = (
    "/run/rdmafs/handler.sock, handler.pid, handler.log, mounts/",
    "Of the handler: where it is asked, its process id, its log, and what it must know of its mounts to make them again.",
);
const STATE: (&str, &str) = (
    "DIR/namespace.redb, DIR/lock",
    "Names and attributes of a pool, in the --state directory, and the lock of the node that serves it.",
);
const FSTAB: (&str, &str) = (
    "/etc/fstab",
    "Lines of type rdmafs: node1:/pool /mnt/far rdmafs _netdev,nofail 0 0",
);
const HELPER: (&str, &str) = ("/sbin/mount.rdmafs", "What mount(8) calls for the type rdmafs.");

/// The sections of a page, as roff.
pub(crate) fn sections(page: &str) -> String {
    let (statuses, files, others): (Statuses, &[(&str, &str)], &[&str]) = match page {
        "rdmafs" => (
            COMMON,
            &[KEYS, RUN, NODE_RUN, HANDLER_RUN, HELPER],
            &[
                "rdmafs-serve",
                "rdmafs-stop",
                "rdmafs-mount",
                "rdmafs-umount",
                "rdmafs-status",
                "rdmafs-fsck",
                "mount.rdmafs",
            ],
        ),
        "rdmafs-serve" => (
            SERVE,
            &[KEYS, NODE_RUN, STATE],
            &["rdmafs-stop", "rdmafs-mount", "rdmafs-status", "rdmafs-fsck"],
        ),
        "rdmafs-stop" => (STOP, &[NODE_RUN], &["rdmafs-serve", "rdmafs-status"]),
        "rdmafs-drain" => (NEVER, &[], &["rdmafs-stop"]),
        "rdmafs-mount" | "mount.rdmafs" => (
            MOUNT,
            &[KEYS, HANDLER_RUN, FSTAB, HELPER],
            &["mount", "fstab", "rdmafs-umount", "rdmafs-qos", "rdmafs-status"],
        ),
        "rdmafs-umount" => (
            MOUNT,
            &[HANDLER_RUN],
            &["umount", "rdmafs-mount", "rdmafs-status"],
        ),
        "rdmafs-handler" => (COMMON, &[RUN, HANDLER_RUN], &["rdmafs-mount", "rdmafs-status"]),
        "rdmafs-status" => (
            COMMON,
            &[HANDLER_RUN, NODE_RUN],
            &["rdmafs-serve", "rdmafs-mount", "rdmafs-layout"],
        ),
        "rdmafs-qos" => (COMMON, &[HANDLER_RUN], &["rdmafs-mount", "rdmafs-status"]),
        "rdmafs-layout" => (COMMON, &[], &["rdmafs-status"]),
        "rdmafs-fsck" => (FSCK, &[KEYS, STATE], &["fsck", "rdmafs-serve"]),
        _ => (COMMON, &[], &["rdmafs"]),
    };
    let mut text = list("EXIT STATUS", statuses);
    text.push_str(&list("FILES", files));
    let own = (page != "rdmafs").then_some("rdmafs");
    let names = own.into_iter().chain(others.iter().copied());
    let mut names: Vec<String> = names.map(reference).collect();
    names.dedup();
    let _ = writeln!(text, ".SH \"SEE ALSO\"\n{}", names.join(", "));
    text
}

fn list(title: &str, entries: &[(&str, &str)]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut text = format!(".SH \"{title}\"\n");
    for (name, meaning) in entries {
        let _ = writeln!(text, ".TP\n\\fB{}\\fR\n{}", escaped(name), escaped(meaning));
    }
    text
}

/// Hyphens that are typed stay hyphens.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-")
}

fn reference(name: &str) -> String {
    let section = if name == "fstab" { 5 } else { 8 };
    format!("\\fB{}\\fR({section})", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_its_own_sections() {
        let stop = sections("rdmafs-stop");
        assert!(
            stop.starts_with(".SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\nDone.\n"),
            "{stop}"
        );
        assert!(stop.contains("the pool is in use") && stop.contains("node\\-PORT.control"));
        assert!(stop.ends_with("\\fBrdmafs\\fR(8), \\fBrdmafs\\-serve\\fR(8), \\fBrdmafs\\-status\\fR(8)\n"));
        assert!(sections("rdmafs-fsck").contains("\\fB16\\fR"));
        assert!(sections("mount.rdmafs").contains("\\fBfstab\\fR(5)"));
        let version = sections("rdmafs-version");
        assert!(!version.contains("FILES") && version.contains("\\fBrdmafs\\fR(8)\n"));
        assert!(!sections("rdmafs").contains("\\fBrdmafs\\fR(8)"));
    }
}
