//! `rdmafs fsck`: finds what is wrong with a pool's namespace, in use or at rest, and repairs it at rest.
//!
//! Exit codes are those of fsck(8), because scripts know them; so wrong words are 16 here and not 1.

use crate::failure::{Code, Failure};
use crate::options::default_key;
use crate::output::{self, Progress};
use crate::serve::parse_memory;
use crate::settings::run_dir;
use crate::units::{self, parse_time, show_size};
use rdmafs_fs::fsck::{Asking, Examination, Lost, LostFile, Outcome, Problem, ask, resize, state_dir};
use rdmafs_fs::options::Source;
use rdmafs_fs::shown::shown;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time limit of each step of the set-up with a node.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer that takes longer is worth a word to whoever waits.
const SOON: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  rdmafs fsck 10.0.0.1:/pool                           a pool in use; nothing is changed
  rdmafs stop; rdmafs fsck --state /var/lib/rdmafs    what a node keeps, while it does not run
  rdmafs fsck --state /var/lib/rdmafs --repair         put right what is wrong
  rdmafs fsck --state /var/lib/rdmafs --memory 8G      resize the pool: 8 GiB from its next start

Each problem is a line: its kind, the inode and a path to it, what is wrong, and what a repair does
about it. The last line counts. What has lost its name is put into /lost+found as #INODE.

A pool in use is examined by its node, which serves nobody else meanwhile: about 0.2 s for 100,000
inodes. It is not repaired: end its node and repair its state directory. Bytes of files have no
checksums and are not looked at. There are no quotas in this version.

What files lost with the memory that held it (a node that ended, or was restarted) is listed as
'lost', the first 40 files of it, and counted. That is no damage, no repair brings it back, and it
does not change the exit code: restore the files, or remove them.

Exit codes are those of fsck(8): 0 nothing is wrong, 1 all problems were repaired, 4 problems are
left, 8 it cannot be examined, 16 wrong words or not root.";

/// Find what is wrong with a pool's namespace, and repair it
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A pool in use, as it is mounted: NODE:/POOL or NODE:PORT:/POOL
    #[arg(value_name = "POOL", conflicts_with = "state")]
    pool: Option<String>,
    /// The state directory of a node that does not run
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Repair what is wrong (only with --state)
    #[arg(long)]
    repair: bool,
    /// When nothing is wrong: let the pool have this size from its next start on
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, conflicts_with = "pool")]
    memory: Option<u64>,
    /// Key file of a pool in use [default: /etc/rdmafs/POOL.key]
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    key: Option<PathBuf>,
    /// How long to wait for the node of a pool in use
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_time, conflicts_with = "state")]
    timeout: Duration,
    /// JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// `--json`.
#[derive(Serialize)]
struct Report<'a> {
    examined: &'a str,
    inodes: u64,
    entries: u64,
    /// That files have in memory.
    bytes: u64,
    /// What files have lost with the memory that held it.
    lost: LostReport<'a>,
    /// The problems that were found, a line for each.
    problems: Vec<Line<'a>>,
    /// A repair was done.
    repaired: bool,
    /// How many problems there are now.
    left: u64,
}

#[derive(Serialize)]
struct LostReport<'a> {
    files: u64,
    bytes: u64,
    /// The first of them.
    listed: Vec<LostLine<'a>>,
}

#[derive(Serialize)]
struct LostLine<'a> {
    inode: u64,
    path: Option<&'a str>,
    bytes: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    inode: Option<u64>,
    path: Option<&'a str>,
    what: &'a str,
    /// What a repair does.
    repair: &'a str,
}

/// Examines, and repairs if asked to. Blocking, in proportion to the pool.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match (&args.state, &args.pool) {
        (Some(dir), _) => at_rest(dir, &args),
        (None, Some(pool)) => in_use(pool, &args),
        (None, None) => Err(Failure::fsck(
            Code::FsckUsage,
            "say what to examine: a pool in use, NODE:/POOL, or a state directory, --state DIR (see 'rdmafs fsck --help')",
        )),
    }
}

