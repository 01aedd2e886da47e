#!/bin/sh
# A mount, and a directory of a pool, shared again by Samba: names, bytes, renames and removals of an SMB client are those of the mount, and
# an SMB client sees what a program of the host does, in both directions.
# matrix: fabric cache
# limit: 120
. "$(dirname "$0")/../shell/lib.sh"

for tool in smbd smbclient; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install samba smbclient"
done
start 128M
mkdir "$M/team" "$T/team" "$T/smb" "$T/smb/private"
chmod 777 "$M" "$M/team"
"$RDMAFS" mount "$(source_of p)/team" "$T/team" -o "key=$T/key,fabric=$FABRIC,cache=$CACHE" >/dev/null

port smb >/dev/null
cat >"$T/smb/conf" <<END
[global]
server role = standalone server
security = user
map to guest = bad user
guest account = nobody
interfaces = lo
bind interfaces only = yes
smb ports = $(port smb)
disable netbios = yes
load printers = no
disable spoolss = yes
lock directory = $T/smb
state directory = $T/smb
cache directory = $T/smb
pid directory = $T/smb
private dir = $T/smb/private
ncalrpc dir = $T/smb/ncalrpc
log file = $T/smb/log
[whole]
path = $M
guest ok = yes
read only = no
[team]
path = $T/team
guest ok = yes
read only = no
END
smbd --foreground -s "$T/smb/conf" --debug-stdout </dev/null >"$T/smbd.log" 2>&1 &
smbd=$!
echo "$smbd" >"$T/smbd.pid"
smb() {
    share=$1
    shift
    smbclient -N -p "$(port smb)" "//127.0.0.1/$share" -c "$*" >"$T/smb/said" 2>&1
}
answers() {
    smb whole ls
}
wait_until 20 answers || fail "smbd does not answer: $(tail -n 3 "$T/smb/said" "$T/smbd.log")"

head -c 3000000 /dev/urandom >"$T/data"
for pair in "whole:$M" "team:$T/team"; do
    share=${pair%%:*}
    dir=${pair#*:}
    note "$share"
    smb "$share" "put $T/data data; mkdir dir; put $T/data dir/copy; rename data dir/moved" || fail "$share: $(cat "$T/smb/said")"
    same_bytes "what an SMB client wrote to $share" "$T/data" "$dir/dir/moved"
    same "its owner" "$(stat -c %U "$dir/dir/moved")" nobody
    echo "from the host" >"$dir/here"
    smb "$share" "get here $T/smb/here; get dir/moved $T/smb/back; rm dir/copy" || fail "$share: $(cat "$T/smb/said")"
    same "what the host wrote" "$(cat "$T/smb/here")" "from the host"
    same_bytes "what came back from $share" "$T/data" "$T/smb/back"
    [ ! -e "$dir/dir/copy" ] || fail "what an SMB client removed is there"
    smb "$share" "rm dir/moved; rmdir dir; del here" || fail "$share: $(cat "$T/smb/said")"
    [ ! -e "$dir/dir" ] || fail "a directory that an SMB client removed is there"
done
echo secret >"$M/secret"
smb team "get ../secret $T/smb/stolen" && fail "an SMB client of the directory reads what is outside of it"
kill "$smbd"
wait_until 10 gone "$smbd" || fail "smbd does not end"
wait "$smbd" 2>/dev/null || true
rm "$T/smbd.pid"

finish
