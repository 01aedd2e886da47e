//! `rdmafs`, and `mount.rdmafs` when mount(8) calls it by that name.
#![forbid(unsafe_code)]

mod failure;
mod output;
mod settings;
mod units;

mod mounts;
mod options;

mod control;
mod fabrics;

mod drain;
mod fsck;
mod handler;
mod layout;
mod man;
mod mount;
mod qos;
mod remount;
mod serve;
mod status;
mod umount;

mod cli;

fn main() -> std::process::ExitCode {
    cli::main(std::env::args_os().collect())
}
