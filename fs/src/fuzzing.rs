//! What holds of any bytes that a peer, a program, the kernel's tables or an fstab give to this crate: one function per fuzz
//! target, which panics where it does not.
//!
//! The fuzzer (`scripts/fuzz`) calls them with bytes of its own, every test run with those it kept (`tests/fuzz/corpus`).

use crate::atomic_ioctl;
use crate::control::frame::{self, FrameError, MAX_REPLY, MAX_REQUEST};
use crate::control::{ControlReply, ControlRequest};
use crate::daemon::records;
use crate::executor::kill_watch::is_exiting;
use crate::executor::signals::Signals;
use crate::flags_ioctl::{self, IoctlRequest};
use crate::fuse::groups;
use crate::layout_ioctl::{self, PAGE};
use crate::mount::{MountPoint, MountTable};
use crate::mounter;
use crate::node::framing;
use crate::node::limits::parse_mem_available;
use crate::options::{MAX_POOL_NAME, NodeAddress, Source, is_pool_name};
use crate::process::detach::follow;
use crate::process::lock_call;
use rdmafs_meta::layout::LayoutSlice;
use rdmafs_meta::wire::{self, Answer, Reply};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::unix::ffi::OsStrExt;

/// A name, and what holds of any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of this crate.
pub const TARGETS: &[Target] = &[
    ("frames", frames),
    ("control", control),
    ("source", source),
    ("proc", proc_tables),
];

/// What a node reads of a link, and what goes through the ioctls. The first byte chooses.
fn frames(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, frame)) => call(frame),
        Some((1, page)) => page_of_layout(page),
        Some((2, answer)) => answered_layout(answer),
        Some((3, numbers)) => changed_atomic(numbers),
        Some((4, flags)) => changed_flags(flags),
        _ => {}
    }
}

fn call(frame: &[u8]) {
    let Some((id, call)) = framing::call(frame, wire::WireVersion::NEWEST) else {
        return;
    };
    assert_ne!(id, framing::NOTICE, "a call has an id");
    assert_eq!(frame.first_chunk(), Some(&id.to_le_bytes()));
    let encoded =
        wire::encode(&call, wire::WireVersion::NEWEST).expect("it is no longer than what it came from");
    let frame = [&id.to_le_bytes(), encoded.as_slice()].concat();
    assert_eq!(framing::call(&frame, wire::WireVersion::NEWEST), Some((id, call)));
}

/// The first byte says whether the flags come in a structure.
fn changed_flags(bytes: &[u8]) {
    let Some((first, input)) = bytes.split_first() else {
        return;
    };
    let extended = first % 2 == 1;
    let command = if extended {
        flags_ioctl::SET_EXTENDED
    } else {
        flags_ioctl::SET
    };
    if let Some(Ok(IoctlRequest::Set(flags))) = flags_ioctl::decode_request(command, input) {
        let answer = flags_ioctl::answer(flags, extended);
        assert_eq!(answer.len(), input.len());
        let anew = flags_ioctl::decode_request(command, &answer);
        assert_eq!(anew, Some(Ok(IoctlRequest::Set(flags))));
    }
}

fn changed_atomic(numbers: &[u8]) {
    for command in [atomic_ioctl::FETCH_ADD, atomic_ioctl::COMPARE_SWAP] {
        let Some(decode_request) = atomic_ioctl::decode_request(command, numbers) else {
            continue;
        };
        let answer = atomic_ioctl::answer(numbers.to_vec(), 7);
        assert_eq!(answer.len(), numbers.len());
        assert_eq!(
            atomic_ioctl::decode_request(command, &answer),
            Some(decode_request),
            "only the last number is the answer's"
        );
    }
}

fn page_of_layout(page: &[u8]) {
    if let Some((_, _, runs)) = layout_ioctl::parse(page) {
        assert!(runs.len() <= PAGE / 40);
    }
    let offset = page.first_chunk().map(|chunk| u64::from_le_bytes(*chunk));
    assert_eq!(layout_ioctl::decode_request(page), offset);
}

/// Any layout that a node can answer with becomes a page that says the same, as far as it reaches.
fn answered_layout(answer: &[u8]) {
    let Ok(Ok(Reply::Layout(slice))) = wire::decode::<Answer>(answer, wire::WireVersion::NEWEST) else {
        return;
    };
    let LayoutSlice { start, end, .. } = slice;
    let page = layout_ioctl::answer(start, end, Some(&slice));
    assert_eq!(page.len(), PAGE);
    let (notified, size, runs) = layout_ioctl::parse(&page).expect("ours always parse");
    assert_eq!(size, end);
    let replicas = slice
        .runs
        .iter()
        .flat_map(|run| run.replicas.iter().map(|copy| (run.start, copy)));
    let said = runs.iter().map(|run| (run.start, run.extent, run.state));
    assert!(
        said.eq(replicas
            .take(runs.len())
            .map(|(start, copy)| (start, copy.extent, copy.state)))
    );
    let all = slice.runs.iter().map(|run| run.replicas.len()).sum::<usize>();
    assert!(
        notified == end || runs.len() < all,
        "the page ends early and left nothing out"
    );
}

