//! Lists of system calls as filters of the kernel (seccomp(2)).
//!
//! What is not listed fails with ENOSYS and is logged by the kernel: a node that is killed for an unknown call loses the bytes of
//! everybody, while ENOSYS is what programs and C libraries meet on older kernels. Only clone3(2) fails in silence, since C libraries try it
//! for each thread and then take clone(2), whose flags a filter can see.
//!
//! From Linux 5.11 on the kernel knows of each call that is allowed whatever its arguments without running the filter.

use super::calls::{Call, Only, groups};
use super::capabilities::Role;
use rdmafs_rdma::sys::{Instruction, filter_system_calls};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;
use thiserror::Error;

/// No filter holds.
#[derive(Debug, Error)]
pub(super) enum FilterError {
    #[error("the list cannot be compiled: {0}")]
    Compile(#[from] BackendError),
    #[error("the kernel or a container refuses it: {0}")]
    Install(#[from] io::Error),
}

/// What becomes of a call that is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unlisted {
    /// It fails, and the kernel logs it.
    Refuse,
    /// The kernel logs it, and does it.
    Log,
}

/// From now on this holds for all threads of this process, and cannot be taken back.
///
/// # Errors
/// No filter holds, or only the one that refuses clone3(2).
pub(super) fn install(role: Role, unlisted: Unlisted) -> Result<(), FilterError> {
    filter_system_calls(&instructions(&without_clone3()?), false)?;
    filter_system_calls(&instructions(&compile(role, unlisted)?), true)?;
    Ok(())
}

fn without_clone3() -> Result<BpfProgram, BackendError> {
    let refused = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    SeccompFilter::new(refused, SeccompAction::Allow, not_there(), target()?)?.try_into()
}

fn compile(role: Role, unlisted: Unlisted) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for call in groups(role).flat_map(|group| group.calls) {
        rules.insert(call.number, of_call(call)?);
    }
    let otherwise = match unlisted {
        Unlisted::Refuse => not_there(),
        Unlisted::Log => SeccompAction::Log,
    };
    SeccompFilter::new(rules, otherwise, SeccompAction::Allow, target()?)?.try_into()
}

fn not_there() -> SeccompAction {
    SeccompAction::Errno(libc::ENOSYS.unsigned_abs())
}

fn target() -> Result<TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

fn instructions(program: &BpfProgram) -> Vec<Instruction> {
    let one = |from: &seccompiler::sock_filter| Instruction {
        code: from.code,
        jt: from.jt,
        jf: from.jf,
        k: from.k,
    };
    program.iter().map(one).collect()
}

/// One of these must fit; none means any arguments.
fn of_call(call: &Call) -> Result<Vec<SeccompRule>, BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    const EXECUTE: u64 = libc::PROT_EXEC.unsigned_abs() as u64;
    const WRITE: u64 = libc::PROT_WRITE.unsigned_abs() as u64;
    const THREAD: u64 = libc::CLONE_THREAD.unsigned_abs() as u64;
    let own = u64::from(std::process::id());
    match call.only {
        Only::Any => Ok(Vec::new()),
        Only::Thread => any_of([vec![(0, MaskedEq(THREAD), THREAD)]]),
        Only::OwnProcess => any_of([vec![(0, Eq, own)]]),
        Only::Family => any_of(
            [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
                .map(|family| vec![(0, Eq, u64::from(family.unsigned_abs()))]),
        ),
        Only::WriteOrExecute => any_of([vec![(2, MaskedEq(EXECUTE), 0)], vec![(2, MaskedEq(WRITE), 0)]]),
        Only::NoExecute => any_of([vec![(2, MaskedEq(EXECUTE), 0)]]),
        Only::ReadLimit => both_halves(2),
        Only::Names => any_of(
            [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA]
                .map(|option| vec![(0, Eq, u64::from(option.unsigned_abs()))]),
        ),
        Only::NoTyping => any_of([vec![(1, Ne, libc::TIOCSTI), (1, Ne, libc::TIOCLINUX)]]),
        Only::DirectoryOnly => any_of([vec![(0, Eq, u64::from(libc::CLONE_FS.unsigned_abs()))]]),
        Only::MountNamespace => any_of([vec![(1, Eq, u64::from(libc::CLONE_NEWNS.unsigned_abs()))]]),
    }
}

/// What 32 bits of the arguments must be, by their number: all of one list.
type Wanted = Vec<(u8, SeccompCmpOp, u64)>;

fn any_of(lists: impl IntoIterator<Item = Wanted>) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |list: Wanted| {
        let condition = |(argument, operator, value)| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        };
        SeccompRule::new(list.into_iter().map(condition).collect::<Result<_, _>>()?)
    };
    lists.into_iter().map(rule).collect()
}

/// A pointer that is null.
fn both_halves(argument: u8) -> Result<Vec<SeccompRule>, BackendError> {
    let null = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    Ok(vec![SeccompRule::new(vec![null])?])
}
