//! An open device and what it reports of itself.

use super::addressing::{GidEntry, GidKind};
use super::error::{VerbError, done, made};
use super::ffi;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use thiserror::Error;

/// A device, open; closed when the last of its objects is gone.
#[derive(Debug)]
pub(super) struct Device {
    raw: NonNull<ffi::ibv_context>,
    name: String,
    pub(super) limits: DeviceLimits,
    pub(super) ports: Vec<Port>,
}

// SAFETY: libibverbs objects may be used from any thread, and its calls on one object from several at once (ibv_* manual
// pages: "thread-safe"); the fields beside the pointer are plain data that is never changed.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// What a device can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceLimits {
    /// Work requests of a queue.
    pub(super) work_requests: u32,
    /// Entries of a completion queue.
    pub(super) completions: u32,
    /// READs that a queue pair may have to answer at once.
    pub(super) reads_answered: u8,
    /// READs that a queue pair may have asked for at once.
    pub(super) reads_asked: u8,
    /// How long its acknowledgements may take, as an exponent: 4.096 us times two to the power of this.
    pub(super) ack_delay: u8,
}

/// A port that is up.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) number: u8,
    /// Largest packet, as the verbs number it: 1 is 256 bytes, 5 is 4096.
    pub(super) mtu: u8,
    pub(super) lid: u16,
    /// RoCE: addresses are GIDs only.
    pub(super) ethernet: bool,
    pub(super) gids: Vec<GidEntry>,
}

/// No RDMA device can be used, in words for the user.
#[derive(Debug, Error)]
pub(super) enum DeviceError {
    #[error("this kernel has no RDMA (is the module ib_uverbs loaded?)")]
    NoRdma,
    #[error("RDMA devices cannot be listed: {0}")]
    List(#[source] io::Error),
    #[error("this host has no RDMA device")]
    None,
    #[error("this host has no RDMA device '{name}' (there is {there})")]
    NoSuch { name: String, there: String },
    #[error("RDMA device {0} has no active port")]
    NoActivePort(String),
    #[error("RDMA device {name}: {source}")]
    Open { name: String, source: VerbError },
}

impl Device {
    /// Opens the devices of this host that have an active port, or the one of that name.
    ///
    /// # Errors
    /// No RDMA in this kernel, no device, none of that name, or none with an active port.
    pub(super) fn open_active(name: Option<&str>) -> Result<Vec<Arc<Self>>, DeviceError> {
        let list = List::get()?;
        let names: Vec<String> = list.devices().iter().map(|device| name_of(*device)).collect();
        if names.is_empty() {
            return Err(DeviceError::None);
        }
        if let Some(name) = name
            && !names.iter().any(|other| other == name)
        {
            return Err(DeviceError::NoSuch {
                name: name.to_owned(),
                there: names.join(", "),
            });
        }
        let mut open = Vec::new();
        let mut reason = DeviceError::None;
        for (device, own) in list.devices().iter().zip(&names) {
            if name.is_some_and(|name| name != own) {
                continue;
            }
            match Self::open(*device, own) {
                Ok(device) if device.ports.is_empty() => {
                    reason = DeviceError::NoActivePort(own.clone());
                }
                Ok(device) => open.push(Arc::new(device)),
                Err(source) => {
                    let name = own.clone();
                    reason = DeviceError::Open { name, source };
                }
            }
        }
        if open.is_empty() { Err(reason) } else { Ok(open) }
    }

    fn open(device: NonNull<ffi::ibv_device>, name: &str) -> Result<Self, VerbError> {
        // SAFETY: `device` comes from a list that is not freed yet.
        let raw = made("ibv_open_device", unsafe {
            ffi::ibv_open_device(device.as_ptr())
        })?;
        let mut open = Self {
            raw,
            name: name.to_owned(),
            limits: DeviceLimits {
                work_requests: 0,
                completions: 0,
                reads_answered: 0,
                reads_asked: 0,
                ack_delay: 0,
            },
            ports: Vec::new(),
        };
        // SAFETY: the context was just opened; reading its descriptor number is all.
        let events = unsafe { BorrowedFd::borrow_raw(raw.as_ref().async_fd) };
        fcntl(events, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| VerbError {
            verb: "fcntl of the event descriptor",
            source: error.into(),
        })?;
        let mut attributes = ffi::ibv_device_attr::empty();
        // SAFETY: the device is open; `attributes` is a valid target of the call.
        let queried = unsafe { ffi::ibv_query_device(raw.as_ptr(), &raw mut attributes) };
        done("ibv_query_device", queried)?;
        open.limits = DeviceLimits {
            work_requests: counted(attributes.max_qp_wr),
            completions: counted(attributes.max_cqe),
            reads_answered: small(attributes.max_qp_rd_atom),
            reads_asked: small(attributes.max_qp_init_rd_atom),
            ack_delay: attributes.local_ca_ack_delay,
        };
        for number in 1..=attributes.phys_port_cnt {
            open.ports.extend(open.query_port(number)?);
        }
        Ok(open)
    }

