//! What was said means: defaults filled in, contradictions refused.

use super::error::OptionError;
use super::given::Given;
use rdmafs_fs::control::ShareChange;
use rdmafs_fs::mount::KernelFlags;
use rdmafs_fs::options::{
    AccessTime, AccessTimes, DEFAULT_COMMIT, FabricKind, MountOptions, Share, Source, VerbsOptions,
};
use std::path::PathBuf;

/// Everything a new mount needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// For the handler.
    pub(crate) options: MountOptions,
    /// For mount(2).
    pub(crate) flags: KernelFlags,
}

/// Fills in the defaults for a mount of `source`.
///
/// # Errors
/// Options that contradict each other.
pub(crate) fn resolve(source: &Source, given: &Given) -> Result<Meaning, OptionError> {
    let share = merge(given.share);
    if share.burst != 0 && share.bw == 0 {
        return Err(OptionError::BurstWithoutRate);
    }
    if let Some(other) = given.fabric.flatten().filter(|&kind| kind != FabricKind::Verbs)
        && given.verbs != VerbsOptions::default()
    {
        return Err(OptionError::ForVerbsOnly(other));
    }
    let options = MountOptions {
        fabric: given.fabric.flatten(),
        key: given.key.clone().unwrap_or_else(|| default_key(&source.pool)),
        crypt: given.crypt.unwrap_or_default(),
        verbs: given.verbs.clone(),
        timeout_ms: given.timeout_ms.unwrap_or(5_000),
        commit_s: given.commit_s.unwrap_or(DEFAULT_COMMIT),
        cache: given.cache.unwrap_or_default(),
        idmap: given.idmap,
        share,
        read_only: given.flags.read_only,
        access_times: access_times(&given.flags),
        root: None,
    };
    Ok(Meaning {
        options,
        flags: given.flags,
    })
}

/// As the kernel reads these words (fs/namespace.c, path_mount): `strictatime` wins over `noatime`, and leaves `nodiratime`.
pub(crate) fn access_times(flags: &KernelFlags) -> AccessTimes {
    let files = match (flags.strictatime, flags.noatime) {
        (true, _) => AccessTime::Strict,
        (false, true) => AccessTime::Never,
        (false, false) => AccessTime::Relative,
    };
    let directories = if flags.nodiratime {
        AccessTime::Never
    } else {
        files
    };
    AccessTimes { files, directories }
}

/// Where a pool's key is unless `key=` or `--key` says otherwise.
pub(crate) fn default_key(pool: &str) -> PathBuf {
    PathBuf::from(format!("/etc/rdmafs/{pool}.key"))
}

fn merge(change: ShareChange) -> Share {
    let default = Share::default();
    Share {
        bw: change.bw.unwrap_or(default.bw),
        iops: change.iops.unwrap_or(default.iops),
        burst: change.burst.unwrap_or(default.burst),
        weight: change.weight.unwrap_or(default.weight),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::read;
    use super::*;
    use rdmafs_fs::options::{CacheMode, Crypt};
    use std::path::Path;

    fn meaning(list: &str) -> Result<Meaning, OptionError> {
        resolve(&"node1:/pool".parse().unwrap(), &read(&[list], false).unwrap())
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let meaning = meaning("").unwrap();
        assert_eq!(meaning.options.key, Path::new("/etc/rdmafs/pool.key"));
        assert_eq!(
            (meaning.options.fabric, meaning.options.crypt),
            (None, Crypt::Auto)
        );
        assert_eq!(
            (meaning.options.timeout_ms, meaning.options.cache),
            (5_000, CacheMode::Auto)
        );
        assert_eq!(
            (meaning.options.share, meaning.options.read_only),
            (Share::default(), false)
        );
        assert_eq!(meaning.flags, KernelFlags::default());
    }

    #[test]
    fn ro_reaches_both_halves() {
        let meaning = meaning("ro").unwrap();
        assert!(meaning.options.read_only && meaning.flags.read_only);
    }

    #[test]
    fn access_times_are_what_the_kernel_makes_of_the_words() {
        use AccessTime::{Never, Relative, Strict};
        for (list, files, directories) in [
            ("", Relative, Relative),
            ("relatime", Relative, Relative),
            ("noatime", Never, Never),
            ("nodiratime", Relative, Never),
            ("strictatime", Strict, Strict),
            ("strictatime,nodiratime", Strict, Never),
            ("noatime,strictatime", Strict, Strict),
            ("noatime,atime", Relative, Relative),
        ] {
            let times = meaning(list).unwrap().options.access_times;
            assert_eq!(times, AccessTimes { files, directories }, "{list}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(
            meaning("burst=1M")
                .unwrap_err()
                .to_string()
                .starts_with("burst= needs bw=")
        );
        assert!(meaning("burst=1M,bw=10M").is_ok());
        #[cfg(feature = "verbs")]
        {
            let line = meaning("fabric=tcp,device=mlx5_0").unwrap_err().to_string();
            assert!(
                line.contains("are for verbs, and fabric=tcp was asked for"),
                "{line}"
            );
            assert!(meaning("fabric=verbs,device=mlx5_0").is_ok());
            assert!(meaning("device=mlx5_0").is_ok(), "auto may choose verbs");
        }
        assert!(
            meaning("fabric=shm,crypt=on").is_ok(),
            "shm has no wire: there is nothing to encrypt"
        );
    }
}
