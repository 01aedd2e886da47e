//! What a node refuses before it starts, each with its remedy.

use super::serve::ServeConfig;
use rdmafs_meta::extent::GRANULE;
use rdmafs_rdma::fabric::FabricKind;
use std::net::{SocketAddr, TcpListener};

/// Longest pool name, in bytes.
const MAX_POOL_NAME: usize = 64;

/// Checks pool name, fabrics, memory and address, so that no mistake shows only after minutes of preparing memory.
pub(super) fn check(config: &ServeConfig) -> Result<(), String> {
    check_pool(&config.pool)?;
    check_fabrics(&config.fabrics)?;
    check_memory(config.memory, mem_available()?)?;
    check_address(config.listen)
}

fn check_pool(pool: &str) -> Result<(), String> {
    let fits = (1..=MAX_POOL_NAME).contains(&pool.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if fits && pool.bytes().all(plain) {
        return Ok(());
    }
    Err(format!(
        "'{pool}' is no pool name: use 1 to {MAX_POOL_NAME} letters, digits, '.', '_' or '-'"
    ))
}

fn check_fabrics(fabrics: &[FabricKind]) -> Result<(), String> {
    let served = |kind: &FabricKind| *kind != FabricKind::Sim;
    match fabrics.iter().find(|kind| !served(kind)) {
        Some(kind) => Err(format!(
            "no node can serve fabric '{}': give --fabric shm,verbs,tcp",
            kind.name()
        )),
        None if fabrics.is_empty() => Err("no fabric to serve: give --fabric shm,verbs,tcp".into()),
        None => Ok(()),
    }
}

fn check_memory(memory: u64, available: u64) -> Result<(), String> {
    if memory == 0 || !memory.is_multiple_of(GRANULE) {
        return Err(format!(
            "cannot lend {memory} bytes: give a multiple of 4 KiB above 0, like --memory 4G"
        ));
    }
    if memory > available {
        return Err(format!(
            "cannot lend {} of memory: this host has {} available; give less with --memory, or end programs that use it",
            human(memory),
            human(available)
        ));
    }
    Ok(())
}

/// Binds the address and lets it go again.
fn check_address(address: SocketAddr) -> Result<(), String> {
    TcpListener::bind(address).map(drop).map_err(|error| {
        format!(
            "cannot listen on {address}: {error}; give a free address of this host with --listen ADDR:PORT"
        )
    })
}

/// `MemAvailable` of /proc/meminfo: what can be had without swapping, in bytes.
fn mem_available() -> Result<u64, String> {
    let file = "/proc/meminfo";
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    parse_mem_available(&text)
        .ok_or_else(|| format!("{file} has no MemAvailable line: is this Linux 3.14 or later?"))
}

/// Total.
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
        |(unit, letter)| format!("{}{letter}", bytes / unit),
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
            assert_eq!(check_pool(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", "a\0", &"a".repeat(65)] {
            let line = check_pool(bad).unwrap_err();
            assert!(line.contains(bad) && line.contains("letters"), "{line}");
        }
    }

    #[test]
    fn only_real_fabrics_are_served() {
        assert_eq!(
            check_fabrics(&[FabricKind::Shm, FabricKind::Verbs, FabricKind::Tcp]),
            Ok(())
        );
        for (bad, word) in [
            (vec![FabricKind::Tcp, FabricKind::Sim], "'sim'"),
            (Vec::new(), "no fabric"),
        ] {
            let line = check_fabrics(&bad).unwrap_err();
            assert!(line.contains(word) && line.contains("--fabric"), "{line}");
        }
    }

    #[test]
    fn more_memory_than_available_is_refused_with_both_numbers() {
        assert_eq!(check_memory(8192, 8192), Ok(()));
        let line = check_memory(3 << 40, 1536 << 20).unwrap_err();
        assert!(
            line.contains("3.0 TiB") && line.contains("1.5 GiB") && line.contains("--memory"),
            "{line}"
        );
        assert!(check_memory(8192 + 4096, 8192).is_err());
        for odd in [0, 1, 4095, 4097] {
            assert!(check_memory(odd, 1 << 30).unwrap_err().contains("4 KiB"), "{odd}");
        }
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let line = check_address(address).unwrap_err();
        assert!(
            line.contains(&address.to_string()) && line.contains("--listen"),
            "{line}"
        );
        drop(taken);
        assert_eq!(check_address(address), Ok(()));
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
        let words = [
            (4096, "4K"),
            (1100 << 20, "1100M"),
            (4 << 30, "4G"),
            (5, "5"),
            (0, "0"),
        ];
        for (bytes, word) in words {
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