    /// The port, if it is active.
    fn query_port(&self, number: u8) -> Result<Option<Port>, VerbError> {
        let mut attributes = ffi::ibv_port_attr::default();
        // SAFETY: the device is open. The library writes the old, shorter form of the structure, of which
        // `attributes` is an extension.
        let queried = unsafe { ffi::ibv_query_port(self.raw.as_ptr(), number, &raw mut attributes) };
        done("ibv_query_port", queried)?;
        if attributes.state != ffi::IBV_PORT_ACTIVE {
            return Ok(None);
        }
        let entries = u32::try_from(attributes.gid_tbl_len).unwrap_or(0);
        Ok(Some(Port {
            number,
            mtu: u8::try_from(attributes.active_mtu).unwrap_or(1),
            lid: attributes.lid,
            ethernet: attributes.link_layer == ffi::IBV_LINK_LAYER_ETHERNET,
            gids: (0..entries.min(256))
                .filter_map(|index| self.query_gid(number, index))
                .collect(),
        }))
    }

    /// An entry of the GID table; `None` when it is empty.
    fn query_gid(&self, port: u8, index: u32) -> Option<GidEntry> {
        let mut entry = ffi::ibv_gid_entry::default();
        // SAFETY: the device is open; `entry` is a valid target of the size that is passed with it.
        let queried = unsafe {
            ffi::_ibv_query_gid_ex(
                self.raw.as_ptr(),
                port.into(),
                index,
                &raw mut entry,
                0,
                size_of_val(&entry),
            )
        };
        if queried != 0 {
            return None;
        }
        let gid = entry.gid.raw;
        let kind = match entry.gid_type {
            ffi::IBV_GID_TYPE_ROCE_V2 => GidKind::RoceV2,
            ffi::IBV_GID_TYPE_ROCE_V1 => GidKind::RoceV1,
            _ => GidKind::Native,
        };
        let index = u8::try_from(index).ok()?;
        (gid != [0; 16]).then_some(GidEntry { index, kind, gid })
    }

    /// For calls of the library.
    pub(super) fn raw(&self) -> *mut ffi::ibv_context {
        self.raw.as_ptr()
    }

    /// As `rdma link` shows it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Readable when the device has something to say; see `events`.
impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the context is open and its descriptor stays open as long as it, which `self` keeps.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).async_fd) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed only here; objects made of it keep an Arc of `self`, so none is left.
        let closed = unsafe { ffi::ibv_close_device(self.raw.as_ptr()) };
        if closed != 0 {
            tracing::warn!(device = self.name, "ibv_close_device failed: {closed}");
        }
    }
}

/// The list of devices, freed when dropped.
struct List {
    first: NonNull<*mut ffi::ibv_device>,
    len: usize,
}

impl List {
    fn get() -> Result<Self, DeviceError> {
        let mut len: c_int = 0;
        // SAFETY: `len` is a valid target of the call.
        let first = unsafe { ffi::ibv_get_device_list(&raw mut len) };
        let Some(first) = NonNull::new(first) else {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::ENOSYS) => DeviceError::NoRdma,
                _ => DeviceError::List(error),
            });
        };
        Ok(Self {
            first,
            len: usize::try_from(len).unwrap_or(0),
        })
    }

    fn devices(&self) -> Vec<NonNull<ffi::ibv_device>> {
        // SAFETY: the library gave a list of `len` pointers, which lives until `drop`; the answer is used before that.
        let devices = unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) };
        devices
            .iter()
            .filter_map(|device| NonNull::new(*device))
            .collect()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the list comes from ibv_get_device_list and is freed once. Opened devices do not need it.
        unsafe { ffi::ibv_free_device_list(self.first.as_ptr()) };
    }
}

fn name_of(device: NonNull<ffi::ibv_device>) -> String {
    // SAFETY: the device is of a living list; its name is a C string inside of it, copied here.
    let name = unsafe { CStr::from_ptr(ffi::ibv_get_device_name(device.as_ptr())) };
    name.to_string_lossy().into_owned()
}

fn counted(count: c_int) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

fn small(count: c_int) -> u8 {
    u8::try_from(count.clamp(0, 255)).unwrap_or(0)
}
