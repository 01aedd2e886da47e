//! A reliable queue pair, from its birth to its end.

use super::completions::Completions;
use super::domain::Domain;
use super::error::{VerbError, done, made};
use super::ffi;
use super::region::{Local, Region};
use super::setup::Gid;
use crate::fabric::Verb;
use parking_lot::Mutex;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

/// Attempts beyond the first. 7 would mean for ever on some devices.
const RETRIES: u8 = 6;
/// A peer that has no receive posted, which the credits of `chunks` rule out, is asked again after 0.64 ms, ...
const RNR_TIMER: u8 = 12;
/// ... for ever: the link's own time limit ends that.
const RNR_RETRIES: u8 = 7;

/// A queue pair. Everything that its work names is kept as long as it.
#[derive(Debug)]
pub(super) struct QueuePair {
    /// `None` once destroyed. The innermost lock: nothing is taken or called back under it.
    raw: Mutex<Option<NonNull<ffi::ibv_qp>>>,
    number: u32,
    /// Whose memory its work may name. Dropped, as are the fields below, only after `drop` has destroyed the queue pair.
    _regions: Vec<Arc<Region>>,
    _completions: Arc<Completions>,
    domain: Arc<Domain>,
}

// SAFETY: as for `Device`: libibverbs is thread-safe; the pointer is used under the lock only, which also makes sure that it
// is not used after the queue pair was destroyed.
unsafe impl Send for QueuePair {}
// SAFETY: as above.
unsafe impl Sync for QueuePair {}

/// How large to make a queue pair, and what peers may do by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Work requests and SENDs, at least 1.
    pub(super) sends: u32,
    /// Receives, at least 1.
    pub(super) receives: u32,
    /// The port that it uses.
    pub(super) port: u8,
    /// The peer may read and write registered memory.
    pub(super) lends: bool,
}

/// How to reach the peer's queue pair. Sequence numbers are secret: who knows them can forge packets.
#[derive(Clone, Copy)]
pub(super) struct Path {
    pub(super) gid: Gid,
    pub(super) lid: u16,
    pub(super) number: u32,
    pub(super) first_theirs: u32,
    pub(super) first_ours: u32,
    pub(super) mtu: u8,
    /// READs that we may have asked for at once, and that we answer at once.
    pub(super) asks: u8,
    pub(super) answers: u8,
    pub(super) tclass: u8,
    pub(super) gid_index: u8,
    /// By GID (RoCE), else by LID.
    pub(super) global: bool,
    pub(super) port: u8,
    /// Exponent of the time to wait for an acknowledgement, as in `DeviceLimits::ack_delay`.
    pub(super) patience: u8,
}

/// What a peer's memory is called.
#[derive(Clone, Copy)]
pub(super) struct Remote {
    pub(super) address: u64,
    pub(super) key: u32,
}

impl QueuePair {
    /// A queue pair that takes receives and is not connected.
    pub(super) fn new(
        domain: &Arc<Domain>,
        completions: &Arc<Completions>,
        shape: Shape,
        regions: Vec<Arc<Region>>,
    ) -> Result<Arc<Self>, VerbError> {
        let mut wanted = ffi::ibv_qp_init_attr {
            send_cq: completions.raw(),
            recv_cq: completions.raw(),
            qp_type: ffi::IBV_QPT_RC,
            ..Default::default()
        };
        wanted.cap.max_send_wr = shape.sends;
        wanted.cap.max_recv_wr = shape.receives;
        wanted.cap.max_send_sge = 1;
        wanted.cap.max_recv_sge = 1;
        // SAFETY: domain and completion queue are alive, and kept by the answer; `wanted` is a valid argument.
        let raw = made("ibv_create_qp", unsafe {
            ffi::ibv_create_qp(domain.raw(), &raw mut wanted)
        })?;
        let queue = Self {
            // SAFETY: the queue pair was just made; the field is never changed.
            number: unsafe { raw.as_ref() }.qp_num,
            raw: Mutex::new(Some(raw)),
            _regions: regions,
            _completions: Arc::clone(completions),
            domain: Arc::clone(domain),
        };
        let mut attributes = ffi::ibv_qp_attr {
            qp_state: ffi::IBV_QPS_INIT,
            port_num: shape.port,
            ..Default::default()
        };
        if shape.lends {
            let lent = ffi::IBV_ACCESS_REMOTE_READ | ffi::IBV_ACCESS_REMOTE_WRITE;
            attributes.qp_access_flags = lent;
        }
        let named = ffi::IBV_QP_STATE | ffi::IBV_QP_PKEY_INDEX | ffi::IBV_QP_PORT | ffi::IBV_QP_ACCESS_FLAGS;
        queue.modify(&mut attributes, named)?;
        Ok(Arc::new(queue))
    }

