//! `-o` lists split, looked up in the table and put side by side, the later word over the earlier.

use super::error::OptionError;
use super::foreign;
use super::given::Given;
use super::table::{Kind, TABLE, Word};

/// Reads `-o` lists. `sloppy` (`-s` of mount(8)) passes over unknown words.
///
/// # Errors
/// Names the option, and the nearest known one or what to write.
pub(crate) fn read<S: AsRef<str>>(lists: &[S], sloppy: bool) -> Result<Given, OptionError> {
    let mut given = Given::default();
    for text in lists
        .iter()
        .flat_map(|list| list.as_ref().split(','))
        .filter(|text| !text.is_empty())
    {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        match find(name) {
            Some(word) => accept(&mut given, word, name, value)?,
            None => match foreign::answer(name) {
                Some(Ok(note)) => given.notes.push(note),
                _ if sloppy => {}
                Some(Err(not_here)) => return Err(not_here.into()),
                None => return Err(unknown(name)),
            },
        }
    }
    Ok(given)
}

fn find(name: &str) -> Option<&'static Word> {
    TABLE.iter().find(|word| match word.name.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => word.name == name,
    })
}

fn accept(
    given: &mut Given,
    word: &'static Word,
    name: &str,
    value: Option<&str>,
) -> Result<(), OptionError> {
    let name = || name.to_owned();
    match (word.kind, value) {
        (Kind::Value(set), Some(value)) if !value.is_empty() => {
            set(given, value).map_err(|source| OptionError::Value {
                name: name(),
                value: value.to_owned(),
                source,
            })?;
        }
        (Kind::Value(_), _) => {
            return Err(OptionError::NeedsValue {
                name: name(),
                usage: word.usage(),
            });
        }
        (Kind::Flag(set), None) => set(given),
        (Kind::Flag(_), Some(value)) => {
            return Err(OptionError::TakesNoValue {
                name: name(),
                value: value.to_owned(),
            });
        }
        (Kind::Ignored, _) => {}
        (Kind::Refused(why), _) => return Err(OptionError::Refused { name: name(), why }),
    }
    given.named.push(word.name);
    Ok(())
}

