#!/bin/sh
# hosts: 1. chmod decides who reads and writes bytes that only RDMA carries, with real uids, on both mounts of a pool.
# shellcheck disable=SC2016 # expanded by the inner shells
. "$(dirname "$0")/lib.sh"

serve p 64M --root-mode 1777
attach p "$M" cache=none
attach p "$T/second" cache=none
as_user 2001 sh -c 'echo secret >"$M/file"; chmod 600 "$M/file"'
same "the owner reads" "$(as_user 2001 cat "$M/file")" secret
same "the owner reads on the second mount" "$(as_user 2001 cat "$T/second/file")" secret
for mount in "$M" "$T/second"; do
    refused "a stranger reads mode 600" "Permission denied" as_user 2002 cat "$mount/file"
    refused "a stranger writes mode 600" "Permission denied" as_user 2002 sh -c 'echo x >>"$0"' "$mount/file"
done
as_user 2001 chmod 644 "$M/file"
opens() {
    as_user 2002 cat "$T/second/file" >/dev/null 2>&1
}
shut() {
    ! opens
}
wait_until 1 opens || fail "1 s after chmod 644 on one mount a stranger cannot read on the other"
refused "a stranger writes mode 644" "Permission denied" as_user 2002 sh -c 'echo x >>"$0"' "$T/second/file"
as_user 2001 chmod 600 "$M/file"
# Emulated, starting the program that looks takes most of that second.
wait_until 3 shut || fail "3 s after chmod 600 on one mount a stranger still reads on the other"
refused "a stranger's chmod" "Operation not permitted" as_user 2002 chmod 644 "$M/file"
same "the bytes" "$(cat "$M/file")" secret

finish
