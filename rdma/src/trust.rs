//! What this process believes: paths that nobody but root and its own user can lead elsewhere, and sockets that one of them listens on.
//!
//! A socket, key or record is as trustworthy as the directories that lead to it: who may change one of them puts something of his own in
//! its place. So each is looked at, from `/` down, links followed by hand. A directory that anybody may write, as `/tmp`, is believed where it
//! is sticky: what root has there nobody else can replace, and whose the next step is, is looked at.

use crate::shown::shown;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// A path or a socket that is not believed, with the remedy.
#[derive(Debug, Error)]
pub enum Distrust {
    /// Another user owns what leads there.
    #[error("{} belongs to uid {owner}, who could put something else in the place of {}: chown root {0}, or use another path", shown(.at), shown(.path))]
    Owner {
        /// What was to be used.
        path: PathBuf,
        /// A directory or link on the way there, or the path itself.
        at: PathBuf,
        /// The user.
        owner: u32,
    },
    /// Others may change a directory that leads there.
    #[error("{} can be changed by others (mode {mode:04o}), who could put something else in the place of {}: chmod go-w {0}, or use another path", shown(.at), shown(.path))]
    Mode {
        /// What was to be used.
        path: PathBuf,
        /// A directory on the way there, or the path itself.
        at: PathBuf,
        /// The mode, without the type.
        mode: u32,
    },
    /// It cannot be looked at.
    #[error("cannot look at {}: {source}", shown(.at))]
    Look {
        /// A directory or link on the way there.
        at: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another user listens on a socket.
    #[error("uid {uid} listens on {}, and only root and who asks are believed: end that program and remove the socket", shown(.path))]
    Listener {
        /// The socket.
        path: PathBuf,
        /// The user.
        uid: u32,
    },
}

/// Every directory and link that leads to `path`, which may be missing, belongs to root or this process's user, and nobody else may change
/// one. What `path` names itself is left to whoever opens it.
///
/// # Errors
/// See [`Distrust`]. What cannot be reached at all is no error here: who opens it meets that.
pub fn check_way(path: &Path) -> Result<(), Distrust> {
    let look = |at: &Path, source| Distrust::Look {
        at: at.to_owned(),
        source,
    };
    let whole = std::path::absolute(path).map_err(|source| look(path, source))?;
    let mut at = PathBuf::from("/");
    let root = fs::symlink_metadata(&at).map_err(|source| look(&at, source))?;
    check_step(path, &at, &root)?;
    let mut rest = steps(&whole);
    let mut links = 0;
    while let Some(step) = rest.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        at.push(step);
        let found = match fs::symlink_metadata(&at) {
            Ok(found) => found,
            Err(error) if is_out_of_reach(&error) => return Ok(()),
            Err(source) => return Err(look(&at, source)),
        };
        if found.is_symlink() {
            check_owner(path, &at, &found)?;
            links += 1;
            if links > MOST_LINKS {
                return Err(look(&at, io::Error::from_raw_os_error(libc::ELOOP)));
            }
            let to = fs::read_link(&at).map_err(|source| look(&at, source))?;
            at.pop();
            if to.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.extend(steps(&to));
        } else if !rest.is_empty() {
            check_step(path, &at, &found)?;
        }
    }
    Ok(())
}

/// As [`check_way`], and nobody else may change the directory `dir` itself, which may be missing.
///
/// # Errors
/// See [`Distrust`].
pub fn check_directory(dir: &Path) -> Result<(), Distrust> {
    check_way(dir)?;
    let Ok(found) = fs::metadata(dir) else {
        return Ok(());
    };
    check_owner(dir, dir, &found)?;
    check_mode(dir, dir, &found)
}

/// Root, or this process's user, listens on the other end of `socket`, which is connected to `path`.
///
/// # Errors
/// [`Distrust::Listener`], or the kernel does not say who.
pub fn check_listener(socket: &impl AsFd, path: &Path) -> Result<(), Distrust> {
    let listener = getsockopt(socket, PeerCredentials).map_err(|error| Distrust::Look {
        at: path.to_owned(),
        source: error.into(),
    })?;
    let (path, uid) = (path.to_owned(), listener.uid());
    is_believed(uid)
        .then_some(())
        .ok_or(Distrust::Listener { path, uid })
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let named = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    let steps = path.components().rev().filter(named);
    steps.map(|part| part.as_os_str().to_owned()).collect()
}

/// Whoever opens the path cannot get there either.
fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