fn unknown(name: &str) -> OptionError {
    let lower = name.to_ascii_lowercase();
    let nearest = TABLE
        .iter()
        .filter(|word| !word.name.ends_with('*'))
        .map(|word| (strsim::damerau_levenshtein(&lower, word.name), word.name))
        .min()
        .filter(|&(distance, word)| distance <= 1 + word.len() / 4);
    match nearest {
        Some((_, nearest)) => OptionError::Misspelt {
            name: name.to_owned(),
            nearest,
        },
        None => OptionError::Unknown(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_fs::control::ShareChange;
    use rdmafs_fs::mount::KernelFlags;
    use rdmafs_fs::options::{CacheMode, Crypt, FabricKind};
    use std::path::Path;

    fn good(list: &str) -> Given {
        read(&[list], false).unwrap_or_else(|error| panic!("{list}: {error}"))
    }

    fn bad(list: &str) -> String {
        read(&[list], false).expect_err(list).to_string()
    }

    #[test]
    fn values_arrive() {
        let given =
            good("fabric=tcp,key=/k,crypt=on,timeout=500ms,cache=none,bw=200M,iops=1000,burst=1M,weight=50");
        assert_eq!(given.fabric, Some(Some(FabricKind::Tcp)));
        assert_eq!(given.key.as_deref(), Some(Path::new("/k")));
        assert_eq!(given.crypt, Some(Crypt::On));
        assert_eq!(given.timeout_ms, Some(500));
        assert_eq!(given.cache, Some(CacheMode::None));
        let share = ShareChange {
            bw: Some(200 << 20),
            iops: Some(1000),
            burst: Some(1 << 20),
            weight: Some(50),
        };
        assert_eq!(given.share, share);
        assert_eq!(good("fabric=auto").fabric, Some(None));
        assert_eq!(good("fabric=shm").fabric, Some(Some(FabricKind::Shm)));
    }

    #[test]
    fn kernel_flags_arrive_and_the_later_word_wins() {
        let flags = good("ro,suid,dev,noexec,noatime,nodiratime,sync,dirsync").flags;
        assert!(flags.read_only && flags.suid && flags.dev && flags.noexec);
        assert!(flags.noatime && flags.nodiratime && flags.sync && flags.dirsync);
        let flags = good("ro,rw,suid,nosuid,dev,nodev,noexec,exec,noatime,atime,sync,async").flags;
        assert_eq!(flags, KernelFlags::default());
        let flags = good("relatime,strictatime").flags;
        assert!(flags.strictatime && !flags.relatime);
    }

    #[test]
    fn what_mount_8_hands_over_is_accepted() {
        let given =
            good("defaults,_netdev,auto,noauto,nofail,x-systemd.automount,X-a=b,comment=c,rw,nouser,,");
        assert_eq!(given.flags, KernelFlags::default());
        assert!(good("remount,bw=0").remount);
        // What the kernel lists for a mount comes back with `mount -o remount DIR`.
        good(
            "rw,nosuid,nodev,relatime,user_id=0,group_id=0,allow_other,default_permissions,max_read=1048576",
        );
    }

    #[test]
    fn several_lists_are_one() {
        let given = read(&["ro", "bw=1M,rw"], false).unwrap();
        assert!(!given.flags.read_only && given.has("bw") && given.has("ro") && !given.has("key"));
    }

    #[test]
    fn unknown_words_are_refused_with_the_nearest() {
        assert_eq!(
            bad("fabrik=tcp"),
            "unknown mount option 'fabrik': did you mean 'fabric'?"
        );
        assert_eq!(
            bad("noatme"),
            "unknown mount option 'noatme': did you mean 'noatime'?"
        );
        assert_eq!(bad("rW"), "unknown mount option 'rW': did you mean 'rw'?");
        assert_eq!(
            bad("compress=zstd"),
            "unknown mount option 'compress': see 'rdmafs mount --help' for those there are"
        );
        assert_eq!(read(&["compress=zstd,ro"], true).unwrap().named, ["ro"]);
        assert!(
            read(&["bw=fast"], true).is_err(),
            "sloppy forgives unknown words, not wrong values"
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn wrong_values_name_option_value_and_remedy() {
        let cases = [
            (
                "fabric=rdma",
                "mount option fabric=rdma: use auto, shm, verbs or tcp",
            ),
            (
                "fabric=sim",
                "mount option fabric=sim: use auto, shm, verbs or tcp",
            ),
            ("crypt=yes", "mount option crypt=yes: use auto, on or off"),
            ("cache=all", "mount option cache=all: use auto or none"),
            (
                "key=k",
                "mount option key=k: give the whole path, starting with /",
            ),
            (
                "timeout=5",
                "mount option timeout=5: '5' is no time: use a number with ms, s or m",
            ),
            (
                "timeout=99ms",
                "mount option timeout=99ms: out of range: use 100ms to 10m",
            ),
            ("timeout=601s", "mount option timeout=601s: out of range"),
            ("bw=fast", "mount option bw=fast: 'fast' is no rate"),
            (
                "bw=4095",
                "mount option bw=4095: out of range: use 4K or more, or 0 for no limit",
            ),
            ("iops=1k", "mount option iops=1k: '1k' is no number"),
            ("burst=x", "mount option burst=x: 'x' is no size"),
            (
                "burst=4095",
                "mount option burst=4095: out of range: use 4K or more, or 0 for the default",
            ),
            ("weight=0", "mount option weight=0: out of range: use 1 to 10000"),
            (
                "weight=10001",
                "mount option weight=10001: out of range: use 1 to 10000",
            ),
            ("weight=-1", "mount option weight=-1: '-1' is no number"),
            ("bw", "mount option 'bw' needs a value: bw=RATE"),
            ("key=", "mount option 'key' needs a value: key=FILE"),
            ("ro=1", "mount option 'ro' takes no value: write ro, not ro=1"),
            (
                "prio=high",
                "mount option 'prio': priorities are not in this version",
            ),
            ("user", "mount option 'user': only root mounts rdmafs"),
            ("owner", "mount option 'owner': only root mounts rdmafs"),
        ];
        for (list, want) in cases {
            let error = bad(list);
            assert!(
                error.starts_with(want),
                "{list}: {error:?} does not start with {want:?}"
            );
            assert!(!error.contains('\n'));
        }
    }

    #[cfg(feature = "verbs")]
    #[test]
    fn rdma_resources_arrive() {
        use rdmafs_fs::options::VerbsOptions;
        let given = good("fabric=verbs,device=mlx5_0,port=2,gid_index=3,tclass=106");
        let verbs = VerbsOptions {
            device: Some("mlx5_0".to_owned()),
            port: Some(2),
            gid_index: Some(3),
            tclass: Some(106),
        };
        assert_eq!(
            (given.fabric, given.verbs),
            (Some(Some(FabricKind::Verbs)), verbs)
        );
        good("port=1,gid_index=0,tclass=0");
        good("port=255,gid_index=255,tclass=255");
        for (list, want) in [
            (
                "device=a/b",
                "mount option device=a/b: give the name of an RDMA device",
            ),
            ("device=", "mount option 'device' needs a value: device=NAME"),
            (
                "port=7470",
                "mount option port=7470: out of range: use 1 to 255 (the port of the RDMA device; a node's TCP",
            ),
            ("port=0", "mount option port=0: out of range"),
            ("gid_index=256", "mount option gid_index=256: out of range"),
            ("tclass=x", "mount option tclass=x: 'x' is no number"),
        ] {
            let error = bad(list);
            assert!(error.starts_with(want), "{list}: {error}");
        }
    }

    #[cfg(not(feature = "verbs"))]
    #[test]
    fn a_build_without_verbs_says_so() {
        for list in [
            "fabric=verbs",
            "device=mlx5_0",
            "port=1",
            "gid_index=0",
            "tclass=0",
        ] {
            assert!(bad(list).contains(": this build has no verbs: "), "{list}");
        }
    }

    #[test]
    fn limits_are_inclusive() {
        good("timeout=100ms");
        good("timeout=10m");
        good("weight=1");
        good("weight=10000");
        good("bw=4096,burst=4096");
        good("bw=0,iops=0,burst=0");
    }
}
