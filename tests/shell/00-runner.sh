#!/bin/sh
# The runner itself: a test that hangs, with a mount whose node does not answer, is ended with all that it started, fails, shows
# what its daemons said, and the next one goes on; so does one that leaves something behind. One that
# cannot run here is shown with its reason, and counts as neither passed nor failed.
# matrix: once
# alone: it tells the runner by its directory
. "$(dirname "$0")/lib.sh"

mkdir "$T/tests"
for name in 10-hangs 20-leaves 30-fine 40-skipped; do
    printf '#!/bin/sh\n# matrix: once\n. "%s/lib.sh"\n' "$HERE" >"$T/tests/$name.sh"
done
cat >>"$T/tests/10-hangs.sh" <<'SH'
serve p 16M
attach p "$M" timeout=10m,cache=none
echo x >"$M/file"
kill -STOP "$(pid p)"
cat "$M/missing" &
sh -c 'trap "" TERM; cat "$M/missing"; sleep 1000'
SH
cat >>"$T/tests/20-leaves.sh" <<'SH'
start 16M
FINISHED=1
trap - EXIT
SH
echo finish >>"$T/tests/30-fine.sh"
echo 'skip "no moon tonight"' >>"$T/tests/40-skipped.sh"
chmod 755 "$T/tests"/*.sh

begun=$(now_ms)
TMPDIR=$T TESTS=$T/tests LIMIT=5 ALONE='' JOBS=1 "$HERE/run" >"$T/said" && fail "the runner said yes"
took=$(($(now_ms) - begun))
expect() {
    grep -Eq -- "$1" "$T/said" || fail "the runner did not say '$1': $(cat "$T/said")"
}
expect '^FAIL +10-hangs '
expect 'no end within 5 s'
expect 'sleep 1000|cat .*missing'
expect 'p\.log'
expect '^FAIL +20-leaves '
expect 'left behind: mount '
expect '^ok +30-fine '
expect '^skip +40-skipped .* no moon tonight$'
same "the last line" "$(tail -n 1 "$T/said")" "1 passed, 2 failed"
[ "$took" -lt 60000 ] || fail "the runner took $took ms"
same "mounts left" "$(our_mounts)" ""
same "processes left" "$(grep -lsaF "RDMAFS_RUN_DIR=$T/rdmafs-logs" /proc/[0-9]*/environ | wc -l)" 0

finish
