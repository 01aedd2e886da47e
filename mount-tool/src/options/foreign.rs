//! Options of other file systems, as people have them in their fstab: what each means there, and what holds here.
//!
//! One that asks for what is always so, or for what can make no difference to a program, is passed over with a note. One that asks for
//! something that a mount does not do is refused with the remedy.

/// What comes of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Noted,
    Refused,
}

/// One row.
struct Foreign {
    names: &'static [&'static str],
    of: &'static str,
    means: &'static str,
    answer: Answer,
    /// What holds here; what to do, after a colon.
    here: &'static str,
}

const fn noted(
    names: &'static [&'static str],
    of: &'static str,
    means: &'static str,
    here: &'static str,
) -> Foreign {
    Foreign {
        names,
        of,
        means,
        answer: Answer::Noted,
        here,
    }
}

const fn refused(
    names: &'static [&'static str],
    of: &'static str,
    means: &'static str,
    here: &'static str,
) -> Foreign {
    Foreign {
        names,
        of,
        means,
        answer: Answer::Refused,
        here,
    }
}

/// An option of another file system that asks for something that a mount does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotHere(String);

/// `None` for a word that is nobody's. `Some(Ok)` has a note, `Some(Err)` a refusal; each is one line.
pub(super) fn answer(name: &str) -> Option<Result<String, NotHere>> {
    let row = FOREIGN.iter().find(|row| row.names.contains(&name))?;
    let Foreign { of, means, here, .. } = row;
    let line = format!("mount option '{name}' is of {of} ({means}); here {here}");
    Some(match row.answer {
        Answer::Noted => Ok(line),
        Answer::Refused => Err(NotHere(line)),
    })
}

const NFS: &str = "NFS";
const SSHFS: &str = "sshfs";
const FUSE: &str = "libfuse";
const DISK: &str = "disk file systems";

