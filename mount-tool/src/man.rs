//! `rdmafs man DIR` (hidden): writes the manual pages, from the same source as `--help`. `scripts/install` calls it.

use crate::cli::{Cli, Helper};
use crate::failure::Failure;
use clap::CommandFactory;
use clap_mangen::Man;
use std::path::{Path, PathBuf};

/// Write the manual pages
#[derive(clap::Args)]
pub(crate) struct Args {
    /// An existing directory
    dir: PathBuf,
}

/// Writes `rdmafs.8`, `rdmafs-SUBCOMMAND.8` and `mount.rdmafs.8`.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let whole = Cli::command();
    for sub in whole.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("rdmafs-{}", sub.get_name());
        let shown = format!("rdmafs {}", sub.get_name());
        write(&args.dir, &name, sub.clone().bin_name(shown).display_name(&name))?;
    }
    write(&args.dir, "rdmafs", whole)?;
    write(&args.dir, "mount.rdmafs", Helper::command())
}

fn write(dir: &Path, name: &str, command: clap::Command) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.8"));
    let mut page = Vec::new();
    Man::new(command)
        .title(name.to_uppercase())
        .section("8")
        .render(&mut page)
        .and_then(|()| std::fs::write(&path, page))
        .map_err(|error| Failure::system(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        run(Args {
            dir: dir.path().to_owned(),
        })
        .unwrap();
        for name in [
            "rdmafs",
            "rdmafs-serve",
            "rdmafs-mount",
            "rdmafs-qos",
            "rdmafs-fsck",
            "mount.rdmafs",
        ] {
            let page = std::fs::read_to_string(dir.path().join(format!("{name}.8"))).unwrap();
            assert!(page.contains(".TH") && page.contains("NAME"), "{name}");
        }
        let page = std::fs::read_to_string(dir.path().join("mount.rdmafs.8")).unwrap();
        assert!(page.contains("timeout=TIME"), "the options are in the page");
        assert!(!dir.path().join("rdmafs-man.8").exists());
        let failure = run(Args {
            dir: dir.path().join("no"),
        })
        .unwrap_err();
        assert!(failure.to_string().starts_with("cannot write "), "{failure}");
    }
}
