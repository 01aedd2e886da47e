//! Which mount namespace is meant.

use serde::{Deserialize, Serialize};

/// Tells the mount namespaces of a running kernel apart; one that is gone may leave its number to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamespaceId(pub(super) u64);
