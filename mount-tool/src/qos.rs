//! `rdmafs qos`: shows or changes a live mount's share.

use crate::control::{Refusal, ask, unexpected};
use crate::failure::Failure;
use crate::options::OptionError;
use crate::units::{show_rate, show_size};
use crate::{mounts, options, output};
use rdmafs_fs::control::{ControlReply, ControlRequest, ShareChange};
use rdmafs_fs::options::Share;
use std::path::{Path, PathBuf};
use thiserror::Error;

const EXAMPLES: &str = "\
Keys: bw=RATE iops=NUMBER burst=SIZE weight=1..10000; 0 means no limit.
Reads and writes that the page cache serves are free.

Examples:
  rdmafs qos /mnt/far                      show the share
  rdmafs qos /mnt/far bw=200M weight=50    change it, at once
  rdmafs qos /mnt/far bw=0                 no limit any more";

/// Show or change a live mount's share of the links
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The mount's directory
    dir: PathBuf,
    /// What to change
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
}

/// Does it. Blocking, briefly.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let wanted = parse(&args.changes).map_err(Failure::usage)?;
    let mounted = mounts::find(&args.dir).map_err(Failure::usage)?;
    let share = change(&mounted.dir, wanted).map_err(Failure::system)?;
    output::print(&show(&share))
}

/// Asks the handler for the change (none: for the share as it is).
pub(crate) fn change(dir: &Path, change: ShareChange) -> Result<Share, Refusal> {
    match ask(
        &ControlRequest::Qos {
            dir: dir.to_owned(),
            change,
        },
        None,
    )? {
        ControlReply::Share(share) => Ok(share),
        other => Err(Refusal::Said(unexpected(&other))),
    }
}

/// `bw=200.0 MiB/s iops=- burst=- weight=100`.
pub(crate) fn show(share: &Share) -> String {
    let iops = if share.iops == 0 {
        "-".to_owned()
    } else {
        share.iops.to_string()
    };
    let burst = if share.burst == 0 {
        "-".to_owned()
    } else {
        show_size(share.burst)
    };
    format!(
        "bw={} iops={iops} burst={burst} weight={}",
        show_rate(share.bw),
        share.weight
    )
}

/// Words that change no share, or not to what is said.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ShareError {
    #[error("'{0}' is no share: use bw=, iops=, burst= or weight=, separated by blanks")]
    NoShare(String),
    /// Here a share is no mount option, whatever the error says.
    #[error("{}", .0.to_string().replacen("mount option ", "", 1))]
    Value(#[from] OptionError),
}

/// The words are those of mount options; only a share's are meant here.
pub(crate) fn parse(changes: &[String]) -> Result<ShareChange, ShareError> {
    for change in changes {
        let name = change.split('=').next().unwrap_or(change);
        if !["bw", "iops", "burst", "weight"].contains(&name) || change.contains(',') {
            return Err(ShareError::NoShare(change.clone()));
        }
    }
    Ok(options::read(changes, false)?.share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<ShareChange, String> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(str::to_owned).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn changes_are_read_as_mount_options_are() {
        let change = words("bw=200M weight=50").unwrap();
        assert_eq!(
            change,
            ShareChange {
                bw: Some(200 << 20),
                weight: Some(50),
                ..ShareChange::default()
            }
        );
        assert_eq!(words("").unwrap(), ShareChange::default());
        assert_eq!(words("bw=0").unwrap().bw, Some(0));
    }

    #[test]
    fn other_words_are_refused() {
        assert!(
            words("cache=none")
                .unwrap_err()
                .starts_with("'cache=none' is no share: use bw=")
        );
        assert!(words("bw=1M,iops=2").unwrap_err().contains("separated by blanks"));
        assert_eq!(
            words("weight=0").unwrap_err(),
            "weight=0: out of range: use 1 to 10000"
        );
        assert!(
            words("bw")
                .unwrap_err()
                .starts_with("'bw' needs a value: bw=RATE")
        );
    }

    #[test]
    fn shares_are_shown_with_units() {
        assert_eq!(show(&Share::default()), "bw=- iops=- burst=- weight=100");
        let share = Share {
            bw: 200 << 20,
            iops: 5,
            burst: 1 << 20,
            weight: 7,
        };
        assert_eq!(show(&share), "bw=200.0 MiB/s iops=5 burst=1.0 MiB weight=7");
    }

    #[test]
    fn a_directory_that_is_no_mount_is_named() {
        let failure = run(Args {
            dir: PathBuf::from("/proc"),
            changes: Vec::new(),
        })
        .unwrap_err();
        assert_eq!(failure.to_string(), "/proc is a proc mount, not one of rdmafs");
    }
}