static FOREIGN: &[Foreign] = &[
    noted(
        &["soft", "softerr"],
        NFS,
        "give up after a time",
        "that is always so: timeout= says after how long",
    ),
    refused(
        &["hard"],
        NFS,
        "try for ever",
        "an operation is EIO after timeout=: leave it out, timeout= goes up to 10m",
    ),
    refused(
        &["timeo", "retrans"],
        NFS,
        "when to ask again, and how often",
        "one time limit covers it all: use timeout=TIME, like timeout=30s",
    ),
    refused(
        &["bg"],
        NFS,
        "go on mounting in the background",
        "a mount that fails says so at once: use x-systemd.automount or nofail in fstab",
    ),
    noted(
        &["fg"],
        NFS,
        "mount in the foreground",
        "that is always so: leave it out",
    ),
    refused(
        &["retry"],
        NFS,
        "minutes to try to mount",
        "a mount is tried once, for timeout=: use x-systemd.automount in fstab",
    ),
    noted(
        &[
            "vers",
            "nfsvers",
            "minorversion",
            "v3",
            "v4",
            "v4.0",
            "v4.1",
            "v4.2",
        ],
        NFS,
        "version of the protocol",
        "both sides must have one and say so: leave it out",
    ),
    refused(
        &["proto", "tcp", "udp", "rdma"],
        NFS,
        "what carries the bytes",
        "that is the fabric: use fabric=tcp or fabric=verbs",
    ),
    noted(
        &["rsize", "wsize", "bsize", "big_writes", "max_write"],
        "NFS and libfuse",
        "bytes of a request",
        "requests are as large as the kernel lets them be, 1 MiB: leave it out",
    ),
    noted(
        &["nconnect", "max_connect"],
        NFS,
        "connections to a server",
        "the number is fixed, whatever the number of mounts: leave it out",
    ),
    refused(
        &[
            "addr",
            "clientaddr",
            "mountaddr",
            "mounthost",
            "mountport",
            "mountproto",
            "mountvers",
            "srcaddr",
        ],
        NFS,
        "where to connect",
        "the source says it: write NODE:PORT:/POOL",
    ),
    refused(
        &["sec"],
        NFS,
        "how to authenticate",
        "the pool's key does it: use key=FILE, and crypt=on to encrypt",
    ),
    noted(
        &[
            "lock",
            "acl",
            "user_xattr",
            "cto",
            "ac",
            "intr",
            "rdirplus",
            "sharecache",
            "noresvport",
            "resvport",
        ],
        NFS,
        "locks, ACLs, close-to-open and the like",
        "that is always so: leave it out",
    ),
    noted(
        &[
            "nolock",
            "local_lock",
            "nordirplus",
            "nointr",
            "nosharecache",
            "namlen",
        ],
        NFS,
        "less than the protocol can",
        "mounts of all hosts see the same locks and names: leave it out",
    ),
    refused(
        &[
            "noac",
            "lookupcache",
            "actimeo",
            "acregmin",
            "acregmax",
            "acdirmin",
            "acdirmax",
        ],
        NFS,
        "how long attributes are believed",
        "cache=none believes nothing and cache=auto what the guide says: use one of these",
    ),
    refused(
        &["nocto"],
        NFS,
        "no close-to-open",
        "an open sees what was closed before: leave it out",
    ),
    refused(
        &["noacl", "nouser_xattr"],
        NFS,
        "no ACLs, no extended attributes",
        "they are always kept: leave it out",
    ),
    refused(&["fsc"], NFS, "a cache on disk", "there is none: leave it out"),
    refused(
        &["uid", "gid"],
        SSHFS,
        "who owns all files",
        "files have the owners that the pool keeps: use chown, or serve --root-owner",
    ),
    refused(
        &["umask", "fmask", "dmask", "file_mode", "dir_mode"],
        SSHFS,
        "the mode of all files",
        "files have the modes that the pool keeps: use chmod, or serve --root-mode",
    ),
    noted(
        &["reconnect"],
        SSHFS,
        "connect again when a connection is lost",
        "that is always so: leave it out",
    ),
    noted(
        &["ServerAliveInterval", "ServerAliveCountMax", "ConnectTimeout"],
        SSHFS,
        "how a dead server is noticed",
        "sessions are leased and timeout= bounds every answer: leave it out",
    ),
    refused(
        &["IdentityFile", "password_stdin", "ssh_command"],
        SSHFS,
        "how to log in",
        "the pool's key does it: use key=FILE",
    ),
    refused(
        &["follow_symlinks", "transform_symlinks"],
        SSHFS,
        "what links lead to",
        "links are the kernel's business, as on a disk: leave it out",
    ),
    refused(
        &["allow_root"],
        FUSE,
        "only root and who mounted may enter",
        "every mount is allow_other and modes decide: use serve --root-mode=0700",
    ),
    noted(
        &["nonempty", "fsname", "subtype"],
        FUSE,
        "what fusermount checks and shows",
        "root mounts, and the source is shown: leave it out",
    ),
    refused(
        &["auto_unmount"],
        FUSE,
        "unmount when the server dies",
        "the handler comes back and serves its mounts again: leave it out",
    ),
    refused(
        &[
            "kernel_cache",
            "auto_cache",
            "entry_timeout",
            "attr_timeout",
            "negative_timeout",
            "ac_attr_timeout",
        ],
        FUSE,
        "how the kernel caches",
        "cache=auto or cache=none say it: use one of these",
    ),
    refused(
        &["direct_io"],
        FUSE,
        "no page cache",
        "that is cache=none: use it",
    ),
    refused(
        &["context", "fscontext", "defcontext", "rootcontext", "seclabel"],
        "SELinux",
        "the label of the files",
        "the policy labels fuse mounts as a whole: leave it out",
    ),
    refused(
        &["quota", "usrquota", "grpquota", "prjquota"],
        DISK,
        "limits for users",
        "a host's memory is limited by serve --allow: leave it out",
    ),
    noted(
        &["noquota", "barrier", "nobarrier", "nodiscard", "discard"],
        DISK,
        "how a disk is treated",
        "there is no disk: leave it out",
    ),
    refused(
        &["data", "errors", "loop", "offset", "sizelimit"],
        DISK,
        "how a device is used",
        "there is no device: leave it out",
    ),
    refused(
        &["nosymfollow"],
        DISK,
        "no link is followed",
        "mount(8) cannot hand it on: leave it out",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::parse::read;
    use super::super::table::TABLE;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_word_stands_twice_nor_in_the_table_of_our_own() {
        let mut observed = HashSet::new();
        for name in FOREIGN.iter().flat_map(|row| row.names) {
            assert!(observed.insert(*name), "{name}");
            assert!(TABLE.iter().all(|word| word.name != *name), "{name}");
        }
    }

    #[test]
    fn every_answer_is_one_line_with_a_remedy() {
        for row in FOREIGN {
            assert!(row.here.contains(": "), "{:?}", row.names);
            for name in row.names {
                let line = answer(name)
                    .unwrap()
                    .unwrap_or_else(|refusal| refusal.to_string());
                assert!(line.starts_with(&format!("mount option '{name}' is of ")));
                assert!(!line.contains('\n') && !line.ends_with('.'), "{line}");
            }
        }
    }

    #[test]
    fn what_is_always_so_is_passed_over_with_a_note() {
        let given = read(&["soft,vers=4.2,rsize=1048576,reconnect,intr,fg,bw=1M"], false).unwrap();
        assert_eq!(given.notes.len(), 6);
        assert_eq!(
            given.notes[0],
            "mount option 'soft' is of NFS (give up after a time); here that is always so: timeout= says after how long"
        );
        assert_eq!(given.named, ["bw"]);
    }

    #[test]
    fn what_is_not_done_is_refused_with_the_remedy() {
        for (word, remedy) in [
            ("hard", "timeout= goes up to 10m"),
            ("bg", "use x-systemd.automount or nofail in fstab"),
            ("retry=5", "use x-systemd.automount in fstab"),
            ("timeo=600", "use timeout=TIME, like timeout=30s"),
            ("proto=rdma", "use fabric=tcp or fabric=verbs"),
            ("uid=1000", "use chown, or serve --root-owner"),
            ("umask=022", "use chmod, or serve --root-mode"),
            ("noac", "use one of these"),
            ("sec=krb5", "use key=FILE, and crypt=on to encrypt"),
            ("context=system_u:object_r:x:s0", "leave it out"),
        ] {
            let line = read(&[word], false).unwrap_err().to_string();
            assert!(line.ends_with(remedy), "{line}");
            assert!(read(&[word], true).is_ok(), "-s passes over {word}");
        }
    }
}