fn at_rest(dir: &Path, args: &Args) -> Result<(), Failure> {
    let mut line = Progress::new();
    let outcome = state_dir(dir, args.repair, |doing| {
        line.show(&format!("{}: {doing}", shown(&dir)));
    });
    drop(line);
    let outcome = outcome.map_err(|error| Failure::fsck(Code::FsckFailed, error))?;
    let name = shown(&dir).to_string();
    show(&name, &outcome, args.json)?;
    if let Some(memory) = args.memory.filter(|_| left(&outcome) == 0) {
        resize(dir, memory).map_err(|error| Failure::fsck(Code::FsckFailed, error))?;
    }
    let remedy = format!("'rdmafs fsck --state {name} --repair' repairs what can be");
    end(&outcome, &remedy)
}

fn in_use(pool: &str, args: &Args) -> Result<(), Failure> {
    let usage = |line: String| Failure::fsck(Code::FsckUsage, line);
    let source: Source = pool.parse().map_err(|error| usage(format!("{error}")))?;
    if source.nodes.len() != 1 {
        return Err(usage(format!(
            "{source} names {} nodes: a pool has one memory node in this version, name that one",
            source.nodes.len()
        )));
    }
    if !source.directory.is_empty() {
        return Err(usage(format!(
            "{source} names a directory of a pool: a pool is examined as a whole, write NODE:/POOL"
        )));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(usage(format!(
            "cannot examine {source}: only root may (try sudo)"
        )));
    }
    let asking = Asking {
        key: args.key.clone().unwrap_or_else(|| default_key(&source.pool)),
        source,
        run_dir: run_dir(),
        step_timeout: STEP_TIMEOUT,
        timeout: args.timeout,
    };
    let mut line = Progress::new();
    let found = ask(&asking, |waited| {
        if waited >= SOON {
            line.show(&format!("{pool}: examining, {} s", waited.as_secs()));
        }
    });
    drop(line);
    let found = found.map_err(|error| Failure::fsck(Code::FsckFailed, error))?;
    let outcome = Outcome { found, left: None };
    show(pool, &outcome, args.json)?;
    end(&outcome, live_remedy(args.repair))
}

fn live_remedy(repair: bool) -> &'static str {
    if repair {
        "a pool in use is not repaired: end its node (rdmafs stop), then rdmafs fsck --state DIR --repair"
    } else {
        "end its node (rdmafs stop), then rdmafs fsck --state DIR --repair"
    }
}

/// Problems and counts, on standard output.
fn show(name: &str, outcome: &Outcome, json: bool) -> Result<(), Failure> {
    let text = if json {
        let json = output::json("the problems", &report(name, outcome));
        json.map_err(|error| Failure::fsck(Code::FsckFailed, error))?
    } else {
        text(name, outcome)
    };
    output::print(&text)
}

fn text(name: &str, outcome: &Outcome) -> String {
    let Examination {
        inodes,
        entries,
        bytes,
        wrong,
        ref lost,
        ..
    } = outcome.found;
    let mut lines: Vec<String> = outcome.found.problems.iter().map(line).collect();
    for problem in outcome.left.iter().flat_map(|left| &left.problems) {
        lines.push(format!("left: {}", line(problem)));
    }
    lines.extend(lost_lines(lost));
    let verdict = match (wrong, &outcome.left) {
        (0, _) if lost.files > 0 => "no damage".to_owned(),
        (0, _) => "clean".to_owned(),
        (_, None) => format!("{}, nothing was changed", count(wrong)),
        (_, Some(left)) => format!("{}, {} left after the repair", count(wrong), left.wrong),
    };
    let bytes = show_size(bytes.saturating_sub(lost.bytes));
    let lost = match lost.files {
        0 => String::new(),
        files => format!(
            ", {} lost in {}",
            show_size(lost.bytes),
            units::count(files, "file")
        ),
    };
    lines.push(format!(
        "{name}: {inodes} inodes, {entries} entries, {bytes} in memory{lost}: {verdict}"
    ));
    let lines = lines.iter().map(|line| shown(line).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

fn line(problem: &Problem) -> String {
    format!("{problem}; repair: {}", problem.remedy)
}

fn count(problems: u64) -> String {
    units::count(problems, "problem")
}

/// A line for each file that is listed, and one for the others.
fn lost_lines(lost: &Lost) -> Vec<String> {
    let line = |file: &LostFile| {
        let path = file.path.as_deref().unwrap_or("no name");
        let bytes = show_size(file.bytes);
        format!("lost: inode {} ({path}): {bytes}", file.inode)
    };
    let mut lines: Vec<String> = lost.listed.iter().map(line).collect();
    let more = lost.files.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("lost: and {}", units::count(more, "more file")));
    }
    lines
}

