//! The memory nodes of this host: those that have a control socket in the run directory and answer there.

use crate::failure::Failure;
use rdmafs_fs::control::{NodeError, NodeReply, NodeRequest, NodeStatus, ask_node_within, node_ports};
use rdmafs_fs::options::DEFAULT_PORT;
use rdmafs_fs::shown::shown;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A node of this host.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its port.
    pub(crate) port: u16,
    /// What it says of itself; `None`: it does not answer.
    pub(crate) status: Option<NodeStatus>,
}

impl Node {
    /// `127.0.0.1:7470 (pool 'p')`.
    pub(crate) fn name(&self) -> String {
        match &self.status {
            Some(status) => format!("{} (pool '{}')", status.node, status.pool),
            None => format!("port {} (it does not answer)", self.port),
        }
    }
}

/// All of them, in the order of their ports. They are asked side by side. Blocking: for `patience` where one does not answer.
///
/// # Errors
/// One line: the caller may not ask.
pub(crate) fn nodes(run_dir: &Path, patience: Duration) -> Result<Vec<Node>, Failure> {
    let ask = |port| {
        let status = match ask_node_within(run_dir, port, &NodeRequest::Status, patience) {
            Ok(NodeReply::Status(status)) => Some(status),
            Ok(other) => return Err(Failure::system(unexpected(&other))),
            // It ends at this moment, or died and left its socket.
            Err(NodeError::None(_)) => return Ok(None),
            Err(error @ NodeError::Denied(_)) => return Err(Failure::usage(error.to_string())),
            Err(error @ NodeError::Distrust(_)) => return Err(Failure::system(error.to_string())),
            Err(NodeError::Silent(..) | NodeError::Talk(..)) => None,
        };
        Ok(Some(Node { port, status }))
    };
    let ports = node_ports(run_dir).map_err(Failure::system)?;
    thread::scope(|scope| {
        let asked: Vec<_> = ports
            .into_iter()
            .map(|port| scope.spawn(move || ask(port)))
            .collect();
        let answers = asked.into_iter().map(|client| {
            let broken = || Failure::system("a thread that asks a node has panicked".to_owned());
            client.join().unwrap_or_else(|_| Err(broken()))
        });
        answers.filter_map(Result::transpose).collect()
    })
}

/// The node that a person means: the only one of this host, or the one of that port, address, or source of a mount.
///
/// # Errors
/// One line: there is none, or it is not said which.
pub(crate) fn meant(nodes: Vec<Node>, word: Option<&str>, run_dir: &Path) -> Result<Node, Failure> {
    let names: Vec<String> = nodes.iter().map(Node::name).collect();
    let names = names.join(", ");
    let there = if names.is_empty() {
        format!("there is none in {}", shown(&run_dir))
    } else {
        format!("there is {names}")
    };
    let Some(word) = word else {
        let mut nodes = nodes.into_iter();
        return match (nodes.next(), nodes.next()) {
            (Some(node), None) => Ok(node),
            (None, _) => Err(Failure::system(format!(
                "no memory node of this host runs ({there}): give nothing where it runs"
            ))),
            (Some(_), Some(_)) => Err(Failure::usage(format!(
                "this host has several memory nodes: say which by its port ({names})"
            ))),
        };
    };
    let wanted = Wanted::parse(word).ok_or_else(|| {
        Failure::usage(format!(
            "'{word}' names no node: give its port, or ADDRESS:PORT as 'serve --listen' has it"
        ))
    })?;
    let found = nodes.into_iter().find(|node| wanted.is(node));
    found.ok_or_else(|| {
        Failure::system(format!(
            "no memory node of this host serves on {} ({there}): a node is ended on its own host",
            wanted.shown()
        ))
    })
}

/// Which node is wanted.
struct Wanted {
    host: Option<String>,
    port: u16,
    pool: Option<String>,
}

