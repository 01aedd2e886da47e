//! The bindings against the header, which a C compiler reads.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use super::*;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

/// A C expression, and what Rust says that it is.
type Fact = (String, i64);

fn size<S, F>(_: impl Fn(S) -> F) -> usize {
    size_of::<F>()
}

fn fact(c: String, rust: usize) -> Fact {
    (c, i64::try_from(rust).unwrap())
}

/// Offset and size of fields, that C calls as Rust does unless it is said otherwise.
macro_rules! fields {
    ($facts:ident, $name:ident: $($field:ident $(as $c:literal)?),*) => {
        $({
            let c = [$($c,)? stringify!($field)][0];
            let structure = stringify!($name);
            $facts.push(fact(format!("offsetof(struct {structure}, {c})"), offset_of!($name, $field)));
            $facts.push(fact(format!("sizeof(((struct {structure} *)0)->{c})"), size(|s: $name| s.$field)));
        })*
    };
}

/// Offset and size of all fields of a structure that is made here, and its own size. Each field must be named (`hidden` ones stand for
/// several).
macro_rules! whole {
    ($facts:ident, $name:ident: $($field:ident $(as $c:literal)?),* $(; hidden $($hidden:ident),*)?) => {
        let _every_field = |all: $name| {
            let $name { $($field: _,)* $($($hidden: _),*)? } = all;
        };
        $facts.push(fact(format!("sizeof(struct {})", stringify!($name)), size_of::<$name>()));
        fields!($facts, $name: $($field $(as $c)?),*);
    };
}

fn facts() -> Vec<Fact> {
    let mut facts: Vec<Fact> = super::constants::all()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    fields!(facts, ibv_context: device, ops, cmd_fd, async_fd);
    fields!(facts, ibv_context_ops: poll_cq, req_notify_cq, post_send, post_recv);
    facts.push(fact(
        "sizeof(struct ibv_context_ops)".into(),
        size_of::<ibv_context_ops>(),
    ));
    fields!(facts, ibv_mr: context, pd, addr, length, handle, lkey, rkey);
    fields!(facts, ibv_comp_channel: context, fd);
    fields!(facts, ibv_cq: context);
    fields!(facts, ibv_qp: context, qp_context, pd, send_cq, recv_cq, srq, handle, qp_num);
    whole!(facts, ibv_qp_cap: max_send_wr, max_recv_wr, max_send_sge, max_recv_sge, max_inline_data);
    whole!(facts, ibv_qp_init_attr: qp_context, send_cq, recv_cq, srq, cap, qp_type, sq_sig_all);
    whole!(facts, ibv_global_route: dgid, flow_label, sgid_index, hop_limit, traffic_class);
    whole!(facts, ibv_ah_attr: grh, dlid, sl, src_path_bits, static_rate, is_global, port_num);
    whole!(facts, ibv_qp_attr: qp_state, cur_qp_state, path_mtu, path_mig_state, qkey, rq_psn, sq_psn, dest_qp_num,
        qp_access_flags, cap, ah_attr, alt_ah_attr, pkey_index, alt_pkey_index, en_sqd_async_notify, sq_draining,
        max_rd_atomic, max_dest_rd_atomic, min_rnr_timer, port_num, timeout, retry_cnt, rnr_retry, alt_port_num,
        alt_timeout, rate_limit);
    whole!(facts, ibv_sge: addr, length, lkey);
    whole!(facts, ibv_send_wr: wr_id, next, sg_list, num_sge, opcode, send_flags, _imm_data as "imm_data", wr;
        hidden _qp_type_and_bind_mw);
    for (c, rust) in [
        ("remote_addr", offset_of!(ibv_send_wr, wr.remote_addr)),
        ("rkey", offset_of!(ibv_send_wr, wr.rkey)),
    ] {
        facts.push(fact(format!("offsetof(struct ibv_send_wr, wr.rdma.{c})"), rust));
    }
    whole!(facts, ibv_recv_wr: wr_id, next, sg_list, num_sge);
    whole!(facts, ibv_wc: wr_id, status, opcode, vendor_err, byte_len, _imm_data as "imm_data", qp_num, src_qp, wc_flags,
        pkey_index, slid, sl, dlid_path_bits);
    whole!(facts, ibv_device_attr: max_mr_size, page_size_cap, vendor_id, vendor_part_id, hw_ver, max_qp, max_qp_wr,
        device_cap_flags, max_sge, max_sge_rd, max_cq, max_cqe, max_mr, max_pd, max_qp_rd_atom, max_ee_rd_atom,
        max_res_rd_atom, max_qp_init_rd_atom, max_pkeys, local_ca_ack_delay, phys_port_cnt;
        hidden _fw_ver_and_guids, _up_to_max_srq_sge);
    whole!(facts, ibv_port_attr: state, max_mtu, active_mtu, gid_tbl_len, port_cap_flags, max_msg_sz, bad_pkey_cntr,
        qkey_viol_cntr, pkey_tbl_len, lid, sm_lid, lmc, max_vl_num, sm_sl, subnet_timeout, init_type_reply, active_width,
        active_speed, phys_state, link_layer, flags, port_cap_flags2);
    whole!(facts, ibv_gid_entry: gid, gid_index, port_num, gid_type, ndev_ifindex);
    whole!(facts, ibv_async_event: element, event_type);
    facts.push(fact("sizeof(union ibv_gid)".into(), size_of::<ibv_gid>()));
    facts.push(fact("_Alignof(union ibv_gid)".into(), align_of::<ibv_gid>()));
    facts
}

