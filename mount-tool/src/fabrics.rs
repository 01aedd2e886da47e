//! Which fabrics a node offers: those that were named, or those that work here.

use crate::options::VERBS;
use crate::value_error::ValueError;
use rdmafs_fs::options::FabricKind;
use std::path::{Path, PathBuf};

/// Where the kernel lists RDMA devices; each port is a directory `DEVICE/ports/PORT` with a file `state`.
const DEVICES: &str = "/sys/class/infiniband";

/// What a node offers that was not told: verbs too when it is `wanted` or some port is active, so that a host without
/// RDMA serves without a word about it.
pub(crate) fn offered(wanted: bool) -> Vec<FabricKind> {
    let mut fabrics = vec![FabricKind::Shm, FabricKind::Tcp];
    if VERBS && (wanted || has_active_port(Path::new(DEVICES))) {
        fabrics.push(FabricKind::Verbs);
    }
    fabrics
}

/// One word of `--fabric`.
///
/// # Errors
/// What may be written.
pub(crate) fn parse_fabric(text: &str) -> Result<FabricKind, ValueError> {
    match text {
        "shm" => Ok(FabricKind::Shm),
        "tcp" => Ok(FabricKind::Tcp),
        "verbs" if VERBS => Ok(FabricKind::Verbs),
        "verbs" => Err(ValueError::NoVerbs("use shm,tcp")),
        _ => Err(ValueError::Form("use shm, verbs, tcp, or several with commas")),
    }
}

/// Whether some RDMA device has a port in use.
fn has_active_port(devices: &Path) -> bool {
    let entries = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries(devices.to_owned())
        .flat_map(|device| entries(device.path().join("ports")))
        .filter_map(|port| std::fs::read_to_string(port.path().join("state")).ok())
        .any(|state| state.contains("ACTIVE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_is_offered_where_a_port_is_active() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_active_port(&dir.path().join("none")));
        let port = dir.path().join("mlx5_0/ports/1");
        std::fs::create_dir_all(&port).unwrap();
        std::fs::write(port.join("state"), "1: DOWN\n").unwrap();
        assert!(!has_active_port(dir.path()));
        std::fs::write(port.join("state"), "4: ACTIVE\n").unwrap();
        assert!(has_active_port(dir.path()));
        assert_eq!(
            offered(true).contains(&FabricKind::Verbs),
            cfg!(feature = "verbs")
        );
    }

    #[test]
    fn words_are_read_or_refused_with_the_remedy() {
        assert_eq!(parse_fabric("shm"), Ok(FabricKind::Shm));
        assert!(
            parse_fabric("rdma")
                .unwrap_err()
                .to_string()
                .contains("use shm, verbs, tcp")
        );
        if cfg!(feature = "verbs") {
            assert_eq!(parse_fabric("verbs"), Ok(FabricKind::Verbs));
        } else {
            assert!(
                parse_fabric("verbs")
                    .unwrap_err()
                    .to_string()
                    .contains("this build has no verbs")
            );
        }
    }
}
