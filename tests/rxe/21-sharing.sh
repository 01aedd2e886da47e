#!/bin/sh
# hosts: 1. Two mounts, 200 open files and 8 programs use the queue pairs and memory regions of one mount, file and program.
. "$(dirname "$0")/lib.sh"

shares() {
    echo "queue pairs $(resources qp), memory regions $(resources mr), protection domains $(resources pd)"
}

note "before: $(shares)"
serve p 128M
attach p "$M" cache=none
echo one >"$M/file"
same "one file" "$(cat "$M/file")" one
one=$(shares)
note "one mount, one file, one program: $one"
rdma resource show qp
rdma resource show mr

attach p "$T/second" cache=none
cat >"$T/program.py" <<'PY'
import os, sys
mount, name, turns = sys.argv[1], sys.argv[2], 3
# 8 programs with 25 files each are 200.
files = [os.open(f"{mount}/{name}-{i}", os.O_CREAT | os.O_RDWR) for i in range(25)]
for turn in range(turns):
    for i, fd in enumerate(files):
        data = bytes([turn * 25 + i]) * 8192
        os.pwrite(fd, data, turn * 8192)
        assert os.pread(fd, 8192, turn * 8192) == data, f"{name}: a wrong byte"
print("open", flush=True)
sys.stdin.read()
PY
mkfifo "$T/hold"
programs=
for i in 1 2 3 4 5 6 7 8; do
    mount=$M
    [ $((i % 2)) = 0 ] || mount=$T/second
    python3 "$T/program.py" "$mount" "p$i" <"$T/hold" >"$T/said-$i" &
    programs="$programs $!"
done
exec 9>"$T/hold"
all_open() {
    [ "$(cat "$T"/said-* | grep -c open)" = 8 ]
}
wait_until 120 all_open || fail "the programs did not open their files: $(cat "$T"/said-*)"
many=$(shares)
note "two mounts, 200 files, 8 programs: $many"
same "shares" "$many" "$one"
exec 9>&-
for program in $programs; do
    wait "$program" || fail "a program failed"
done

finish