/// The functions' types, as `calls` has them: a compiler refuses an assignment of another type.
const CALLS: &str = r"
struct ibv_device **(*_ibv_get_device_list)(int *) = ibv_get_device_list;
void (*_ibv_free_device_list)(struct ibv_device **) = ibv_free_device_list;
const char *(*_ibv_get_device_name)(struct ibv_device *) = ibv_get_device_name;
struct ibv_context *(*_ibv_open_device)(struct ibv_device *) = ibv_open_device;
int (*_ibv_close_device)(struct ibv_context *) = ibv_close_device;
int (*_ibv_query_device)(struct ibv_context *, struct ibv_device_attr *) = ibv_query_device;
int (*_ibv_query_port)(struct ibv_context *, uint8_t, struct _compat_ibv_port_attr *) = (ibv_query_port);
int (*__ibv_query_gid_ex)(struct ibv_context *, uint32_t, uint32_t, struct ibv_gid_entry *, uint32_t, size_t) = _ibv_query_gid_ex;
int (*_ibv_get_async_event)(struct ibv_context *, struct ibv_async_event *) = ibv_get_async_event;
void (*_ibv_ack_async_event)(struct ibv_async_event *) = ibv_ack_async_event;
struct ibv_pd *(*_ibv_alloc_pd)(struct ibv_context *) = ibv_alloc_pd;
int (*_ibv_dealloc_pd)(struct ibv_pd *) = ibv_dealloc_pd;
struct ibv_mr *(*_ibv_reg_mr)(struct ibv_pd *, void *, size_t, int) = (ibv_reg_mr);
int (*_ibv_dereg_mr)(struct ibv_mr *) = ibv_dereg_mr;
struct ibv_comp_channel *(*_ibv_create_comp_channel)(struct ibv_context *) = ibv_create_comp_channel;
int (*_ibv_destroy_comp_channel)(struct ibv_comp_channel *) = ibv_destroy_comp_channel;
struct ibv_cq *(*_ibv_create_cq)(struct ibv_context *, int, void *, struct ibv_comp_channel *, int) = ibv_create_cq;
int (*_ibv_destroy_cq)(struct ibv_cq *) = ibv_destroy_cq;
int (*_ibv_get_cq_event)(struct ibv_comp_channel *, struct ibv_cq **, void **) = ibv_get_cq_event;
void (*_ibv_ack_cq_events)(struct ibv_cq *, unsigned int) = ibv_ack_cq_events;
struct ibv_qp *(*_ibv_create_qp)(struct ibv_pd *, struct ibv_qp_init_attr *) = ibv_create_qp;
int (*_ibv_modify_qp)(struct ibv_qp *, struct ibv_qp_attr *, int) = ibv_modify_qp;
int (*_ibv_destroy_qp)(struct ibv_qp *) = ibv_destroy_qp;
static void provider(struct ibv_context_ops *ops) {
    int (*poll_cq)(struct ibv_cq *, int, struct ibv_wc *) = ops->poll_cq;
    int (*req_notify_cq)(struct ibv_cq *, int) = ops->req_notify_cq;
    int (*post_send)(struct ibv_qp *, struct ibv_send_wr *, struct ibv_send_wr **) = ops->post_send;
    int (*post_recv)(struct ibv_qp *, struct ibv_recv_wr *, struct ibv_recv_wr **) = ops->post_recv;
    (void)poll_cq; (void)req_notify_cq; (void)post_send; (void)post_recv;
}
";

/// Compiles and runs a C program against the header; what it prints, or what the compiler says.
fn run(program: &str) -> Result<String, String> {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("facts.c");
    std::fs::write(&source, program).unwrap();
    let binary = work.path().join("facts");
    let built = Command::new("cc")
        .args(["-std=gnu11", "-Werror", "-Wno-unused-function", "-o"])
        .arg(&binary)
        .arg(&source)
        .args(["-l:libibverbs.so.1"])
        .output()
        .unwrap();
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let ran = Command::new(&binary).output().unwrap();
    Ok(String::from_utf8(ran.stdout).unwrap())
}

fn program(facts: &[Fact], calls: &str) -> String {
    let mut text = String::from("#include <stddef.h>\n#include <stdio.h>\n#include <infiniband/verbs.h>\n");
    text.push_str(calls);
    text.push_str("int main(void) {\n");
    for (c, _) in facts {
        writeln!(text, "printf(\"%lld\\n\", (long long)({c}));").unwrap();
    }
    text.push_str("(void)provider; return 0; }\n");
    text
}

#[test]
fn the_bindings_are_those_of_the_header() {
    assert!(
        Path::new("/usr/include/infiniband/verbs.h").exists(),
        "nothing to compare with: install libibverbs-dev"
    );
    let facts = facts();
    let said = run(&program(&facts, CALLS)).unwrap();
    let said: Vec<i64> = said.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(said.len(), facts.len());
    let wrong: Vec<String> = facts
        .iter()
        .zip(said)
        .filter(|((_, rust), c)| rust != c)
        .map(|((expression, rust), c)| format!("{expression} is {c}, here {rust}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for name in super::calls::NAMES {
        assert!(
            CALLS.contains(&format!("(*_{name})(")),
            "the type of {name} is not compared"
        );
    }
}

#[test]
fn a_wrong_type_of_a_call_is_noticed() {
    let wrong = CALLS.replace(
        "(*_ibv_reg_mr)(struct ibv_pd *, void *, size_t, int)",
        "(*_ibv_reg_mr)(struct ibv_pd *, void *, int)",
    );
    assert_ne!(wrong, CALLS);
    let refused = run(&program(&[], &wrong)).unwrap_err();
    assert!(refused.contains("_ibv_reg_mr"), "{refused}");
}
