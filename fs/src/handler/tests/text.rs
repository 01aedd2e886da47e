//! Programs with set-id bits between two mounts of a host: the service knows one session, and sees neither.

use super::world::{RW, World, world};
use crate::errno::Error;
use crate::handler::OpenMode;
use crate::options::CacheMode;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::error::MetaError::TextBusy;
use rdmafs_meta::id::InodeId;

const RUN: OpenMode = OpenMode {
    write: false,
    execute: true,
    ..RW
};

fn with_mode(mode: u16) -> SetAttr {
    SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    }
}

/// A program, and another mount of the host.
fn program(mode: u16) -> (World, World, InodeId) {
    let world = world(1 << 20);
    let (ino, file) = world.create("program");
    world.write(file, 0, b"bytes").unwrap();
    world.flush(file);
    world.release(file);
    world.set(ino, with_mode(mode)).unwrap();
    let other = world.beside(CacheMode::Auto);
    (world, other, ino)
}

#[test]
fn what_another_mount_runs_with_rights_is_neither_cut_nor_written() {
    let (world, other, ino) = program(0o4755);
    let runs = other.open(ino, RUN).unwrap();
    let cut = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    let truncate = OpenMode { truncate: true, ..RW };
    let busy = Err(Error::Meta(TextBusy));
    assert_eq!(world.open(ino, truncate).map(drop), busy);
    assert_eq!(world.open(ino, RW).map(drop), busy);
    assert_eq!(world.set(ino, cut.clone()).map(drop), busy);
    // Whoever may write it can take the bits away first.
    world.set(ino, with_mode(0o755)).unwrap();
    assert_eq!(world.open(ino, truncate).map(drop), busy);
    assert_eq!(world.set(ino, cut.clone()).map(drop), busy);
    let reads = world.open(ino, OpenMode { write: false, ..RW }).unwrap();
    assert_eq!(world.read(reads, 0, 10).unwrap(), b"bytes", "not a byte is gone");
    other.release(runs);
    world.set(ino, cut).unwrap();
    world.open(ino, truncate).unwrap();
}

#[test]
fn what_another_mount_writes_is_not_run_with_rights() {
    let (world, other, ino) = program(0o6755);
    let writes = other.open(ino, RW).unwrap();
    assert_eq!(world.open(ino, RUN).map(drop), Err(Error::Meta(TextBusy)));
    other.release(writes);
    world.open(ino, RUN).unwrap();
}

#[test]
fn any_other_program_is_written_while_it_runs() {
    let (world, other, ino) = program(0o755);
    let runs = other.open(ino, RUN).unwrap();
    world.open(ino, OpenMode { truncate: true, ..RW }).unwrap();
    other.release(runs);
    other.open(ino, RUN).unwrap();
}

/// execve(2) goes by the mode that the kernel was shown.
#[test]
fn a_program_whose_bits_are_gone_is_looked_up_anew_before_it_is_run() {
    let (world, other, ino) = program(0o4755);
    assert_eq!(other.attr(ino).unwrap().mode, 0o4755);
    world.set(ino, with_mode(0o755)).unwrap();
    let stale = Err(Error::Meta(rdmafs_meta::error::MetaError::Stale));
    assert_eq!(other.open(ino, RUN).map(drop), stale);
    assert_eq!(other.attr(ino).unwrap().mode, 0o755);
    other.open(ino, RUN).unwrap();
}
