#!/bin/sh
# scripts/install: a package's tree below DESTDIR; installed below a prefix, and gone again without being told where it was.
# matrix: once
. "$(dirname "$0")/lib.sh"

install=$HERE/../../scripts/install
export RDMAFS

note "DESTDIR holds all of it, and nothing points out of the tree"
DESTDIR=$T/tree "$install" --prefix /usr >"$T/said" || fail "no tree: $(cat "$T/said")"
for path in usr/bin/rdmafs usr/sbin/mount.rdmafs usr/share/man/man8/rdmafs.8 usr/share/man/man8/mount.rdmafs.8 \
    usr/share/bash-completion/completions/rdmafs usr/share/zsh/site-functions/_rdmafs usr/share/fish/vendor_completions.d/rdmafs.fish \
    usr/lib/systemd/system/rdmafs-handler.service usr/lib/systemd/system/rdmafs-node@.service usr/lib/systemd/system/rdmafs-roce.service \
    usr/lib/udev/rules.d/90-rdmafs-roce.rules usr/sbin/rdmafs-roce etc/rdmafs/roce.nft; do
    [ -e "$T/tree/$path" ] || [ -L "$T/tree/$path" ] || fail "$path is not in the tree"
done
[ "$(readlink "$T/tree/usr/sbin/mount.rdmafs")" = /usr/bin/rdmafs ] || fail "the helper's link leads elsewhere"
for unit in rdmafs-handler.service rdmafs-node@.service; do
    grep -q '^ExecStart=/usr/bin/rdmafs ' "$T/tree/usr/lib/systemd/system/$unit" || fail "$unit names another program"
done
for names in lib/systemd/system/rdmafs-roce.service lib/udev/rules.d/90-rdmafs-roce.rules; do
    grep -q '[="]/usr/sbin/rdmafs-roce' "$T/tree/usr/$names" || fail "$names names another program"
done
[ ! -e "$T/tree/etc/rdmafs/installed" ] || fail "a package's tree holds a record"
"$install" --prefix relative 2>"$T/said" && fail "a relative prefix was taken"
grep -q "needs a whole path, not 'relative'" "$T/said" || fail "$(cat "$T/said")"

note "installed in directories of its own, and uninstalled without --prefix"
mkdir "$T/etc" "$T/sbin" "$T/prefix"
cp -a /etc/. "$T/etc/"
rm -rf "$T/etc/rdmafs"
[ ! -x /usr/sbin/nft ] || cp /usr/sbin/nft "$T/sbin/"
# Without systemd, and with rules of their own: this host keeps its.
# shellcheck disable=SC2016 # the inner shell expands it
unshare --mount --net "$HERE/only-ours" sh -euc '
    T=$1 install=$2
    mount --bind "$T/etc" /etc
    mount --bind "$T/sbin" /sbin
    mount -t tmpfs tmpfs /run
    "$install" --prefix "$T/prefix" >"$T/said" 2>&1
    for path in "$T/prefix/bin/rdmafs" "$T/prefix/sbin/rdmafs-roce" /sbin/mount.rdmafs \
        /etc/systemd/system/rdmafs-handler.service /etc/udev/rules.d/90-rdmafs-roce.rules; do
        [ -e "$path" ] || { echo "$path is not installed"; exit 1; }
    done
    rules() {
        nft list ruleset 2>/dev/null || true
    }
    if nft list ruleset >/dev/null 2>&1; then
        for family in inet bridge; do
            nft list table "$family" rdmafs | grep -q "udp dport 4791" || { echo "no rule is loaded"; cat "$T/said"; exit 1; }
        done
    fi
    touch /etc/rdmafs/mine.key
    mkdir "$T/own"
    RDMAFS_RUN_DIR="$T/own" "$T/prefix/bin/rdmafs" handler --foreground >"$T/handler.log" 2>&1 &
    handler=$!
    for _ in $(seq 100); do [ ! -S "$T/own/handler.sock" ] || break; sleep 0.1; done
    "$install" --uninstall >"$T/said" 2>&1 && { echo "uninstalled below a running handler"; exit 1; }
    grep -q "still running: .*$handler (handler)" "$T/said" || { echo "what runs is not named:"; cat "$T/said"; exit 1; }
    kill "$handler"
    wait "$handler" || true
    "$install" --uninstall >"$T/said" 2>&1
    grep -q "left as they are: the keys" "$T/said" || { cat "$T/said"; exit 1; }
    [ "$(ls /etc/rdmafs)" = mine.key ]
    left=$(find "$T/prefix" /sbin/ /etc/systemd/system /etc/udev -name "*rdmafs*" ! -type d; rules)
    [ -z "$left" ] || { echo "left: $left"; exit 1; }
    "$install" --uninstall 2>"$T/said" && { echo "uninstalled twice"; exit 1; }
    grep -q "nothing is installed at" "$T/said"
' install "$T" "$install" || fail "in the tree of its own: $(cat "$T/said")"
finish
