//! `rdmafs`, and `mount.rdmafs` when mount(8) calls it by that name.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    rdmafs_mount_tool::main(std::env::args_os().collect())
}
