//! `rdmafs layout`: where a file's bytes are. Works without root: the request goes through the mount.

use crate::failure::Failure;
use crate::mounts;
use crate::output::{self, columns};
use crate::units::show_size;
use rdmafs_fs::shown::shown;

use rdmafs_fs::layout_ioctl::{Located, query};
use rdmafs_fs::options::{NodeAddress, Source};
use serde::Serialize;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
What no run covers is a hole: it takes no memory and reads as zeros.

Example:
  rdmafs layout /mnt/far/file";

/// Show where a file's bytes are
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file on a mount
    path: PathBuf,
    /// A JSON list instead of a table
    #[arg(long)]
    json: bool,
}

/// `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Layout {
    /// Of the file, in bytes.
    size: u64,
    runs: Vec<Run>,
}

/// A part of the file that lies in one piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Run {
    /// In the file, in bytes.
    offset: u64,
    length: u64,
    /// As the mount names it; its number in the pool where that is not to be seen.
    node: String,
    /// Of the node's memory; another one after each of its starts.
    incarnation: u64,
    /// In that memory, in bytes.
    arena_offset: u64,
    /// `valid`, or `lost`.
    state: String,
}

impl Run {
    fn new(located: Located, source: Option<&Source>) -> Self {
        let number = located.extent.node.0;
        let address = source.and_then(|source| source.nodes.get(usize::from(number).checked_sub(1)?));
        Self {
            offset: located.start,
            length: located.extent.len,
            node: address.map_or_else(|| number.to_string(), NodeAddress::to_string),
            incarnation: located.extent.incarnation.0,
            arena_offset: located.extent.offset,
            state: format!("{:?}", located.state).to_lowercase(),
        }
    }
}

/// Prints it. Blocking, while the node is asked.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let layout = ask(&args.path).map_err(|error| explain(&args.path, &error))?;
    if args.json {
        return output::print(&output::json("the layout", &layout)?);
    }
    output::print(&table(&layout))
}

fn ask(path: &Path) -> io::Result<Layout> {
    // Not blocking: a FIFO of that name has no layout, and nobody may ever write to it.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)?;
    let (size, runs) = query(&file)?;
    let source = mounts::source_of(file.metadata()?.dev()).and_then(|source| source.parse().ok());
    Ok(Layout {
        size,
        runs: runs
            .into_iter()
            .map(|run| Run::new(run, source.as_ref()))
            .collect(),
    })
}

fn table(layout: &Layout) -> String {
    if layout.runs.is_empty() {
        return format!(
            "{} bytes, all of them a hole: the file takes no memory",
            layout.size
        );
    }
    let cells = layout.runs.iter().map(|run| {
        vec![
            run.offset.to_string(),
            show_size(run.length),
            run.node.clone(),
            run.arena_offset.to_string(),
            format!("{:016x}", run.incarnation),
            run.state.clone(),
        ]
    });
    columns(
        &["OFFSET", "LENGTH", "NODE", "AT", "INCARNATION", "STATE"],
        cells.collect(),
    )
}

fn explain(path: &Path, error: &io::Error) -> Failure {
    let name = shown(&path);
    match error.raw_os_error() {
        Some(nix::libc::ENOTTY | nix::libc::EOPNOTSUPP | nix::libc::EINVAL) => Failure::usage(format!(
            "{name} is not a file on an rdmafs mount: 'rdmafs status' lists the mounts"
        )),
        Some(nix::libc::ENOENT | nix::libc::EACCES) => Failure::usage(format!("cannot open {name}: {error}")),
        _ => Failure::system(format!("cannot ask where the bytes of {name} are: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    fn example() -> Layout {
        let run = Run {
            offset: 4096,
            length: 8192,
            node: "node1".to_owned(),
            incarnation: 0xab,
            arena_offset: 1 << 20,
            state: "valid".to_owned(),
        };
        Layout {
            size: 12_288,
            runs: vec![run],
        }
    }

    #[test]
    fn runs_are_a_table() {
        let text = table(&example());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "OFFSET  LENGTH   NODE   AT       INCARNATION       STATE"
        );
        assert_eq!(
            lines[1],
            "4096    8.0 KiB  node1  1048576  00000000000000ab  valid"
        );
        let hole = Layout {
            size: 5,
            runs: Vec::new(),
        };
        assert!(table(&hole).starts_with("5 bytes, all of them a hole"));
    }

    #[test]
    fn json_keeps_the_numbers() {
        let text = serde_json::to_string(&example()).unwrap();
        let run = r#"{"offset":4096,"length":8192,"node":"node1","incarnation":171,"arena_offset":1048576,"state":"valid"}"#;
        assert_eq!(text, format!(r#"{{"size":12288,"runs":[{run}]}}"#));
    }

    #[test]
    fn what_has_no_layout_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = run(Args {
            path: file.path().to_owned(),
            json: false,
        })
        .unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(
            failure.to_string().contains("is not a file on an rdmafs mount"),
            "{failure}"
        );
        let failure = run(Args {
            path: PathBuf::from("/no/file"),
            json: false,
        })
        .unwrap_err();
        assert!(
            failure.to_string().starts_with("cannot open /no/file: "),
            "{failure}"
        );
    }
}
