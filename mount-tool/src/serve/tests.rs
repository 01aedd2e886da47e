//! What `serve` makes of its words, and the lines that it says.

use super::*;
use clap::Parser;
use rdmafs_fs::shown::shown;

#[derive(Parser)]
struct Wrapper {
    #[command(flatten)]
    args: Args,
}

fn said(words: &[&str]) -> Args {
    let always = ["serve", "--pool", "p", "--memory", "1G"];
    Wrapper::try_parse_from(always.iter().chain(words)).unwrap().args
}

#[test]
fn the_exit_code_says_whether_it_ever_served() {
    use crate::failure::Code;
    let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let before = ServeError::Path {
        path: "/s".into(),
        source: gone(),
    };
    assert_eq!(failure(&before).code, Code::Usage);
    assert_eq!(failure(&ServeError::BlockSignals(gone())).code, Code::Usage);
    assert_eq!(failure(&ServeError::AwaitSignals(gone())).code, Code::System);
    assert_eq!(failure(&node::StopError::Store.into()).code, Code::System);
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = resolve(said(&[])).unwrap();
    assert_eq!(
        (config.memory, config.listen.to_string().as_str()),
        (1 << 30, "127.0.0.1:7470")
    );
    assert!(
        [FabricKind::Shm, FabricKind::Tcp]
            .iter()
            .all(|kind| config.fabrics.contains(kind))
    );
    assert_eq!(config.device, None);
    assert_eq!(config.key, Path::new("/etc/rdmafs/p.key"));
    assert_eq!((config.root_owner, config.root_mode), ((0, 0), 0o755));
    assert_eq!((config.state, config.lease), (None, Duration::from_secs(10)));
    assert_eq!(config.sessions, 256);
}

#[test]
fn a_device_needs_verbs() {
    let refused = resolve(said(&["--fabric", "tcp", "--device", "mlx5_0"])).unwrap_err();
    assert!(refused.to_string().starts_with("--device"), "{refused}");
    #[cfg(feature = "verbs")]
    {
        let config = resolve(said(&["--device", "mlx5_0"])).unwrap();
        assert!(config.fabrics.contains(&FabricKind::Verbs));
        let args = said(&["--fabric", "verbs", "--device", "mlx5_0"]);
        let words = foreground_words(&args, &resolve(args.clone()).unwrap());
        let anew = Wrapper::try_parse_from(words).unwrap().args;
        assert_eq!(anew.device.as_deref(), Some("mlx5_0"));
    }
}

#[test]
fn the_daemon_is_notified_the_same() {
    let args = said(&[
        "--listen",
        "[::1]:99",
        "--fabric",
        "tcp",
        "--state",
        "/s",
        "--new",
        "--key",
        "k",
        "--root-owner",
        "1:2",
        "--root-mode",
        "1777",
        "--lease",
        "2s",
        "--sessions",
        "7",
        "--drain",
        "1500ms",
    ]);
    let config = resolve(args.clone()).unwrap();
    assert!(config.key.is_absolute() && config.state.as_ref().unwrap().is_absolute());
    let words = foreground_words(&args, &config);
    let anew = Wrapper::try_parse_from(words).unwrap().args;
    assert!(anew.foreground);
    assert_eq!(format!("{:?}", resolve(anew).unwrap()), format!("{config:?}"));
}

#[test]
fn ready_says_the_exact_mount_line() {
    let ready = Ready {
        address: "127.0.0.1:7470".parse().unwrap(),
        key_created: false,
        new_pool: None,
        warning: None,
    };
    let text = ready_text("p", 1 << 30, Path::new("/etc/rdmafs/p.key"), &ready);
    assert!(
        text.starts_with("serving pool 'p' (1.0 GiB) at 127.0.0.1:7470 (pid "),
        "{text}"
    );
    assert!(
        text.contains("\n  mount -t rdmafs 127.0.0.1:/p /mnt/far"),
        "{text}"
    );
    assert!(!text.contains("key"), "{text}");
    let ready = Ready {
        address: "[::1]:99".parse().unwrap(),
        key_created: true,
        new_pool: Some("/s".into()),
        warning: Some("no verbs".to_owned()),
    };
    let text = ready_text("p", 1 << 30, Path::new("/k"), &ready);
    assert!(
        text.contains("\nbegan a new pool in /s\nwarning: no verbs\nserving"),
        "{text}"
    );
    assert!(text.starts_with("made key file /k; copy it"), "{text}");
    assert!(
        text.contains("\n  mount -t rdmafs [::1]:99:/p /mnt/far -o key=/k"),
        "{text}"
    );
}

#[test]
fn a_wildcard_is_shown_by_the_hosts_name() {
    assert_ne!(reachable("0.0.0.0:1".parse().unwrap()).host, "0.0.0.0");
    assert_eq!(reachable("10.0.0.1:1".parse().unwrap()).host, "10.0.0.1");
}

#[test]
fn wrong_words_are_refused_with_the_remedy() {
    assert!(parse_pool("a/b").unwrap_err().to_string().contains("use 1 to 64"));
    assert!(
        parse_memory("0")
            .unwrap_err()
            .to_string()
            .ends_with("use at least 1M")
    );
    for (slip, meant) in [("4", "did you mean 4G?"), ("512b", "did you mean 512G?")] {
        assert!(
            parse_memory(slip).unwrap_err().to_string().contains(meant),
            "{slip}"
        );
    }
    assert!(
        parse_memory("1023K")
            .unwrap_err()
            .to_string()
            .ends_with("use at least 1M")
    );
    assert_eq!(parse_memory("1048577"), Ok((1 << 20) + 4096));
    assert_eq!(parse_state("/s"), Ok(PathBuf::from("/s")));
    let line = parse_state("s").unwrap_err().to_string();
    let there = std::env::current_dir().unwrap().join("s");
    assert!(
        line.contains(&format!("did you mean {}?", shown(&there))),
        "{line}"
    );
    assert!(
        parse_memory("lots")
            .unwrap_err()
            .to_string()
            .contains("for example 512M")
    );
    assert!(
        parse_listen("node")
            .unwrap_err()
            .to_string()
            .contains("ADDRESS:PORT")
    );
    assert_eq!(parse_listen("10.0.0.1").unwrap().port(), 7470);
    assert_eq!(parse_listen("[::]").unwrap().port(), 7470);
    assert!(parse_owner("root").unwrap_err().to_string().contains("UID:GID"));
    assert!(parse_mode("888").is_err() && parse_mode("10000").is_err());
    assert_eq!(parse_mode("7777"), Ok(0o7777));
    assert!(parse_lease("999ms").is_err() && parse_lease("601s").is_err());
    assert!(parse_lease("1s").is_ok() && parse_lease("10m").is_ok());
}

#[test]
fn sessions_have_ends() {
    for (number, fits) in [("0", false), ("1", true), ("4096", true), ("4097", false)] {
        let words = ["serve", "--pool", "p", "--memory", "1G", "--sessions", number];
        assert_eq!(Wrapper::try_parse_from(words).is_ok(), fits, "{number}");
    }
}

#[test]
fn progress_is_said_once_per_percent() {
    let mut steps = Steps::new(1 << 30);
    assert!(steps.next(0).unwrap().contains("(0 %)"));
    assert_eq!(steps.next(1), None);
    assert_eq!(
        steps.next(1 << 29).unwrap(),
        "preparing memory: 512.0 MiB of 1.0 GiB (50 %)"
    );
    assert!(steps.next(1 << 30).unwrap().contains("(100 %)"));
}