fn report<'a>(name: &'a str, outcome: &'a Outcome) -> Report<'a> {
    let found = &outcome.found;
    let line = |problem: &'a Problem| Line {
        kind: problem.kind.word(),
        inode: problem.inode.map(|inode| inode.0),
        path: problem.path.as_deref(),
        what: &problem.what,
        repair: &problem.remedy,
    };
    Report {
        examined: name,
        inodes: found.inodes,
        entries: found.entries,
        bytes: found.bytes.saturating_sub(found.lost.bytes),
        lost: LostReport {
            files: found.lost.files,
            bytes: found.lost.bytes,
            listed: found.lost.listed.iter().map(lost_file).collect(),
        },
        problems: found.problems.iter().map(line).collect(),
        repaired: outcome.left.is_some(),
        left: left(outcome),
    }
}

fn lost_file(file: &LostFile) -> LostLine<'_> {
    LostLine {
        inode: file.inode.0,
        path: file.path.as_deref(),
        bytes: file.bytes,
    }
}

fn left(outcome: &Outcome) -> u64 {
    outcome.left.as_ref().unwrap_or(&outcome.found).wrong
}

/// How it ends: the exit code, and a line where it is not 0.
fn end(outcome: &Outcome, remedy: &str) -> Result<(), Failure> {
    match (outcome.found.wrong, left(outcome)) {
        (0, _) => Ok(()),
        (wrong, 0) => Err(Failure::fsck(
            Code::FsckRepaired,
            format!("{} repaired", count(wrong)),
        )),
        (_, left) => Err(Failure::fsck(
            Code::FsckLeft,
            format!("{} left: {remedy}", count(left)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rdmafs_fs::fsck::{InodeId, ProblemKind};

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        args: Args,
    }

    fn said(words: &[&str]) -> Result<Args, clap::Error> {
        Ok(Wrapper::try_parse_from(["fsck"].iter().chain(words))?.args)
    }

    fn outcome(left: Option<u64>) -> Outcome {
        let problem = Problem {
            kind: ProblemKind::WrongLinks,
            inode: None,
            path: Some("/a".into()),
            what: "its link count is 2 and should be 1".into(),
            remedy: "say 1".into(),
        };
        let found = Examination {
            inodes: 3,
            entries: 2,
            bytes: 4096,
            wrong: 1,
            problems: vec![problem.clone()],
            lost: Lost::default(),
        };
        let left = left.map(|wrong| Examination {
            wrong,
            problems: vec![problem; usize::from(wrong > 0)],
            ..found.clone()
        });
        Outcome { found, left }
    }

    fn code(outcome: &Outcome) -> u8 {
        end(outcome, "").err().map_or(0, |failure| failure.code.number())
    }

    #[test]
    fn one_pool_or_one_directory() {
        assert!(said(&["a:/p", "--state", "d"]).is_err());
        let nothing = run(said(&[]).unwrap()).unwrap_err();
        assert!(nothing.to_string().contains("--state DIR") && nothing.code == Code::FsckUsage);
        assert!(said(&["--state", "d", "--key", "k"]).is_err() && said(&["a:/p", "--memory", "1G"]).is_err());
        let args = said(&["a:/p", "--key", "k", "--repair"]).unwrap();
        assert!(args.repair && args.timeout == Duration::from_secs(600));
        let args = said(&["--state", "d", "--memory", "1G"]).unwrap();
        assert_eq!(args.memory, Some(1 << 30));
        for (pool, word) in [("nonsense", "names no pool"), ("a,b:/p", "names 2 nodes")] {
            let failure = run(said(&[pool]).unwrap()).unwrap_err();
            assert!(failure.to_string().contains(word), "{failure}");
            assert_eq!(failure.code, Code::FsckUsage);
        }
    }

    #[test]
    fn problems_are_lines_and_the_last_one_counts() {
        let line = "wrong-links (/a): its link count is 2 and should be 1; repair: say 1";
        let clean = Outcome {
            found: Examination::default(),
            left: None,
        };
        assert_eq!(text("p", &clean), "p: 0 inodes, 0 entries, 0 B in memory: clean");
        let counts = "p: 3 inodes, 2 entries, 4.0 KiB in memory: 1 problem";
        assert_eq!(
            text("p", &outcome(None)),
            format!("{line}\n{counts}, nothing was changed")
        );
        assert_eq!(
            text("p", &outcome(Some(0))),
            format!("{line}\n{counts}, 0 left after the repair")
        );
        assert_eq!(
            text("p", &outcome(Some(1))),
            format!("{line}\nleft: {line}\n{counts}, 1 left after the repair")
        );
    }

    #[test]
    fn what_is_lost_is_listed_and_counted_and_is_no_damage() {
        let file = |inode, path: Option<&str>| LostFile {
            inode: InodeId(inode),
            path: path.map(str::to_owned),
            bytes: 4096,
        };
        let found = Examination {
            inodes: 5,
            entries: 4,
            bytes: 20_480,
            lost: Lost {
                files: 4,
                bytes: 16_384,
                listed: vec![file(7, Some("/a")), file(8, None)],
            },
            ..Examination::default()
        };
        let outcome = Outcome { found, left: None };
        let lines = "lost: inode 7 (/a): 4.0 KiB\nlost: inode 8 (no name): 4.0 KiB\nlost: and 2 more files";
        let last = "p: 5 inodes, 4 entries, 4.0 KiB in memory, 16.0 KiB lost in 4 files: no damage";
        assert_eq!(text("p", &outcome), format!("{lines}\n{last}"));
        assert_eq!(code(&outcome), 0);
        let json = serde_json::to_string(&report("p", &outcome)).unwrap();
        let lost = r#""bytes":4096,"lost":{"files":4,"bytes":16384,"listed":[{"inode":7,"path":"/a","bytes":4096},{"inode":8,"path":null,"bytes":4096}]}"#;
        assert!(json.contains(lost), "{json}");
    }

    #[test]
    fn json_has_the_same_and_what_is_left() {
        let json = |outcome: &Outcome| serde_json::to_string(&report("p", outcome)).unwrap();
        let problem = r#"{"kind":"wrong-links","inode":null,"path":"/a","what":"its link count is 2 and should be 1","repair":"say 1"}"#;
        let head =
            r#"{"examined":"p","inodes":3,"entries":2,"bytes":4096,"lost":{"files":0,"bytes":0,"listed":[]}"#;
        let wanted = |repaired, left| {
            format!(r#"{head},"problems":[{problem}],"repaired":{repaired},"left":{left}}}"#)
        };
        assert_eq!(json(&outcome(None)), wanted(false, 1));
        assert_eq!(json(&outcome(Some(0))), wanted(true, 0));
    }

    #[test]
    fn the_end_is_that_of_fsck_8() {
        let clean = Outcome {
            found: Examination::default(),
            left: None,
        };
        assert_eq!([&clean, &outcome(Some(0))].map(code), [0, 1]);
        assert_eq!([&outcome(None), &outcome(Some(1))].map(code), [4, 4]);
        let line = end(&outcome(None), live_remedy(true)).unwrap_err().to_string();
        assert_eq!(
            line,
            "1 problem left: a pool in use is not repaired: end its node (rdmafs stop), then rdmafs fsck --state DIR --repair"
        );
    }
}
