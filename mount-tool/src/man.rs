//! `rdmafs man DIR` (hidden): writes the manual pages, from the same source as `--help`. `scripts/install` calls it.

use crate::failure::Failure;
use crate::manual::sections;
use clap::Command;
use clap_mangen::Man;
use rdmafs_fs::shown::shown;
use std::path::{Path, PathBuf};

/// Write the manual pages
#[derive(clap::Args)]
pub(crate) struct Args {
    /// An existing directory
    dir: PathBuf,
}

/// Writes `rdmafs.8`, `rdmafs-SUBCOMMAND.8` and `mount.rdmafs.8` from what the two programs understand.
pub(crate) fn run(args: Args, whole: Command, helper: Command) -> Result<(), Failure> {
    for sub in whole.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("rdmafs-{}", sub.get_name());
        let shown = format!("rdmafs {}", sub.get_name());
        write(&args.dir, &name, sub.clone().bin_name(shown).display_name(&name))?;
    }
    write(&args.dir, "rdmafs", whole)?;
    write(&args.dir, "mount.rdmafs", helper)
}

fn write(dir: &Path, name: &str, command: Command) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.8"));
    let mut page = Vec::new();
    // `help` is told in the page of the whole.
    let command = command.disable_help_subcommand(true);
    Man::new(command)
        .title(name.to_uppercase())
        .section("8")
        .render(&mut page)
        .and_then(|()| {
            page.extend_from_slice(sections(name).as_bytes());
            std::fs::write(&path, page)
        })
        .map_err(|error| Failure::system(format!("cannot write {}: {error}", shown(&path))))
}
