//! The words of the command line: which subcommand, and how its end is told.

use crate::failure::{Code, Failure};
use crate::{
    completions, drain, fsck, handler, layout, man, mount, mounter, privileges, qos, serve, status, stop,
    umount, version,
};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Try it on one machine (as root):
  rdmafs serve --pool pool --memory 1G
  rdmafs mount 127.0.0.1:/pool /mnt
  cp -r /usr/share/doc /mnt; rdmafs status
  rdmafs umount /mnt
  rdmafs stop --yes

'rdmafs help COMMAND' says more of each.
RDMAFS_RUN_DIR moves /run/rdmafs. RUST_LOG sets what the daemons log (default info).
Exit codes are those of mount(8): 0 done, 1 wrong words or not root, 2 system error, 32 mount failure; fsck has those of fsck(8).";

const NAMES: [&str; 12] = [
    "serve",
    "stop",
    "handler",
    "mount",
    "umount",
    "status",
    "qos",
    "layout",
    "drain",
    "fsck",
    "completions",
    "version",
];

/// A directory whose bytes lie in the memory of another process or host
#[derive(Parser)]
#[command(name = "rdmafs", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Stop(stop::Args),
    Handler(handler::Args),
    Mount(mount::Args),
    Umount(umount::Args),
    Status(status::Args),
    Qos(qos::Args),
    Layout(layout::Args),
    Drain(drain::Args),
    Fsck(fsck::Args),
    Completions(completions::Args),
    Version(version::Args),
    #[command(hide = true)]
    Man(man::Args),
    #[command(hide = true)]
    Mounter(mounter::Args),
    #[command(hide = true)]
    Privileges(privileges::Args),
}

/// Mount a pool on a directory, for mount(8)
#[derive(Parser)]
#[command(name = "mount.rdmafs", version)]
pub(crate) struct Helper {
    #[command(flatten)]
    pub(crate) mount: mount::Args,
}

/// Runs what the arguments say. A failure is one line on standard error.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let helper = is_helper(args.first());
    let (name, result) = if helper { run_helper(args) } else { run(args) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let space = if name.is_empty() { "" } else { " " };
            eprintln!("rdmafs{space}{name}: {failure}");
            ExitCode::from(failure.code.number())
        }
    }
}

/// mount(8) looks for `mount.TYPE`; the kernel calls our type `fuse.rdmafs`.
fn is_helper(name: Option<&OsString>) -> bool {
    let name = name
        .and_then(|name| Path::new(name).file_name())
        .and_then(|name| name.to_str());
    matches!(name, Some("mount.rdmafs" | "mount.fuse.rdmafs"))
}

fn run_helper(args: Vec<OsString>) -> (&'static str, Result<(), Failure>) {
    let result = match Helper::try_parse_from(args) {
        Ok(helper) => mount::run(helper.mount, mount::Invoker::Mount8),
        Err(error) => explain(&error, "mount"),
    };
    ("mount", result)
}

fn run(args: Vec<OsString>) -> (&'static str, Result<(), Failure>) {
    let named = args.get(1).and_then(|name| name.to_str()).map_or("", subcommand);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return (named, explain(&error, named)),
    };
    let result = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Stop(args) => stop::run(args),
        Command::Handler(args) => handler::run(args),
        Command::Mount(args) => mount::run(args, mount::Invoker::Person),
        Command::Umount(args) => umount::run(args),
        Command::Status(args) => status::run(args),
        Command::Qos(args) => qos::run(args),
        Command::Layout(args) => layout::run(args),
        Command::Drain(args) => drain::run(args),
        Command::Fsck(args) => fsck::run(args),
        Command::Completions(args) => completions::run(args, Cli::command()),
        Command::Version(args) => version::run(args, &Cli::command()),
        Command::Mounter(args) => mounter::run(args),
        Command::Privileges(args) => privileges::run(args),
        Command::Man(args) => man::run(args, Cli::command(), Helper::command()),
    };
    (named, result)
}

fn subcommand(name: &str) -> &'static str {
    NAMES
        .into_iter()
        .chain(["man", "mounter", "privileges"])
        .find(|known| *known == name)
        .unwrap_or("")
}

