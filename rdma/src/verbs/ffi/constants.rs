//! Values of the enumerations of libibverbs. Flags have the type of the field or argument that takes them.
#![allow(missing_docs, reason = "the manual pages of libibverbs explain them")]

use std::ffi::{c_int, c_uint};

/// Defines constants, and lists their names and values for the test.
macro_rules! constants {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $(pub(in crate::verbs) const $name: $type = $value;)*
        /// Each constant and its value.
        #[cfg(test)]
        pub(super) fn all() -> Vec<(&'static str, i64)> {
            vec![$((stringify!($name), i64::from($name))),*]
        }
    };
}

constants! {
    IBV_ACCESS_LOCAL_WRITE: c_int = 1;
    IBV_ACCESS_REMOTE_WRITE: c_int = 1 << 1;
    IBV_ACCESS_REMOTE_READ: c_int = 1 << 2;

    IBV_EVENT_QP_FATAL: c_uint = 1;
    IBV_EVENT_QP_REQ_ERR: c_uint = 2;
    IBV_EVENT_QP_ACCESS_ERR: c_uint = 3;
    IBV_EVENT_DEVICE_FATAL: c_uint = 8;
    IBV_EVENT_PORT_ACTIVE: c_uint = 9;
    IBV_EVENT_PORT_ERR: c_uint = 10;

    IBV_GID_TYPE_ROCE_V1: u32 = 1;
    IBV_GID_TYPE_ROCE_V2: u32 = 2;
    IBV_LINK_LAYER_ETHERNET: u8 = 2;
    IBV_PORT_ACTIVE: c_uint = 4;

    IBV_QPS_INIT: c_uint = 1;
    IBV_QPS_RTR: c_uint = 2;
    IBV_QPS_RTS: c_uint = 3;
    IBV_QPT_RC: c_uint = 2;

    IBV_QP_STATE: c_int = 1;
    IBV_QP_ACCESS_FLAGS: c_int = 1 << 3;
    IBV_QP_PKEY_INDEX: c_int = 1 << 4;
    IBV_QP_PORT: c_int = 1 << 5;
    IBV_QP_AV: c_int = 1 << 7;
    IBV_QP_PATH_MTU: c_int = 1 << 8;
    IBV_QP_TIMEOUT: c_int = 1 << 9;
    IBV_QP_RETRY_CNT: c_int = 1 << 10;
    IBV_QP_RNR_RETRY: c_int = 1 << 11;
    IBV_QP_RQ_PSN: c_int = 1 << 12;
    IBV_QP_MAX_QP_RD_ATOMIC: c_int = 1 << 13;
    IBV_QP_MIN_RNR_TIMER: c_int = 1 << 15;
    IBV_QP_SQ_PSN: c_int = 1 << 16;
    IBV_QP_MAX_DEST_RD_ATOMIC: c_int = 1 << 17;
    IBV_QP_DEST_QPN: c_int = 1 << 20;

    IBV_SEND_SIGNALED: c_uint = 1 << 1;
    IBV_WR_RDMA_WRITE: c_uint = 0;
    IBV_WR_SEND: c_uint = 2;
    IBV_WR_RDMA_READ: c_uint = 4;

    IBV_WC_SUCCESS: c_uint = 0;
    IBV_WC_WR_FLUSH_ERR: c_uint = 5;
    IBV_WC_REM_INV_REQ_ERR: c_uint = 9;
    IBV_WC_REM_ACCESS_ERR: c_uint = 10;
    IBV_WC_REM_OP_ERR: c_uint = 11;
    IBV_WC_RETRY_EXC_ERR: c_uint = 12;
    IBV_WC_RNR_RETRY_EXC_ERR: c_uint = 13;
    IBV_WC_REM_ABORT_ERR: c_uint = 16;
    IBV_WC_FATAL_ERR: c_uint = 19;
}
