//! Two ends that speak different versions of the protocol.

use crate::rig::{Client, Rig, WAYS, connect};
use rdmafs_rdma::fabric::ConnectError;
use rdmafs_rdma::protocol::{Negotiated, Protocol, Versions};

fn speaks(oldest: u16, newest: u16, features: u64) -> Protocol {
    let versions = Versions::new(oldest, newest).unwrap();
    Protocol { versions, features }
}

#[test]
fn both_ends_know_the_highest_common_version_and_the_common_features() {
    for way in WAYS {
        let rig = Rig::speaking(speaks(2, 4, 0b011));
        let mut target = rig.target(way);
        target.protocol = speaks(1, 3, 0b110);
        let mut client = Client::connect(way, &target);
        let wanted = Negotiated {
            version: 3,
            features: 0b010,
        };
        assert_eq!(client.endpoint.facts().negotiated, wanted);
        assert_eq!(rig.peer_handler.peer().identity().negotiated, wanted);
        client.write(8, &[7; 8]).unwrap();
        assert_eq!(rig.bytes(8, 8), [7; 8]);
    }
}

#[test]
fn without_a_common_version_nobody_arrives_and_the_line_says_whom_to_upgrade() {
    for (node, host, where_to) in [
        ((3, 4), (1, 2), "on this host"),
        ((1, 1), (2, 5), "on the node's host"),
    ] {
        for way in WAYS {
            let rig = Rig::speaking(speaks(node.0, node.1, 0));
            let mut target = rig.target(way);
            target.protocol = speaks(host.0, host.1, 0);
            let error = connect(way, &target).err().expect("nothing is common");
            assert!(matches!(error, ConnectError::NoCommonVersion { .. }), "{error}");
            let (theirs, ours) = (shown(node), shown(host));
            let wanted = format!(
                "{} speaks protocol {theirs}, this host {ours}: upgrade rdmafs {where_to}",
                target.address()
            );
            assert_eq!(error.to_string(), wanted);
            rig.server.close();
            rig.peer_handler
                .until("nobody has arrived", |books| books.arrived == 0);
        }
    }
}

fn shown((oldest, newest): (u16, u16)) -> String {
    if oldest == newest {
        format!("version {oldest}")
    } else {
        format!("versions {oldest} to {newest}")
    }
}
