//! Functions of libibverbs. What each does, returns and asks for stands in its manual page.
//!
//! The library is named whole, `libibverbs.so.1`, so that linking needs no development package.

use super::{
    ibv_async_event, ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_device_attr, ibv_gid_entry,
    ibv_mr, ibv_pd, ibv_port_attr, ibv_qp, ibv_qp_attr, ibv_qp_init_attr,
};
use std::ffi::{c_char, c_int, c_uint, c_void};

/// Declares functions, and lists their names for the test.
macro_rules! calls {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $answer:ty)?;)*) => {
        #[link(name = "libibverbs.so.1", kind = "dylib", modifiers = "+verbatim")]
        unsafe extern "C" {
            $(pub(in crate::verbs) fn $name($($argument: $type),*) $(-> $answer)?;)*
        }
        /// Each function.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

calls! {
    fn ibv_get_device_list(count: *mut c_int) -> *mut *mut ibv_device;
    fn ibv_free_device_list(list: *mut *mut ibv_device);
    fn ibv_get_device_name(device: *mut ibv_device) -> *const c_char;
    fn ibv_open_device(device: *mut ibv_device) -> *mut ibv_context;
    fn ibv_close_device(context: *mut ibv_context) -> c_int;
    fn ibv_query_device(context: *mut ibv_context, into: *mut ibv_device_attr) -> c_int;
    // The header's type is an older, shorter `_compat_ibv_port_attr`, of which `ibv_port_attr` is an extension.
    fn ibv_query_port(context: *mut ibv_context, port: u8, into: *mut ibv_port_attr) -> c_int;
    fn _ibv_query_gid_ex(
        context: *mut ibv_context,
        port: u32,
        index: u32,
        into: *mut ibv_gid_entry,
        flags: u32,
        size: usize
    ) -> c_int;
    fn ibv_get_async_event(context: *mut ibv_context, into: *mut ibv_async_event) -> c_int;
    fn ibv_ack_async_event(event: *mut ibv_async_event);
    fn ibv_alloc_pd(context: *mut ibv_context) -> *mut ibv_pd;
    fn ibv_dealloc_pd(domain: *mut ibv_pd) -> c_int;
    fn ibv_reg_mr(domain: *mut ibv_pd, start: *mut c_void, len: usize, access: c_int) -> *mut ibv_mr;
    fn ibv_dereg_mr(region: *mut ibv_mr) -> c_int;
    fn ibv_create_comp_channel(context: *mut ibv_context) -> *mut ibv_comp_channel;
    fn ibv_destroy_comp_channel(channel: *mut ibv_comp_channel) -> c_int;
    fn ibv_create_cq(
        context: *mut ibv_context,
        depth: c_int,
        user: *mut c_void,
        channel: *mut ibv_comp_channel,
        vector: c_int
    ) -> *mut ibv_cq;
    fn ibv_destroy_cq(queue: *mut ibv_cq) -> c_int;
    fn ibv_get_cq_event(channel: *mut ibv_comp_channel, queue: *mut *mut ibv_cq, user: *mut *mut c_void) -> c_int;
    fn ibv_ack_cq_events(queue: *mut ibv_cq, count: c_uint);
    fn ibv_create_qp(domain: *mut ibv_pd, wanted: *mut ibv_qp_init_attr) -> *mut ibv_qp;
    fn ibv_modify_qp(queue: *mut ibv_qp, to: *mut ibv_qp_attr, named: c_int) -> c_int;
    fn ibv_destroy_qp(queue: *mut ibv_qp) -> c_int;
}