impl Wanted {
    /// `7470`, `10.0.0.1`, `[::1]:7470`, `node1:7470:/pool`.
    fn parse(word: &str) -> Option<Self> {
        let (node, pool) = match word.split_once(":/") {
            Some((node, pool)) => (node, Some(pool.to_owned())),
            None => (word, None),
        };
        if let Ok(port) = node.parse() {
            return Some(Self {
                host: None,
                port,
                pool,
            });
        }
        let (host, port) = match node.rsplit_once(':') {
            Some((host, port)) if !node.ends_with(']') && (!host.contains(':') || host.starts_with('[')) => {
                (host, port.parse().ok()?)
            }
            _ => (node, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| Self {
            host: Some(host.to_owned()),
            port,
            pool,
        })
    }

    fn shown(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}, port {}", self.port),
            None => format!("port {}", self.port),
        }
    }

    fn is(&self, node: &Node) -> bool {
        if node.port != self.port {
            return false;
        }
        let Some(status) = &node.status else {
            return true;
        };
        let pool = self.pool.as_ref().is_none_or(|pool| *pool == status.pool);
        pool && self.host.as_ref().is_none_or(|host| leads_to(host, &status.node))
    }
}

/// Whether a host's name or address leads to where a node of this host listens.
fn leads_to(host: &str, node: &str) -> bool {
    let Ok(node) = node.parse::<SocketAddr>() else {
        return false;
    };
    let found = (host, node.port()).to_socket_addrs().into_iter().flatten();
    let is_ours = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    found
        .map(|address| address.ip())
        .any(|ip| ip == node.ip() || (node.ip().is_unspecified() && is_ours(ip)))
}

/// The answer does not fit the request: the two programs are of different versions.
pub(crate) fn unexpected(reply: &NodeReply) -> String {
    match reply {
        NodeReply::Error(line) => line.clone(),
        _ => "the node's answer does not fit: it is of another version of rdmafs (end it with SIGTERM)"
            .to_owned(),
    }
}

/// Any word names a node with a host, or one by its port, or none.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(word: &str) {
    if let Some(wanted) = Wanted::parse(word) {
        assert!(wanted.host.as_ref().is_none_or(|host| !host.is_empty()));
        assert!(wanted.shown().contains("port"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str, pool: &str) -> Node {
        let address: SocketAddr = address.parse().unwrap();
        let status = NodeStatus {
            node: address.to_string(),
            pool: pool.to_owned(),
            ..NodeStatus::default()
        };
        Node {
            port: address.port(),
            status: Some(status),
        }
    }

    fn port(nodes: &[Node], word: Option<&str>) -> Result<u16, String> {
        let meant = meant(nodes.to_vec(), word, Path::new("/run/x"));
        meant.map(|node| node.port).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_only_node_needs_no_name_and_one_of_several_does() {
        let (a, b) = (node("127.0.0.1:7470", "p"), node("0.0.0.0:7471", "q"));
        assert!(
            port(&[], None)
                .unwrap_err()
                .contains("no memory node of this host runs")
        );
        assert_eq!(port(std::slice::from_ref(&b), None), Ok(7471));
        let several = port(&[a.clone(), b.clone()], None).unwrap_err();
        assert!(
            several.contains("say which") && several.contains("127.0.0.1:7470 (pool 'p')"),
            "{several}"
        );
        let nodes = [a, b];
        for (word, found) in [
            ("7470", 7470),
            ("127.0.0.1", 7470),
            ("localhost:7470", 7470),
            ("127.0.0.1:/p", 7470),
            ("127.0.0.1:7471:/q", 7471),
            ("7471", 7471),
        ] {
            assert_eq!(port(&nodes, Some(word)), Ok(found), "{word}");
        }
        for word in [
            "7472",
            "192.0.2.1:7470",
            "192.0.2.1:7471",
            "127.0.0.1:/other",
            "[::1]:7470",
        ] {
            let line = port(&nodes, Some(word)).unwrap_err();
            assert!(
                line.starts_with("no memory node of this host serves on "),
                "{line}"
            );
        }
        for word in ["", ":", "a:b", ":/p"] {
            assert!(
                port(&nodes, Some(word)).unwrap_err().contains("names no node"),
                "{word}"
            );
        }
    }
}