/// Prints help where help was asked for; makes one line of anything else that clap has to say.
pub(crate) fn explain(error: &clap::Error, name: &str) -> Result<(), Failure> {
    if !error.use_stderr() {
        return error
            .print()
            .map_err(|error| Failure::system(format!("cannot print the help: {error}")));
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure::usage(format!(
            "say what to do: {} (see 'rdmafs --help')",
            NAMES.join(", ")
        )));
    }
    let text = error.to_string();
    let said = text.split("\n\nUsage:").next().unwrap_or(&text);
    let said = said.split("\n\nFor more information").next().unwrap_or(said);
    let said = said
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let space = if name.is_empty() { "" } else { " " };
    let line = format!("{said} (see 'rdmafs{space}{name} --help')");
    // 1 is good news from fsck(8).
    match name {
        "fsck" => Err(Failure::fsck(Code::FsckUsage, line)),
        _ => Err(Failure::usage(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> String {
        let args = args.iter().map(OsString::from).collect();
        let (name, result) = run(args);
        let failure = result.unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        format!("rdmafs {name}: {failure}")
    }

    #[test]
    fn the_definitions_agree() {
        let visible = Cli::command();
        let visible = visible
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set())
            .map(|sub| sub.get_name());
        assert!(visible.eq(NAMES));
        Cli::command().debug_assert();
        Helper::command().debug_assert();
    }

    #[test]
    fn mount_8_knows_us_by_two_names() {
        for (name, helper) in [
            ("/sbin/mount.rdmafs", true),
            ("mount.fuse.rdmafs", true),
            ("/usr/local/bin/rdmafs", false),
            ("/proc/self/exe", false),
        ] {
            assert_eq!(is_helper(Some(&name.into())), helper, "{name}");
        }
        assert!(!is_helper(None));
    }

    #[test]
    fn wrong_words_are_one_line_that_names_them_and_the_help() {
        let line = refused(&["rdmafs", "mount"]);
        assert!(
            line.contains("<SOURCE>") && line.ends_with("(see 'rdmafs mount --help')"),
            "{line}"
        );
        let line = refused(&["rdmafs", "mout", "a:/b", "/c"]);
        assert!(line.contains("'mout'") && line.contains("'mount'"), "{line}");
        let line = refused(&["rdmafs", "serve", "--pool", "p", "--memory", "4X"]);
        assert!(
            line.contains("'4X' is no size: use a number with K, M, G or T"),
            "{line}"
        );
        let line = refused(&["rdmafs", "serve", "--memory", "4G", "--pol", "p"]);
        assert!(line.contains("'--pol'") && line.contains("'--pool'"), "{line}");
        let line = refused(&["rdmafs"]);
        assert_eq!(
            line,
            "rdmafs : say what to do: serve, stop, handler, mount, umount, status, qos, layout, drain, fsck, completions, version (see 'rdmafs --help')"
        );
        let line = refused(&["rdmafs", "status", "--jsn"]);
        assert!(!line.contains('\n') && line.contains("'--json'"), "{line}");
    }

    fn shown(args: &[&str]) -> String {
        let args = args.iter().map(OsString::from);
        let Err(error) = Cli::try_parse_from(args) else {
            panic!("it is run");
        };
        assert!(!error.use_stderr(), "{error}");
        error.to_string()
    }

    #[test]
    fn help_is_there_as_a_word_too() {
        assert_eq!(
            shown(&["rdmafs", "help", "stop"]),
            shown(&["rdmafs", "stop", "--help"])
        );
        assert_eq!(shown(&["rdmafs", "help"]), shown(&["rdmafs", "--help"]));
        let line = refused(&["rdmafs", "help", "mout"]);
        assert!(line.contains("'mout'"), "{line}");
    }

    #[test]
    fn a_drain_names_stop_whatever_is_said() {
        for args in [&["rdmafs", "drain"][..], &["rdmafs", "drain", "7471", "--force"]] {
            assert!(refused(args).contains("'rdmafs stop'"));
        }
    }

    #[test]
    fn a_state_directory_needs_a_whole_path_and_new_needs_one() {
        let serve = ["rdmafs", "serve", "--pool", "p", "--memory", "1G"];
        let line = refused(&[&serve[..], &["--state", "s"]].concat());
        assert!(line.contains("'s'") && line.contains("did you mean /"), "{line}");
        let line = refused(&[&serve[..], &["--new"]].concat());
        assert!(line.contains("--state"), "{line}");
        let line = refused(&["rdmafs", "serve", "--pool", "p", "--memory", "4"]);
        assert!(line.contains("use at least 1M (did you mean 4G?)"), "{line}");
    }

    #[test]
    fn what_is_not_in_this_version_is_not_there() {
        for word in ["key", "revoke", "doctor", "bench"] {
            assert!(refused(&["rdmafs", word]).contains(&format!("'{word}'")));
        }
    }

    fn write_pages(dir: &Path) -> Result<(), Failure> {
        let args = ["rdmafs".into(), "man".into(), dir.as_os_str().to_owned()];
        run(args.to_vec()).1
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        write_pages(dir.path()).unwrap();
        for name in [
            "rdmafs",
            "rdmafs-serve",
            "rdmafs-stop",
            "rdmafs-mount",
            "rdmafs-qos",
            "rdmafs-fsck",
            "mount.rdmafs",
        ] {
            let page = std::fs::read_to_string(dir.path().join(format!("{name}.8"))).unwrap();
            assert!(page.contains(".TH") && page.contains("NAME"), "{name}");
            for section in ["EXIT STATUS", "FILES", "SEE ALSO"] {
                assert_eq!(page.matches(&format!(".SH \"{section}\"")).count(), 1, "{name}");
            }
        }
        let page = std::fs::read_to_string(dir.path().join("mount.rdmafs.8")).unwrap();
        assert!(page.contains("timeout=TIME"), "the options are in the page");
        for none in ["rdmafs-man.8", "rdmafs-help.8"] {
            assert!(!dir.path().join(none).exists(), "{none}");
        }
        let failure = write_pages(&dir.path().join("no")).unwrap_err();
        assert!(failure.to_string().starts_with("cannot write "), "{failure}");
    }
}