/// JSON on the control socket, on a daemon's pipe, in the records of mounts, and between a handler and its mounter. The first byte chooses.
fn control(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, line)) => message::<ControlRequest>(line, MAX_REQUEST),
        Some((1, line)) => message::<ControlReply>(line, MAX_REPLY),
        Some((2, lines)) => {
            let mut shown = 0;
            let outcome = follow(lines, |_| shown += 1);
            let lines = lines.split(|byte| *byte == b'\n').count();
            assert!(shown + usize::from(outcome.is_some()) <= lines);
        }
        Some((3, record)) => records::holds(record),
        Some((4, line)) => message::<mounter::Request>(line, MAX_REPLY),
        Some((5, line)) => message::<mounter::Reply>(line, MAX_REPLY),
        _ => {}
    }
}

/// A message is one whole line; said again it is the same.
fn message<T: DeserializeOwned + Serialize>(line: &[u8], limit: usize) {
    let end = line.iter().position(|byte| *byte == b'\n');
    match frame::read::<T>(line, limit) {
        Ok(message) => {
            assert_eq!(end, Some(line.len() - 1));
            let said = frame::encode(&message).expect("it was said before");
            let anew: T = frame::read(said.as_slice(), usize::MAX).expect("ours always read");
            assert_eq!(frame::encode(&anew).ok(), Some(said));
        }
        Err(FrameError::Closed) => assert_eq!(end, None),
        Err(FrameError::TooLong(most)) => assert!(line.len() > most),
        Err(FrameError::Trailing) => assert!(end.is_some_and(|end| end + 1 < line.len())),
        Err(FrameError::Json(_)) => assert_eq!(end, Some(line.len() - 1)),
        Err(other) => panic!("{other}"),
    }
}

/// A source that is one has nodes and a pool, and is itself when it is written down.
fn source(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Source>() {
        Ok(source) => {
            assert!(!source.nodes.is_empty() && is_pool_name(&source.pool));
            assert!(source.pool.len() <= MAX_POOL_NAME && !source.pool.contains('/'));
            assert_eq!(source.to_string().parse(), Ok(source));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(node) = text.parse::<NodeAddress>() {
        assert!(node.port != 0 && !node.host.is_empty() && !node.host.contains(['/', ',']));
        assert_eq!(node.to_string().parse(), Ok(node));
    }
}

/// Files of /proc, whose names of programs and directories anybody may choose. The first byte chooses.
fn proc_tables(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match choice {
        0 => mounts(rest),
        1 => {
            assert!(groups::parse(&text).len() <= rest.len());
            let _ = groups::fs_uid(&text);
        }
        2 => {
            let _ = Signals::parse(&text).interrupts(u64::MAX);
            let _ = lock_call::parse(&text);
        }
        3 => named_like_anything(&text),
        4 => {
            let _ = parse_mem_available(&text);
        }
        _ => {}
    }
}

/// Each mount is found by its id and, written as the kernel writes it, is the same; one that a user made is never taken for ours.
fn mounts(text: &[u8]) {
    let table = MountTable::parse(text);
    for mount in table.iter() {
        if !mount.dir.is_absolute() {
            // The kernel writes no such line.
            continue;
        }
        let shown = table.topmost(&mount.dir);
        assert!(shown.is_none_or(|top| top.dir == mount.dir));
        assert!(table.get(mount.id).is_some_and(|found| found.id == mount.id));
        let owner = if mount.is_ours { 0 } else { 1000 };
        let line = line_of(mount, owner);
        assert_eq!(MountTable::parse(&line).iter().next(), Some(mount));
    }
}

fn line_of(mount: &MountPoint, owner: u32) -> Vec<u8> {
    let device = format!("{}:{}", mount.device.major, mount.device.minor);
    let head = format!("{} {} {device} / ", mount.id, mount.parent);
    let dir = escape(mount.dir.as_os_str().as_bytes());
    let source = escape(mount.source.as_bytes());
    let tail = format!(" rw,user_id={owner},group_id=0");
    let suid = if mount.suid { "" } else { ",nosuid" };
    let dev = if mount.dev { "" } else { ",nodev" };
    let middle = format!(" rw{suid}{dev} shared:1 - fuse.rdmafs ");
    [head.as_bytes(), &dir, middle.as_bytes(), &source, tail.as_bytes()].concat()
}

/// A program's name changes nothing in what /proc/PID/stat says of its end.
fn named_like_anything(name: &str) {
    let _ = is_exiting(name);
    for (flags, exiting) in [(0x40_0004_u64, true), (0x40_0000, false)] {
        assert_eq!(is_exiting(&format!("7 ({name}) D 1 7 7 0 -1 {flags} 0")), exiting);
    }
}

fn escape(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in name {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            plain => escaped.push(*plain),
        }
    }
    escaped
}

#[cfg(test)]
#[path = "../../tests/fuzz/src/replay.rs"]
mod replay;
