//! What holds of any words that a person, an fstab or a mount table gives to the command line: one function per fuzz target,
//! which panics where it does not.

use crate::cli::{self, Cli, Helper};
use crate::failure::Failure;
use crate::units::{parse_rate, parse_size, parse_time, show_size};
use crate::{mount8, mounts, nodes, options, qos};
use clap::Parser;
use rdmafs_fs::options::Source;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A name, and what holds of any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of this crate.
pub const TARGETS: &[Target] = &[("words", words)];

/// Option lists, sizes, rates, times, mount tables, and whole command lines. The first byte chooses which.
fn words(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match choice {
        0 | 1 => option_list(&text, *choice == 1),
        2 => units(&text),
        3 => {
            let changes: Vec<String> = text.split(' ').map(str::to_owned).collect();
            one_line(qos::parse(&changes));
        }
        4 => {
            for mount in mounts::parse(rest) {
                assert!(!mount.options.is_empty());
            }
        }
        5 => command_line::<Cli>("rdmafs", rest),
        6 => command_line::<Helper>("mount.rdmafs", rest),
        7 => mount8::fuzz(rest),
        8 => nodes::fuzz(&text),
        _ => {}
    }
}

/// Whatever was said means something within its limits, or is refused in one line.
fn option_list(text: &str, sloppy: bool) {
    let Some(given) = one_line(options::read(&[text], sloppy)) else {
        return;
    };
    let source: Source = "node1:/pool".parse().expect("a source");
    let Some(meaning) = one_line(options::resolve(&source, &given)) else {
        return;
    };
    let options = meaning.options;
    assert!((100..=600_000).contains(&options.timeout_ms));
    assert!((1..=10_000).contains(&options.share.weight));
    assert!(options.share.bw == 0 || options.share.bw >= 4096);
    assert!(options.key.is_absolute());
    assert_eq!(options.read_only, meaning.flags.read_only);
}

fn units(text: &str) {
    if let Some(bytes) = one_line(parse_size(text)) {
        assert_eq!(parse_rate(text).ok(), Some(bytes));
        assert_eq!(parse_size(&bytes.to_string()).ok(), Some(bytes));
        // What is shown is at most what there is, and within a tenth of it.
        let shown = show_size(bytes);
        assert!(shown.len() <= 10 && shown.ends_with('B'), "{shown}");
    }
    one_line(parse_rate(text));
    one_line(parse_time(text));
}

/// Any arguments, parted by NUL: they are understood, or refused in one line.
fn command_line<C: Parser>(name: &str, bytes: &[u8]) {
    let words = bytes
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()));
    let arguments = std::iter::once(name.into()).chain(words);
    let refused = C::try_parse_from(arguments).err();
    if let Some(error) = refused.filter(clap::Error::use_stderr) {
        one_line(cli::explain(&error, "").map_err(|failure| failure.to_string()));
    }
}

/// What was understood; a refusal is shown as one line.
fn one_line<T>(result: Result<T, impl std::fmt::Display>) -> Option<T> {
    match result {
        Ok(understood) => Some(understood),
        Err(why) => {
            let line = Failure::usage(why).to_string();
            assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
            None
        }
    }
}

#[cfg(test)]
#[path = "../../tests/fuzz/src/replay.rs"]
mod replay;
