//! What root wrote to mount(8), and mount(8) keeps for itself.
//!
//! `suid` and `dev` are defaults to mount(8): it hands them to no helper, so that `-o suid,dev` and no word at all look alike here. A pool
//! is written by every host that has its key: a set-user-id program or a device that one host's root made there would be honoured by
//! all hosts. So the default stays nosuid and nodev, and whether root asked for more is read where root wrote it: in the command line
//! of the mount(8) that waits for this process, and in the line of fstab(5) that it reads. Whoever can write either is root already.

use crate::mounts::{resolve, unescape};
use std::fs;
use std::path::{Path, PathBuf};

const FSTAB: &str = "/etc/fstab";
/// Short options of mount(8) that take a value.
const WITH_VALUE: &str = "LNOTUot";
/// Long ones.
const LONG_WITH_VALUE: [&str; 11] = [
    "fstab",
    "label",
    "map-groups",
    "map-users",
    "namespace",
    "options-mode",
    "options-source",
    "target-prefix",
    "test-opts",
    "types",
    "uuid",
];

/// `suid` and `dev`, as far as root asked for them when this process was started by mount(8). A later `nosuid` still wins.
pub(crate) fn kept_words(source: &str, dir: &Path) -> Vec<&'static str> {
    let parent = nix::unistd::getppid();
    let read = |name: &str| fs::read(format!("/proc/{parent}/{name}")).unwrap_or_default();
    if read("comm") != b"mount\n" {
        return Vec::new();
    }
    let said = Said::parse(&read("cmdline"));
    let mut lists = Vec::new();
    if !said.names_both {
        let fstab = fs::read(&said.fstab).unwrap_or_default();
        lists.extend(line_of(&fstab, source, &resolve(dir)));
    }
    lists.extend(said.options);
    words(&lists)
}

/// A command line of mount(8).
#[derive(Debug, PartialEq, Eq)]
struct Said {
    options: Vec<String>,
    /// It names source and directory: no fstab is read.
    names_both: bool,
    fstab: PathBuf,
}

impl Said {
    fn parse(command: &[u8]) -> Self {
        let mut words = command
            .split(|&b| b == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .skip(1);
        let mut said = Self {
            options: Vec::new(),
            names_both: false,
            fstab: PathBuf::from(FSTAB),
        };
        let mut places = 0;
        while let Some(word) = words.next() {
            let Some((name, value)) = split(&word) else {
                places += usize::from(!word.is_empty());
                continue;
            };
            let value = || value.or_else(|| words.next()).unwrap_or_default();
            match name.as_str() {
                "o" | "options" => said.options.push(value()),
                "T" | "fstab" => said.fstab = PathBuf::from(value()),
                "source" | "target" => {
                    places += 1;
                    value();
                }
                name if LONG_WITH_VALUE.contains(&name) || (name.len() == 1 && WITH_VALUE.contains(name)) => {
                    value();
                }
                _ => {}
            }
        }
        said.names_both = places >= 2;
        said
    }
}

/// The name of an option and its value, where that is in the same word. `None` for a word that is no option. Of several
/// short ones in a word only the last can have a value.
fn split(word: &str) -> Option<(String, Option<String>)> {
    if let Some(long) = word.strip_prefix("--") {
        return Some(match long.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (long.to_owned(), None),
        });
    }
    let short = word.strip_prefix('-').filter(|short| !short.is_empty())?;
    Some(match short.find(|c| WITH_VALUE.contains(c)) {
        Some(at) => {
            let value = &short[at + 1..];
            (
                short[at..=at].to_owned(),
                (!value.is_empty()).then(|| value.to_owned()),
            )
        }
        None => (short.to_owned(), None),
    })
}

/// The options of the line for this source and directory.
fn line_of(fstab: &[u8], source: &str, dir: &Path) -> Option<String> {
    fstab.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line
            .split(|b| b.is_ascii_whitespace())
            .filter(|field| !field.is_empty())
            .map(|field| String::from_utf8_lossy(&unescape(field)).into_owned());
        let (of, on) = (fields.next()?, fields.next()?);
        let options = fields.nth(1)?;
        (of == source && resolve(Path::new(&on)) == dir).then_some(options)
    })
}

/// The last word of each pair decides.
fn words(lists: &[String]) -> Vec<&'static str> {
    let asked = |yes: &str, no: &str| {
        let mut all = lists.iter().flat_map(|list| list.split(','));
        all.rfind(|word| *word == yes || *word == no) == Some(yes)
    };
    let pairs = [("suid", "nosuid"), ("dev", "nodev")];
    let asked = pairs.into_iter().filter(|(yes, no)| asked(yes, no));
    asked.map(|(yes, _)| yes).collect()
}

/// Of any command line and fstab, no other words than these two are kept.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let said = Said::parse(bytes);
    let line = line_of(bytes, "n:/p", Path::new("/m"));
    let lists: Vec<String> = said.options.into_iter().chain(line).collect();
    assert!(words(&lists).iter().all(|word| ["suid", "dev"].contains(word)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &str) -> Said {
        Said::parse(command.replace(' ', "\0").as_bytes())
    }

    #[test]
    fn options_are_found_however_they_are_written() {
        for command in [
            "mount -t rdmafs -o suid,dev n:/p /m",
            "mount n:/p /m -t rdmafs -osuid,dev",
            "mount -vo suid,dev -t rdmafs n:/p /m",
            "mount --options suid,dev --types rdmafs n:/p /m",
            "mount --options=suid,dev --source n:/p --target=/m",
        ] {
            let said = said(command);
            assert_eq!(said.options, ["suid,dev"], "{command}");
            assert!(said.names_both, "{command}");
            assert_eq!(words(&said.options), ["suid", "dev"]);
        }
        let said = said("mount -o nosuid -o suid -T /x/fstab /m");
        assert_eq!(said.options, ["nosuid", "suid"]);
        assert!(!said.names_both && said.fstab == Path::new("/x/fstab"));
    }

    #[test]
    fn the_last_word_counts_and_nothing_else_asks() {
        let words = |list: &str| words(&[list.to_owned()]);
        assert_eq!(words("suid,nosuid,dev"), ["dev"]);
        assert_eq!(words("nosuid,suid"), ["suid"]);
        assert!(words("defaults,rw,exec,x-suid").is_empty());
    }

    #[test]
    fn only_the_line_of_fstab_for_this_mount_counts() {
        let fstab = b"# n:/p /mnt/a rdmafs suid\nn:/q /mnt/a rdmafs suid 0 0\n\
            n:/p\t/mnt/with\\040space  rdmafs  dev,_netdev 0 0\nn:/p /mnt/a rdmafs noatime\nshort line";
        let line = |dir: &str| line_of(fstab, "n:/p", Path::new(dir));
        assert_eq!(line("/mnt/a").as_deref(), Some("noatime"));
        assert_eq!(line("/mnt/with space").as_deref(), Some("dev,_netdev"));
        assert_eq!(line("/mnt/b"), None);
    }

    #[test]
    fn nothing_is_asked_where_another_program_started_this_one() {
        assert!(kept_words("n:/p", Path::new("/m")).is_empty());
    }
}
