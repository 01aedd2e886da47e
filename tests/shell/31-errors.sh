#!/bin/sh
# What goes wrong says what, and how to mend it, in one line on stderr, with the exit codes of mount(8).
# matrix: fabric
. "$(dirname "$0")/lib.sh"

serve p 32M
mkdir "$M"
good="key=$T/key,fabric=$FABRIC"

# one_line CODE PATTERN COMMAND...: that exit code, nothing on stdout, one line on stderr that matches.
one_line() {
    code=$1
    pattern=$2
    shift 2
    got=0
    timeout 40 "$@" >"$T/out" 2>"$T/err" || got=$?
    same "exit code of '$*' ($(cat "$T/err"))" "$got" "$code"
    same "lines on stderr of '$*' ($(cat "$T/err"))" "$(wc -l <"$T/err")" 1
    grep -Eqi -- "$pattern" "$T/err" || fail "'$*' said '$(cat "$T/err")', wanted something like '$pattern'"
    echo "  $(cat "$T/err")"
}
try_mount() {
    code=$1
    pattern=$2
    shift 2
    one_line "$code" "$pattern" "$RDMAFS" mount "$@"
    mounted "$M" && fail "something was mounted all the same"
    true
}

try_mount 32 'no-such-host\.invalid' "no-such-host.invalid:/p" "$M" -o "$good"
try_mount 32 "127.0.0.1.*$(port x)|$(port x)" "127.0.0.1:$(port x):/p" "$M" -o "$good"
try_mount 32 "serves no pool 'wrong': the name after ':/' must be that of its --pool" "127.0.0.1:$(port p):/wrong" "$M" -o "$good"
umask 077
"$RDMAFS" serve --help >/dev/null
head -c 100 "$T/key" | tr 'a-f0-5' 'b-f0-6' >"$T/wrong"
awk '{ print $1, $2, (/0$/ ? substr($3, 1, length($3) - 1) "1" : substr($3, 1, length($3) - 1) "0") }' "$T/key" >"$T/another"
umask 022
try_mount 32 "refused the key: another pool than 'p' is served there, or it has another key: use the key file" "$(source_of p)" "$M" -o "key=$T/another,fabric=$FABRIC"
try_mount 32 "key" "$(source_of p)" "$M" -o "key=$T/wrong,fabric=$FABRIC"
try_mount 32 "$T/nokey" "$(source_of p)" "$M" -o "key=$T/nokey,fabric=$FABRIC"
try_mount 1 "fabrik.*fabric" "$(source_of p)" "$M" -o "$good,fabrik=tcp"
try_mount 1 "bw" "$(source_of p)" "$M" -o "$good,bw=fast"
try_mount 1 "weight" "$(source_of p)" "$M" -o "$good,weight=0"
try_mount 1 "cache" "$(source_of p)" "$M" -o "$good,cache=some"
try_mount 1 "timeout" "$(source_of p)" "$M" -o "$good,timeout=-1"
try_mount 1 "verbs" "$(source_of p)" "$M" -o "key=$T/key,fabric=tcp,device=mlx5_0"
try_mount 1 "NODE|:/" "just-a-word" "$M" -o "$good"
try_mount 1 "directory of a pool.*without" "$(source_of p)/a/../b" "$M" -o "$good"
try_mount 32 "no directory '/a'.*mkdir -p" "$(source_of p)/a/b" "$M" -o "$good"
one_line 16 "names a directory of a pool.*write NODE:/POOL" "$RDMAFS" fsck "$(source_of p)/a"
try_mount 32 "$T/missing.*(mkdir|directory)" "$(source_of p)" "$T/missing" -o "$good"
try_mount 32 "$T/key.*directory" "$(source_of p)" "$T/key" -o "$good"

note "something else listens on the port"
python3 - "$(port http)" <<'PY' &
import socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    c, _ = s.accept()
    c.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    c.close()
PY
http=$!
sleep 0.3
try_mount 32 "127.0.0.1|$(port http)" "127.0.0.1:$(port http):/p" "$M" -o "key=$T/key,fabric=tcp"
kill "$http"
wait "$http" 2>/dev/null || true

note "/dev/fuse is missing"
cat >"$T/nofuse" <<'INSIDE'
mount -t tmpfs none "$T/nodev"
for node in null zero urandom; do
    touch "$T/nodev/$node"
    mount --bind "/dev/$node" "$T/nodev/$node"
done
mount --bind "$T/nodev" /dev
[ ! -e /dev/fuse ]
exec "$RDMAFS" mount "$SOURCE" "$M" -o "$GOOD"
INSIDE
mkdir "$T/nodev"
SOURCE=$(source_of p) GOOD=$good one_line 32 "/dev/fuse.*modprobe fuse|modprobe fuse.*/dev/fuse" unshare -m "$HERE/only-ours" sh -e "$T/nofuse"

note "serve"
memory=$(awk '/^MemTotal/ { print int($2 / 1048576) + 10 }' /proc/meminfo)
serve_args="--key $T/key --foreground --listen 127.0.0.1:$(port y)"
# shellcheck disable=SC2086  # words on purpose
one_line 1 "memory|available" "$RDMAFS" serve --pool y --memory "${memory}G" $serve_args
# shellcheck disable=SC2086
one_line 1 "pool" "$RDMAFS" serve --pool 'bad/name' --memory 16M $serve_args
one_line 1 "in use|another|127.0.0.1" "$RDMAFS" serve --pool y --memory 16M --key "$T/key" --foreground --listen "127.0.0.1:$(port p)"
chmod 644 "$T/key"
# shellcheck disable=SC2086
one_line 1 "key" "$RDMAFS" serve --pool y --memory 16M $serve_args
chmod 600 "$T/key"

note "the other commands"
one_line 1 "$M" "$RDMAFS" umount "$M"
attach p "$M"
one_line 1 "bw" "$RDMAFS" qos "$M" bw=lots
one_line 1 "speed" "$RDMAFS" qos "$M" speed=1
one_line 1 "$T" "$RDMAFS" qos "$T" bw=1M
one_line 1 "$T" "$RDMAFS" layout "$T/key"
exec 3>"$M/open"
one_line 32 "busy" "$RDMAFS" umount "$M"
exec 3>&-
wait_until 5 umount "$M"
"$RDMAFS" status >"$T/out" || true
grep -Eqi 'no|nothing' "$T/out" || [ ! -s "$T/out" ] || note "status without mounts: $(cat "$T/out")"

finish