fn is_believed(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

fn check_step(path: &Path, at: &Path, found: &Metadata) -> Result<(), Distrust> {
    check_owner(path, at, found)?;
    if found.mode() & libc::S_ISVTX != 0 {
        return Ok(());
    }
    check_mode(path, at, found)
}

fn check_owner(path: &Path, at: &Path, found: &Metadata) -> Result<(), Distrust> {
    let owner = found.uid();
    if is_believed(owner) {
        return Ok(());
    }
    let (path, at) = (path.to_owned(), at.to_owned());
    Err(Distrust::Owner { path, at, owner })
}

fn check_mode(path: &Path, at: &Path, found: &Metadata) -> Result<(), Distrust> {
    let mode = found.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let (path, at) = (path.to_owned(), at.to_owned());
    Err(Distrust::Mode { path, at, mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::{UnixListener, UnixStream};

    fn folder(parent: &Path, name: &str, mode: u32) -> PathBuf {
        let dir = parent.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        dir
    }

    #[test]
    fn a_step_that_others_may_change_is_named_with_the_remedy() {
        let temporary = tempfile::tempdir().unwrap();
        for (mode, believed) in [
            (0o755, true),
            (0o700, true),
            (0o1777, true),
            (0o775, false),
            (0o757, false),
        ] {
            let step = folder(temporary.path(), "step", mode);
            for below in ["key", "a/b/key"] {
                let answer = check_way(&step.join(below));
                assert_eq!(answer.is_ok(), believed, "{mode:o}: {answer:?}");
                if let Err(error) = answer {
                    let line = error.to_string();
                    assert!(line.contains(&format!("chmod go-w {},", shown(&step))), "{line}");
                }
            }
            // It is left to whoever opens it.
            check_way(&step).unwrap();
            assert_eq!(check_directory(&step).is_ok(), believed && mode != 0o1777);
        }
    }

    #[test]
    fn links_are_followed_and_what_they_lead_through_is_looked_at() {
        let temporary = tempfile::tempdir().unwrap();
        let open = folder(temporary.path(), "open", 0o777);
        let inside = folder(&open, "inside", 0o755);
        symlink(&inside, temporary.path().join("absolute")).unwrap();
        symlink("open/inside", temporary.path().join("relative")).unwrap();
        symlink(
            "../open/inside",
            folder(temporary.path(), "own", 0o755).join("up"),
        )
        .unwrap();
        symlink("loop", temporary.path().join("loop")).unwrap();
        for through in [
            "absolute/key",
            "relative/key",
            "own/up/key",
            "own/../open/inside/key",
            "relative",
        ] {
            let line = check_way(&temporary.path().join(through))
                .unwrap_err()
                .to_string();
            assert!(
                line.starts_with(&format!("{} can be", shown(&open))),
                "{through}: {line}"
            );
        }
        // A link in a directory that others may change, to one that they may not.
        symlink(folder(temporary.path(), "good", 0o755), open.join("link")).unwrap();
        assert!(check_way(&open.join("link/key")).is_err());
        assert!(check_way(&temporary.path().join("loop/key")).is_err());
        check_way(&temporary.path().join("own/../good/key")).unwrap();
    }

    #[test]
    fn a_step_of_another_user_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let step = folder(temporary.path(), "step", 0o755);
        let link = temporary.path().join("link");
        symlink(temporary.path(), &link).unwrap();
        let theirs = |path: &Path| {
            nix::unistd::fchownat(
                nix::fcntl::AT_FDCWD,
                path,
                Some(12345.into()),
                None,
                nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
            )
        };
        if theirs(&step).and_then(|()| theirs(&link)).is_err() {
            return;
        }
        for path in [step.join("key"), step.join("missing/key"), link.join("key")] {
            let line = check_way(&path).unwrap_err().to_string();
            assert!(
                line.contains("belongs to uid 12345") && line.contains("chown root"),
                "{line}"
            );
        }
        assert!(check_directory(&step).is_err());
    }

    #[test]
    fn who_listens_is_asked_of_the_kernel() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        check_listener(&UnixStream::connect(&path).unwrap(), &path).unwrap();
        assert!(is_believed(0) && !is_believed(geteuid().as_raw() + 1));
        let line = Distrust::Listener { path, uid: 2001 }.to_string();
        assert!(
            line.starts_with("uid 2001 listens on ") && line.contains("remove the socket"),
            "{line}"
        );
    }
}
