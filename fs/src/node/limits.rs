//! What a node refuses before it starts, each with its remedy.

use super::config::ServeConfig;
use rdmafs_meta::extent::GRANULE;
use rdmafs_rdma::fabric::FabricKind;
use std::io;
use std::net::{SocketAddr, TcpListener};
use thiserror::Error;

/// Longest pool name, in bytes.
const MAX_POOL_NAME: usize = 64;

const MEMINFO: &str = "/proc/meminfo";

/// A configuration that no node can serve, with what to give instead.
#[derive(Debug, Error)]
pub enum LimitError {
    /// The name of the pool is of another form.
    #[error("'{0}' is no pool name: use 1 to {MAX_POOL_NAME} letters, digits, '.', '_' or '-'")]
    PoolName(String),
    /// A fabric that is for tests only.
    #[error("no node can serve fabric '{}': give --fabric shm,verbs,tcp", .0.name())]
    Fabric(FabricKind),
    /// The list of fabrics is empty.
    #[error("no fabric to serve: give --fabric shm,verbs,tcp")]
    NoFabric,
    /// So many bytes cannot be lent.
    #[error("cannot lend {0} bytes: give a multiple of 4 KiB above 0, like --memory 4G")]
    Granule(u64),
    /// The host has less memory. Bytes.
    #[error(
        "cannot lend {} of memory: this host has {} available; give less with --memory, or end programs that use it",
        human(*.memory),
        human(*.available)
    )]
    Memory {
        /// What is to be lent.
        memory: u64,
        /// What there is.
        available: u64,
    },
    /// The address is in use, or of another host.
    #[error("cannot listen on {address}: {source}; give a free address of this host with --listen ADDR:PORT")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// How much memory there is cannot be read.
    #[error("cannot read {MEMINFO}: {0}")]
    MemInfo(#[source] io::Error),
    /// The kernel does not say how much memory there is.
    #[error("{MEMINFO} has no MemAvailable line: is this Linux 3.14 or later?")]
    NoMemAvailable,
}

/// Checks pool name, fabrics, memory and address, so that no mistake shows only after minutes of preparing memory.
pub(super) fn check(config: &ServeConfig) -> Result<(), LimitError> {
    check_pool(&config.pool)?;
    check_fabrics(&config.fabrics)?;
    check_memory(config.memory, mem_available()?)?;
    check_address(config.listen)
}

fn check_pool(pool: &str) -> Result<(), LimitError> {
    let fits = (1..=MAX_POOL_NAME).contains(&pool.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if fits && pool.bytes().all(plain) {
        return Ok(());
    }
    Err(LimitError::PoolName(pool.to_owned()))
}

fn check_fabrics(fabrics: &[FabricKind]) -> Result<(), LimitError> {
    let served = |kind: &FabricKind| *kind != FabricKind::Sim;
    match fabrics.iter().find(|kind| !served(kind)) {
        Some(kind) => Err(LimitError::Fabric(*kind)),
        None if fabrics.is_empty() => Err(LimitError::NoFabric),
        None => Ok(()),
    }
}

fn check_memory(memory: u64, available: u64) -> Result<(), LimitError> {
    if memory == 0 || !memory.is_multiple_of(GRANULE) {
        return Err(LimitError::Granule(memory));
    }
    if memory > available {
        return Err(LimitError::Memory { memory, available });
    }
    Ok(())
}

/// Binds the address and lets it go again.
fn check_address(address: SocketAddr) -> Result<(), LimitError> {
    let bound = TcpListener::bind(address);
    bound
        .map(drop)
        .map_err(|source| LimitError::Address { address, source })
}

/// `MemAvailable` of /proc/meminfo: what can be had without swapping, in bytes.
fn mem_available() -> Result<u64, LimitError> {
    let text = std::fs::read_to_string(MEMINFO).map_err(LimitError::MemInfo)?;
    parse_mem_available(&text).ok_or(LimitError::NoMemAvailable)
}

/// Reads the `MemAvailable` line: bytes. Any text has one or gives `None`.
pub(crate) fn parse_mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes as `--memory` takes them, exactly.
pub(super) fn size_word(bytes: u64) -> String {
    let units = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let exact = units
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    exact.map_or_else(
        || bytes.to_string(),
        |(unit, first)| format!("{}{first}", bytes / unit),
    )
}

/// Bytes as people say them, in binary units with one digit after the point.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_names_are_plain_words_of_1_to_64_bytes() {
        for good in ["p", "my.pool_1-x", &"a".repeat(64)] {
            assert!(check_pool(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", "a\0", &"a".repeat(65)] {
            let line = check_pool(bad).unwrap_err().to_string();
            assert!(line.contains(bad) && line.contains("letters"), "{line}");
        }
    }

    #[test]
    fn only_real_fabrics_are_served() {
        check_fabrics(&[FabricKind::Shm, FabricKind::Verbs, FabricKind::Tcp]).unwrap();
        for (bad, word) in [
            (vec![FabricKind::Tcp, FabricKind::Sim], "'sim'"),
            (Vec::new(), "no fabric"),
        ] {
            let line = check_fabrics(&bad).unwrap_err().to_string();
            assert!(line.contains(word) && line.contains("--fabric"), "{line}");
        }
    }

    #[test]
    fn more_memory_than_available_is_refused_with_both_numbers() {
        check_memory(8192, 8192).unwrap();
        let line = check_memory(3 << 40, 1536 << 20).unwrap_err().to_string();
        assert!(
            line.contains("3.0 TiB") && line.contains("1.5 GiB") && line.contains("--memory"),
            "{line}"
        );
        assert!(check_memory(8192 + 4096, 8192).is_err());
        for odd in [0, 1, 4095, 4097] {
            let line = check_memory(odd, 1 << 30).unwrap_err().to_string();
            assert!(line.contains("4 KiB"), "{odd}");
        }
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let line = check_address(address).unwrap_err().to_string();
        assert!(
            line.contains(&address.to_string()) && line.contains("--listen"),
            "{line}"
        );
        drop(taken);
        check_address(address).unwrap();
    }

    #[test]
    fn meminfo_is_read() {
        assert_eq!(
            parse_mem_available("MemTotal: 9 kB\nMemAvailable:   12 kB\n"),
            Some(12 * 1024)
        );
        for broken in [
            "",
            "MemAvailable: 12",
            "MemAvailable: x kB",
            "MemAvailable: 99999999999999999999 kB",
        ] {
            assert_eq!(parse_mem_available(broken), None, "{broken}");
        }
        assert!(mem_available().unwrap() > 0);
    }

    #[test]
    fn sizes_are_exact_words() {
        let atomics = [
            (4096, "4K"),
            (1100 << 20, "1100M"),
            (4 << 30, "4G"),
            (5, "5"),
            (0, "0"),
        ];
        for (bytes, word) in atomics {
            assert_eq!(size_word(bytes), word);
        }
    }

    #[test]
    fn units_are_binary() {
        for (bytes, text) in [
            (4096, "4.0 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