    /// By which its peer names it.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Connects it: from now on it serves its peer, and takes work.
    pub(super) fn connect(&self, path: &Path) -> Result<(), VerbError> {
        let mut attributes = ffi::ibv_qp_attr {
            qp_state: ffi::IBV_QPS_RTR,
            path_mtu: path.mtu.into(),
            dest_qp_num: path.number,
            rq_psn: path.first_theirs,
            max_dest_rd_atomic: path.answers,
            min_rnr_timer: RNR_TIMER,
            ..Default::default()
        };
        attributes.ah_attr.dlid = path.lid;
        attributes.ah_attr.port_num = path.port;
        if path.global {
            attributes.ah_attr.is_global = 1;
            attributes.ah_attr.grh.dgid = ffi::ibv_gid { raw: path.gid };
            attributes.ah_attr.grh.sgid_index = path.gid_index;
            attributes.ah_attr.grh.hop_limit = 64;
            attributes.ah_attr.grh.traffic_class = path.tclass;
        }
        let named = ffi::IBV_QP_STATE
            | ffi::IBV_QP_AV
            | ffi::IBV_QP_PATH_MTU
            | ffi::IBV_QP_DEST_QPN
            | ffi::IBV_QP_RQ_PSN
            | ffi::IBV_QP_MAX_DEST_RD_ATOMIC
            | ffi::IBV_QP_MIN_RNR_TIMER;
        self.modify(&mut attributes, named)?;
        let mut attributes = ffi::ibv_qp_attr {
            qp_state: ffi::IBV_QPS_RTS,
            timeout: path.patience,
            retry_cnt: RETRIES,
            rnr_retry: RNR_RETRIES,
            sq_psn: path.first_ours,
            max_rd_atomic: path.asks,
            ..Default::default()
        };
        let named = ffi::IBV_QP_STATE
            | ffi::IBV_QP_TIMEOUT
            | ffi::IBV_QP_RETRY_CNT
            | ffi::IBV_QP_RNR_RETRY
            | ffi::IBV_QP_SQ_PSN
            | ffi::IBV_QP_MAX_QP_RD_ATOMIC;
        self.modify(&mut attributes, named)
    }

    fn modify(&self, attributes: &mut ffi::ibv_qp_attr, named: i32) -> Result<(), VerbError> {
        let raw = self.raw.lock();
        let queue = raw.ok_or_else(destroyed)?;
        // SAFETY: the queue pair is not destroyed while the lock is held; `attributes` is a valid argument.
        done("ibv_modify_qp", unsafe {
            ffi::ibv_modify_qp(queue.as_ptr(), attributes, named)
        })
    }

