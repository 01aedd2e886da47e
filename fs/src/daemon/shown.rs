//! The options of a live mount, as `-o` would say them: all that are in force, defaults too, so that the line mounts the same again.

use super::records::Record;
use crate::mount::KernelFlags;
use crate::options::{AccessTime, AccessTimes, CacheMode, Crypt, MountOptions, VerbsOptions};
use rdmafs_rdma::qos::share::Share;

/// `rw,nosuid,nodev,relatime,fabric=auto,...`; numbers in bytes, operations and milliseconds.
pub(super) fn options_of(record: &Record) -> String {
    words(record.flags, &record.options)
}

fn words(flags: KernelFlags, options: &MountOptions) -> String {
    let mut words = kernel_words(flags, options.access_times);
    // Each field by its name: a new one must be thought of here.
    let MountOptions {
        fabric,
        key,
        crypt,
        verbs,
        timeout_ms,
        commit_s,
        cache,
        idmap,
        share,
        read_only: _,
        access_times: _,
        root: _,
    } = options;
    words.push(format!("fabric={}", fabric.map_or("auto", |kind| kind.name())));
    words.extend(verbs_words(verbs));
    words.push(format!("key={}", key.to_string_lossy()));
    words.push(match crypt {
        Crypt::Auto => "crypt=auto".into(),
        Crypt::On => "crypt=on".into(),
        Crypt::Off => "crypt=off".into(),
    });
    words.push(format!("timeout={timeout_ms}ms,commit={commit_s}"));
    words.push(match cache {
        CacheMode::Auto => "cache=auto".into(),
        CacheMode::None => "cache=none".into(),
    });
    if *idmap {
        words.push("idmap".to_owned());
    }
    let Share {
        bw,
        iops,
        burst,
        weight,
    } = share;
    words.push(format!("bw={bw},iops={iops},burst={burst},weight={weight}"));
    words.join(",")
}

fn kernel_words(flags: KernelFlags, times: AccessTimes) -> Vec<String> {
    let pick = |on: bool, yes: &str, no: &str| if on { yes } else { no }.to_owned();
    let mut words = vec![
        pick(flags.read_only, "ro", "rw"),
        pick(flags.suid, "suid", "nosuid"),
        pick(flags.dev, "dev", "nodev"),
    ];
    let files = match times.files {
        AccessTime::Never => "noatime",
        AccessTime::Relative => "relatime",
        AccessTime::Strict => "strictatime",
    };
    words.push(files.to_owned());
    let switches = [
        (flags.noexec, "noexec"),
        (times.directories != times.files, "nodiratime"),
        (flags.sync, "sync"),
        (flags.dirsync, "dirsync"),
    ];
    words.extend(
        switches
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| word.to_owned()),
    );
    words
}

fn verbs_words(verbs: &VerbsOptions) -> Vec<String> {
    let VerbsOptions {
        device,
        port,
        gid_index,
        tclass,
    } = verbs;
    let number = |name: &str, value: &Option<u8>| value.map(|value| format!("{name}={value}"));
    let device = device.as_ref().map(|device| format!("device={device}"));
    let numbers = [
        number("port", port),
        number("gid_index", gid_index),
        number("tclass", tclass),
    ];
    device.into_iter().chain(numbers.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_a_word() {
        let mut options = MountOptions {
            fabric: None,
            key: "/etc/rdmafs/p.key".into(),
            crypt: Crypt::Auto,
            verbs: VerbsOptions::default(),
            timeout_ms: 5000,
            commit_s: 5,
            idmap: false,
            cache: CacheMode::Auto,
            share: Share::default(),
            read_only: false,
            access_times: AccessTimes::default(),
            root: None,
        };
        let mut flags = KernelFlags::default();
        assert_eq!(
            words(flags, &options),
            "rw,nosuid,nodev,relatime,fabric=auto,key=/etc/rdmafs/p.key,crypt=auto,timeout=5000ms,commit=5,cache=auto,\
             bw=0,iops=0,burst=0,weight=100"
        );
        flags.read_only = true;
        flags.dev = true;
        flags.noexec = true;
        options.access_times.directories = AccessTime::Never;
        options.verbs.port = Some(2);
        options.cache = CacheMode::None;
        let text = words(flags, &options);
        assert!(
            text.starts_with("ro,nosuid,dev,relatime,noexec,nodiratime,fabric=auto,port=2,key="),
            "{text}"
        );
        assert!(text.contains(",cache=none,"), "{text}");
    }
}
