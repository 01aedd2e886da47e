# shellcheck shell=sh
# What scripts/test consists of: parts. Each part is one command, timed and counted, and what it says is shown line by line. Parts of one
# lane run one after another, lanes side by side. Sourced after lib.sh, never run.
#
# Each part has a session of its own, so that all that it started can be told to end. What parts leave in $TMPDIR is removed at the end,
# but where something failed: then the logs stay, and the last lines name them.

parts=$(mktemp -d "${TMPDIR:-/tmp}/rdmafs-parts.XXXXXX")
# Tests walk through it as other users.
chmod 755 "$parts"
: >"$parts/results"
lanes=
worker=
shower=
started=$(date +%s)
trap 'end_parts; exit 130' INT TERM HUP
trap 'rm -rf --one-file-system "$parts"' EXIT

# minutes SECONDS: for people.
minutes() {
    if [ "$1" -lt 60 ]; then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

# part NAME COMMAND...: runs it to its end, shows what it says and takes note of what came of it.
part() {
    name=$1
    shift
    log=$parts/$(echo "$name" | tr -c 'a-zA-Z0-9\n' -).log
    say "== $name"
    : >"$log"
    begun=$(date +%s)
    # What a test program of cargo leaves when it is ended; the shell tests' paths have no room for one more directory.
    case $1 in cargo) temporary=$parts ;; *) temporary=${TMPDIR:-/tmp} ;; esac
    TMPDIR=$temporary setsid "$@" >"$log" 2>&1 </dev/null &
    worker=$!
    tail -n +1 -s 0.2 -f --pid="$worker" "$log" | sed -u "s/^/$(printf '%-12s' "$name") | /" &
    shower=$!
    code=0
    wait "$worker" || code=$?
    worker=
    wait "$shower"
    took=$(($(date +%s) - begun))
    counted=$(count_log "$log" "$code")
    case $name:$counted in 'build '*:'1 0') counted='0 0' ;; esac
    echo "$name|$took|$counted|$log" >>"$parts/results"
    [ "$code" -eq 0 ] || say "== $name FAILED after $(minutes "$took")"
}

# failed_part NAME: what must be built for what follows.
failed_part() {
    grep -q "^$1|[0-9]*|[0-9]* [1-9]" "$parts/results"
}

# count_log LOG CODE: `PASSED FAILED`, as the last line says it or cargo for each test program; else the part as a whole counts.
count_log() {
    last=$(tail -n 1 "$1")
    case $last in
        [0-9]*' passed, '[0-9]*' failed')
            counted=$(echo "$last" | sed 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/') ;;
        *) counted=$(awk '/^test result: / { p += $4; f += $6 } END { print p + 0, f + 0 }' "$1") ;;
    esac
    if [ "$2" -ne 0 ] && [ "${counted#* }" -eq 0 ]; then
        # It did not build, or died before it could say so.
        counted="${counted% *} 1"
    elif [ "$counted" = '0 0' ]; then
        counted='1 0'
    fi
    echo "$counted"
}

# lane FUNCTION: the parts that it runs, side by side with other lanes, until `wait_for_lanes`.
lane() {
    (
        trap - EXIT
        trap 'stop_part; exit 143' TERM
        "$@"
        exit 0
    ) &
    lanes="$lanes $!"
}

wait_for_lanes() {
    for one in $lanes; do
        wait "$one" || true
    done
    lanes=
}

# The part that runs now ends in its own way, with its mounts and daemons.
stop_part() {
    [ -n "$worker" ] || return 0
    # By session: timeout(1) makes groups of its own.
    pkill -TERM -s "$worker" 2>/dev/null || kill -TERM "$worker" 2>/dev/null || true
    wait "$worker" 2>/dev/null || true
    wait "$shower" 2>/dev/null || true
    worker=
}

# Whoever stops the run stops its parts.
end_parts() {
    trap '' INT TERM HUP
    say "stopping what runs"
    for one in $lanes; do
        kill -TERM "$one" 2>/dev/null || true
    done
    stop_part
    wait_for_lanes
    sweep_tests_of_crates
}

# Test programs of cargo have no way to end in: their mounts lie in $parts, and their daemons have their run directory there.
sweep_tests_of_crates() {
    awk -v dir="$parts/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | while read -r dir; do
        umount -fl "$dir"
    done
    grep -lsaF "RDMAFS_RUN_DIR=$parts/" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3 | xargs -r kill -KILL
}

# slowest COUNT: `SECONDS NAME` of the tests that took longest: of the shell, of the virtual machine, and test programs of cargo.
slowest() {
    awk '
        /^(ok|FAIL|FAILED) +.*[0-9] s( |$)/ {
            line = $0
            sub(/  \(log .*$/, "", line); sub(/ s$/, "", line); sub(/ s: .*$/, "", line); sub(/^[A-Za-z]+ +/, "", line)
            n = split(line, word, " ")
            sub(/,? +[0-9.]+$/, "", line)
            print word[n], line
        }
        /^ *Running .*\(/ { program = $0; sub(/^ *Running (unittests )?/, "", program); sub(/ \(.*[\/]/, " (", program); sub(/-[0-9a-f]*\)$/, ")", program) }
        /^test result: .* finished in / { seconds = $NF; sub(/s$/, "", seconds); print seconds, program }
    ' "$parts"/*.log | sort -rn | head -n "$1"
}

# conclude: how long each part took, which tests took longest, what failed, and `N passed, N failed`; true when all is well.
conclude() {
    passed=0
    failed=0
    printf '\n%-34s %14s %8s %8s\n' part took passed failed
    while IFS='|' read -r name took counted log; do
        printf '%-34s %14s %8d %8d\n' "$name" "$(minutes "$took")" "${counted% *}" "${counted#* }"
        passed=$((passed + ${counted% *}))
        failed=$((failed + ${counted#* }))
    done <"$parts/results"
    printf '%-34s %14s\n' "all, some of it side by side" "$(minutes $(($(date +%s) - started)))"
    say ""
    say "slowest tests:"
    slowest 12 | while read -r seconds name; do
        printf '%8.1f s  %s\n' "$seconds" "$name"
    done
    [ "$failed" -eq 0 ] || show_failures
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

# What failed, and where its log is: kept, because the directory is.
show_failures() {
    trap - EXIT
    say ""
    say "failed:"
    while IFS='|' read -r name took counted log; do
        [ "${counted#* }" -gt 0 ] || continue
        say "  $name: $log"
        grep -E '^(FAIL|FAILED|REPORT)|^test .* FAILED$|^error' "$log" | head -n 12 | sed 's/^/    /'
    done <"$parts/results"
}
