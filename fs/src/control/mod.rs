//! The handler's control socket: `RUN_DIR/handler.sock`, mode 0600, root only (SO_PEERCRED is checked too).
//!
//! One request and one reply per connection, each one line of JSON; a mount request carries the open /dev/fuse
//! descriptor (SCM_RIGHTS).

mod client;
pub(crate) mod descriptor;
pub(crate) mod frame;
mod message;
mod node;
mod server;

pub use client::{ControlError, call, records_folder, socket_path};
pub use message::{
    CallTraffic, ControlReply, ControlRequest, LeaseStatus, LinkStatus, MountStatus, PoolStatus, ShareChange,
    Status, TimesChange,
};
pub use node::{
    LockList, LockStatus, NODE_PATIENCE, NodeError, NodeReply, NodeRequest, NodeSession, NodeStatus,
    ask_node, ask_node_within, node_ports, node_socket_path,
};
pub use server::{Connection, Listener, Refusal};
