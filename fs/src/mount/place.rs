//! Where a mount is.

use super::directory::Identity;
use super::namespace_id::NamespaceId;
use super::table::Device;
use serde::{Deserialize, Serialize};

/// What is known of a mount's place once it is made. With its directory's name it is enough to find the mount again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountPlace {
    /// The mount namespace that it was made in.
    pub namespace: NamespaceId,
    /// The device number of the mount.
    pub device: Device,
    /// The directory that it covers.
    pub beneath: Identity,
}
