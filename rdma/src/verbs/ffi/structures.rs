//! Structures of libibverbs. Those that the library makes end after the last field in use here and are only ever reached by
//! pointer; those that are made here, or filled by a call, are whole. Fields that begin with `_` stand for others of their size.
#![allow(missing_docs, reason = "the manual pages of libibverbs explain them")]
#![allow(non_camel_case_types, reason = "they are called as in C")]
#![allow(dead_code, reason = "a field that is not read has its place all the same")]

use std::ffi::{c_int, c_uint, c_void};
use std::marker::{PhantomData, PhantomPinned};

/// A pointer that is passed by.
type Opaque = *mut c_void;

/// Made by the library, and never looked into.
macro_rules! opaque {
    ($($name:ident)*) => {
        $(
            #[repr(C)]
            #[derive(Debug)]
            pub(in crate::verbs) struct $name {
                _private: [u8; 0],
                _marker: PhantomData<(*mut u8, PhantomPinned)>,
            }
        )*
    };
}

/// Structures as in C, all their fields visible to this folder.
macro_rules! structures {
    ($($(#[$note:meta])* struct $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$note])*
            #[repr(C)]
            pub(in crate::verbs) struct $name {
                $(pub(in crate::verbs) $field: $type,)*
            }
        )*
    };
}

opaque! { ibv_device ibv_pd }

// Made by the library; more fields follow.
structures! {
    /// A device, open.
    #[derive(Debug)]
    struct ibv_context {
        device: *mut ibv_device,
        ops: ibv_context_ops,
        cmd_fd: c_int,
        async_fd: c_int,
    }

    /// The provider's calls.
    #[derive(Debug)]
    struct ibv_context_ops {
        _before: [Opaque; 11],
        poll_cq: Option<unsafe extern "C" fn(*mut ibv_cq, c_int, *mut ibv_wc) -> c_int>,
        req_notify_cq: Option<unsafe extern "C" fn(*mut ibv_cq, c_int) -> c_int>,
        _between: [Opaque; 12],
        post_send: Option<unsafe extern "C" fn(*mut ibv_qp, *mut ibv_send_wr, *mut *mut ibv_send_wr) -> c_int>,
        post_recv: Option<unsafe extern "C" fn(*mut ibv_qp, *mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int>,
        _after: [Opaque; 5],
    }

    #[derive(Debug)]
    struct ibv_mr {
        context: *mut ibv_context,
        pd: *mut ibv_pd,
        addr: *mut c_void,
        length: usize,
        handle: u32,
        lkey: u32,
        rkey: u32,
    }

    #[derive(Debug)]
    struct ibv_comp_channel {
        context: *mut ibv_context,
        fd: c_int,
    }

    #[derive(Debug)]
    struct ibv_cq {
        context: *mut ibv_context,
    }

    #[derive(Debug)]
    struct ibv_qp {
        context: *mut ibv_context,
        qp_context: *mut c_void,
        pd: *mut ibv_pd,
        send_cq: *mut ibv_cq,
        recv_cq: *mut ibv_cq,
        srq: Opaque,
        handle: u32,
        qp_num: u32,
    }
}

// Made here: whole.
structures! {
    #[derive(Debug, Default)]
    struct ibv_qp_cap {
        max_send_wr: u32,
        max_recv_wr: u32,
        max_send_sge: u32,
        max_recv_sge: u32,
        max_inline_data: u32,
    }

    #[derive(Debug, Default)]
    struct ibv_qp_init_attr {
        qp_context: *mut c_void,
        send_cq: *mut ibv_cq,
        recv_cq: *mut ibv_cq,
        srq: Opaque,
        cap: ibv_qp_cap,
        qp_type: c_uint,
        sq_sig_all: c_int,
    }

    /// A union in C, aligned as its other arm of two numbers.
    #[derive(Clone, Copy, Debug, Default)]
    #[repr(align(8))]
    struct ibv_gid {
        raw: [u8; 16],
    }

    #[derive(Debug, Default)]
    struct ibv_global_route {
        dgid: ibv_gid,
        flow_label: u32,
        sgid_index: u8,
        hop_limit: u8,
        traffic_class: u8,
    }

    #[derive(Debug, Default)]
    struct ibv_ah_attr {
        grh: ibv_global_route,
        dlid: u16,
        sl: u8,
        src_path_bits: u8,
        static_rate: u8,
        is_global: u8,
        port_num: u8,
    }

    #[derive(Debug, Default)]
    struct ibv_qp_attr {
        qp_state: c_uint,
        cur_qp_state: c_uint,
        path_mtu: c_uint,
        path_mig_state: c_uint,
        qkey: u32,
        rq_psn: u32,
        sq_psn: u32,
        dest_qp_num: u32,
        qp_access_flags: c_int,
        cap: ibv_qp_cap,
        ah_attr: ibv_ah_attr,
        alt_ah_attr: ibv_ah_attr,
        pkey_index: u16,
        alt_pkey_index: u16,
        en_sqd_async_notify: u8,
        sq_draining: u8,
        max_rd_atomic: u8,
        max_dest_rd_atomic: u8,
        min_rnr_timer: u8,
        port_num: u8,
        timeout: u8,
        retry_cnt: u8,
        rnr_retry: u8,
        alt_port_num: u8,
        alt_timeout: u8,
        rate_limit: u32,
    }

    #[derive(Debug, Default)]
    struct ibv_sge {
        addr: u64,
        length: u32,
        lkey: u32,
    }

    #[derive(Debug, Default)]
    struct ibv_send_wr {
        wr_id: u64,
        next: *mut ibv_send_wr,
        sg_list: *mut ibv_sge,
        num_sge: c_int,
        opcode: c_uint,
        send_flags: c_uint,
        _imm_data: u32,
        wr: ibv_send_wr_rdma,
        _qp_type_and_bind_mw: [u64; 7],
    }

    /// The arm `rdma` of the union `wr`.
    #[derive(Debug, Default)]
    struct ibv_send_wr_rdma {
        remote_addr: u64,
        rkey: u32,
        _longer_arms: [u32; 5],
    }

    #[derive(Debug, Default)]
    struct ibv_recv_wr {
        wr_id: u64,
        next: *mut ibv_recv_wr,
        sg_list: *mut ibv_sge,
        num_sge: c_int,
    }
}

// Filled by a call: whole.
structures! {
    /// A completion. All but `wr_id`, `status` and `vendor_err` is valid only when `status` is success.
    #[derive(Clone, Copy, Debug, Default)]
    struct ibv_wc {
        wr_id: u64,
        status: c_uint,
        opcode: c_uint,
        vendor_err: u32,
        byte_len: u32,
        _imm_data: u32,
        qp_num: u32,
        src_qp: u32,
        wc_flags: c_uint,
        pkey_index: u16,
        slid: u16,
        sl: u8,
        dlid_path_bits: u8,
    }

    #[derive(Debug)]
    struct ibv_device_attr {
        _fw_ver_and_guids: [u64; 10],
        max_mr_size: u64,
        page_size_cap: u64,
        vendor_id: u32,
        vendor_part_id: u32,
        hw_ver: u32,
        max_qp: c_int,
        max_qp_wr: c_int,
        device_cap_flags: c_uint,
        max_sge: c_int,
        max_sge_rd: c_int,
        max_cq: c_int,
        max_cqe: c_int,
        max_mr: c_int,
        max_pd: c_int,
        max_qp_rd_atom: c_int,
        max_ee_rd_atom: c_int,
        max_res_rd_atom: c_int,
        max_qp_init_rd_atom: c_int,
        _up_to_max_srq_sge: [c_int; 16],
        max_pkeys: u16,
        local_ca_ack_delay: u8,
        phys_port_cnt: u8,
    }

    #[derive(Debug, Default)]
    struct ibv_port_attr {
        state: c_uint,
        max_mtu: c_uint,
        active_mtu: c_uint,
        gid_tbl_len: c_int,
        port_cap_flags: u32,
        max_msg_sz: u32,
        bad_pkey_cntr: u32,
        qkey_viol_cntr: u32,
        pkey_tbl_len: u16,
        lid: u16,
        sm_lid: u16,
        lmc: u8,
        max_vl_num: u8,
        sm_sl: u8,
        subnet_timeout: u8,
        init_type_reply: u8,
        active_width: u8,
        active_speed: u8,
        phys_state: u8,
        link_layer: u8,
        flags: u8,
        port_cap_flags2: u16,
    }

    #[derive(Debug, Default)]
    struct ibv_gid_entry {
        gid: ibv_gid,
        gid_index: u32,
        port_num: u32,
        gid_type: u32,
        ndev_ifindex: u32,
    }

    struct ibv_async_event {
        element: ibv_async_element,
        event_type: c_uint,
    }
}

/// What an event is about: its type says which.
#[repr(C)]
#[derive(Clone, Copy)]
pub(in crate::verbs) union ibv_async_element {
    pub(in crate::verbs) qp: *mut ibv_qp,
    pub(in crate::verbs) port_num: c_int,
}

impl ibv_wc {
    /// Why the work failed, if it did.
    pub(in crate::verbs) fn error(&self) -> Option<c_uint> {
        (self.status != super::IBV_WC_SUCCESS).then_some(self.status)
    }

    /// Bytes that were moved.
    pub(in crate::verbs) fn len(&self) -> usize {
        usize::try_from(self.byte_len).unwrap_or(usize::MAX)
    }
}

impl Default for ibv_async_event {
    fn default() -> Self {
        let qp = std::ptr::null_mut();
        Self {
            element: ibv_async_element { qp },
            event_type: 0,
        }
    }
}

impl ibv_device_attr {
    /// Nothing known yet.
    pub(in crate::verbs) fn empty() -> Self {
        // SAFETY: each field is a number, or an array of them, for which all zeros is a value.
        unsafe { std::mem::zeroed() }
    }
}
