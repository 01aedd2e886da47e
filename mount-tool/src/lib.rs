//! The `rdmafs` command line. A library, so that the program is nothing but glue and the fuzzer reaches the words.
//!
//! Modules stand bottom-up: each imports only what stands above it.
#![forbid(unsafe_code)]

mod failure;
mod output;
mod settings;
mod units;
mod value_error;

mod mounts;
mod mount8;
mod options;

mod control;
mod fabrics;
mod nodes;

mod completions;
mod drain;
mod handler;
mod layout;
mod manual;
mod man;
mod qos;
mod remount;
mod mount;
mod serve;
mod fsck;
mod status;
mod stop;
mod umount;
mod mounter;
mod privileges;
mod version;

mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

/// Runs `rdmafs`, or `mount.rdmafs` when the first argument calls it so. Blocking. A failure is one line on standard error.
#[must_use]
pub fn main(arguments: Vec<std::ffi::OsString>) -> std::process::ExitCode {
    cli::main(arguments)
}