    /// Posts a READ or WRITE.
    ///
    /// # Safety
    /// Until its completion came, or the queue pair was destroyed, `local` must lie in one of the queue's regions, and nothing
    /// else may write it (nor read it, if `verb` is READ).
    pub(super) unsafe fn transfer(
        &self,
        id: u64,
        verb: Verb,
        local: Local,
        remote: Remote,
    ) -> Result<(), VerbError> {
        let mut request = ffi::ibv_send_wr {
            opcode: match verb {
                Verb::Read => ffi::IBV_WR_RDMA_READ,
                Verb::Write => ffi::IBV_WR_RDMA_WRITE,
            },
            ..Default::default()
        };
        request.wr.remote_addr = remote.address;
        request.wr.rkey = remote.key;
        // SAFETY: as the caller promises.
        unsafe { self.request(id, request, local) }
    }

    /// Posts a SEND.
    ///
    /// # Safety
    /// As for [`QueuePair::transfer`] with a WRITE.
    pub(super) unsafe fn send(&self, id: u64, local: Local) -> Result<(), VerbError> {
        let request = ffi::ibv_send_wr {
            opcode: ffi::IBV_WR_SEND,
            ..Default::default()
        };
        // SAFETY: as the caller promises.
        unsafe { self.request(id, request, local) }
    }

    /// Posts a receive.
    ///
    /// # Safety
    /// As for [`QueuePair::transfer`] with a READ.
    pub(super) unsafe fn receive(&self, id: u64, local: Local) -> Result<(), VerbError> {
        let mut part = element(local);
        let mut request = ffi::ibv_recv_wr {
            wr_id: id,
            sg_list: &raw mut part,
            num_sge: 1,
            ..Default::default()
        };
        let mut bad = std::ptr::null_mut();
        let raw = self.raw.lock();
        let queue = raw.ok_or_else(destroyed)?;
        // SAFETY: the queue pair is not destroyed while the lock is held; the provider copies `request` and `part` before it
        // returns; the memory is as the caller promises.
        let posted = unsafe {
            let post = (*(*queue.as_ptr()).context).ops.post_recv;
            post.map(|post| post(queue.as_ptr(), &raw mut request, &raw mut bad))
        };
        done("ibv_post_recv", posted.unwrap_or(libc::ENOSYS))
    }

    /// # Safety
    /// As for [`QueuePair::transfer`].
    unsafe fn request(&self, id: u64, mut request: ffi::ibv_send_wr, local: Local) -> Result<(), VerbError> {
        let mut part = element(local);
        request.wr_id = id;
        request.sg_list = &raw mut part;
        request.num_sge = 1;
        request.send_flags = ffi::IBV_SEND_SIGNALED;
        let mut bad = std::ptr::null_mut();
        let raw = self.raw.lock();
        let queue = raw.ok_or_else(destroyed)?;
        // SAFETY: as in `receive`.
        let posted = unsafe {
            let post = (*(*queue.as_ptr()).context).ops.post_send;
            post.map(|post| post(queue.as_ptr(), &raw mut request, &raw mut bad))
        };
        done("ibv_post_send", posted.unwrap_or(libc::ENOSYS))
    }

    /// Destroys the queue pair: when this returns, the device touches no memory for it, and no packet of its peer is accepted
    /// any more. What was posted and not completed never completes. Idempotent.
    pub(super) fn destroy(&self) {
        let Some(queue) = self.raw.lock().take() else {
            return;
        };
        // SAFETY: made by `new`, and taken out of the lock, so nobody else uses it or will.
        let gone = unsafe { ffi::ibv_destroy_qp(queue.as_ptr()) };
        if let Err(error) = done("ibv_destroy_qp", gone) {
            // Only when the device itself is gone; the kernel has stopped its queue pairs then.
            tracing::error!(device = self.domain.device.name(), "{error}");
        }
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        self.destroy();
    }
}

fn element(local: Local) -> ffi::ibv_sge {
    ffi::ibv_sge {
        addr: local.address,
        length: local.len,
        lkey: local.key,
    }
}

fn destroyed() -> VerbError {
    VerbError {
        verb: "using a destroyed queue pair",
        source: io::Error::from_raw_os_error(libc::ENOTCONN),
    }
}
