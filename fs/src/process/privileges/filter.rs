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
        Only::WorkingDirectory => any_of([vec![(0, Eq, u64::from(libc::CLONE_FS.unsigned_abs()))]]),
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

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{SYS_bpf, SYS_init_module, SYS_io_uring_setup, SYS_keyctl, SYS_open_by_handle_at};

    const ALLOWED: u32 = 0x7fff_0000;
    const REFUSED: u32 = 0x0005_0000 | libc::ENOSYS.unsigned_abs();

    /// What the kernel makes of a program and a call: classic BPF, as far as the compiler uses it.
    fn verdict(program: &[Instruction], number: i64, arguments: [u64; 6]) -> u32 {
        let architecture: u64 = if cfg!(target_arch = "x86_64") {
            0xc000_003e
        } else {
            0xc000_00b7
        };
        let mut data = Vec::new();
        data.extend(i32::try_from(number).unwrap().to_ne_bytes());
        data.extend(u32::try_from(architecture).unwrap().to_ne_bytes());
        data.extend([0; 8]);
        data.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
        let word = |at: u32| {
            let at = usize::try_from(at).unwrap();
            u32::from_ne_bytes(data[at..at + 4].try_into().unwrap())
        };
        let (mut at, mut held) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            let jump = |is: bool| usize::from(if is { jt } else { jf });
            at += 1 + match code {
                0x20 => {
                    held = word(k);
                    0
                }
                0x54 => {
                    held &= k;
                    0
                }
                0x05 => usize::try_from(k).unwrap(),
                0x15 => jump(held == k),
                0x25 => jump(held > k),
                0x35 => jump(held >= k),
                0x06 => return k,
                other => panic!("an instruction {other:#x}"),
            };
        }
    }

    const ROLES: [Role; 3] = [
        Role::Node { low_port: false },
        Role::Handler { hidden_tasks: false },
        Role::Mounter,
    ];

    fn program(role: Role) -> Vec<Instruction> {
        instructions(&compile(role, Unlisted::Refuse).unwrap())
    }

    #[test]
    fn what_is_listed_is_allowed_and_nothing_else() {
        for role in ROLES {
            let program = program(role);
            let listed: BTreeMap<i64, Only> = groups(role)
                .flat_map(|group| group.calls)
                .map(|call| (call.number, call.only))
                .collect();
            for number in (0..700).chain([0x4000_0000, 0x4000_003b]) {
                let wanted = match listed.get(&number) {
                    Some(Only::Any) => ALLOWED,
                    Some(_) => continue,
                    None if number == libc::SYS_clone3 => ALLOWED,
                    None => REFUSED,
                };
                assert_eq!(verdict(&program, number, [7; 6]), wanted, "{role:?} {number}");
            }
            for number in [
                libc::SYS_execve,
                libc::SYS_execveat,
                libc::SYS_ptrace,
                libc::SYS_process_vm_readv,
                SYS_init_module,
                SYS_bpf,
                SYS_keyctl,
                SYS_open_by_handle_at,
                SYS_io_uring_setup,
            ] {
                assert_eq!(verdict(&program, number, [0; 6]), REFUSED, "{role:?} {number}");
            }
        }
    }

    #[test]
    fn no_call_is_listed_twice_and_each_group_says_why() {
        for role in ROLES {
            let mut numbers: Vec<i64> = Vec::new();
            for group in groups(role) {
                assert!(!group.reason.is_empty() && !group.calls.is_empty());
                numbers.extend(group.calls.iter().map(|call| call.number));
            }
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{role:?}");
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        let node = program(ROLES[0]);
        let own = u64::from(std::process::id());
        let high = 1 << 32;
        for (number, arguments, allowed) in [
            (libc::SYS_clone, [0x003d_0f00, 0, 0], true),
            (libc::SYS_clone, [0x0120_0011, 0, 0], false),
            (libc::SYS_kill, [own, 15, 0], true),
            (libc::SYS_kill, [own + 1, 15, 0], false),
            (libc::SYS_tgkill, [own, 7, 6], true),
            (libc::SYS_tgkill, [1, 1, 6], false),
            (libc::SYS_socket, [10, 1, 0], true),
            (libc::SYS_socket, [17, 3, 0], false),
            (libc::SYS_mmap, [0, 4096, 3], true),
            (libc::SYS_mmap, [0, 4096, 5], true),
            (libc::SYS_mmap, [0, 4096, 7], false),
            (libc::SYS_mprotect, [0, 4096, 3], true),
            (libc::SYS_mprotect, [0, 4096, 5], false),
            (libc::SYS_prlimit64, [0, 7, 0], true),
            (libc::SYS_prlimit64, [0, 7, 8], false),
            (libc::SYS_prlimit64, [0, 7, high], false),
            (libc::SYS_prctl, [15, 1, 0], true),
            (libc::SYS_prctl, [4, 1, 0], false),
            // The kernel looks at the lower half only, and so does the filter.
            (libc::SYS_ioctl, [3, 0x5412 + high, 0], false),
            (libc::SYS_ioctl, [3, 0x541c, 0], false),
            (libc::SYS_ioctl, [3, 0xc018_1b01, 0], true),
        ] {
            let [a, b, c] = arguments;
            let said = verdict(&node, number, [a, b, c, 0, 0, 0]);
            assert_eq!(said == ALLOWED, allowed, "{number} {arguments:x?}");
        }
        let mounter = program(Role::Mounter);
        for (number, arguments, allowed) in [
            (libc::SYS_setns, [3, 0x0002_0000], true),
            (libc::SYS_setns, [3, 0], false),
            (libc::SYS_unshare, [0x200, 0], true),
            (libc::SYS_unshare, [0x0002_0000, 0], false),
        ] {
            let [a, b] = arguments;
            let said = verdict(&mounter, number, [a, b, 0, 0, 0, 0]);
            assert_eq!(said == ALLOWED, allowed, "{number} {arguments:x?}");
        }
    }

    #[test]
    fn threads_are_begun_by_clone_and_an_unlisted_call_may_be_logged() {
        let first = instructions(&without_clone3().unwrap());
        assert_eq!(verdict(&first, libc::SYS_clone3, [0; 6]), REFUSED);
        assert_eq!(verdict(&first, libc::SYS_execve, [0; 6]), ALLOWED);
        let logs = instructions(&compile(Role::Handler { hidden_tasks: false }, Unlisted::Log).unwrap());
        assert_eq!(verdict(&logs, libc::SYS_execve, [0; 6]), 0x7ffc_0000);
    }
}
