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

# part NAME [at LEVEL] COMMAND...: runs it to its end, shows what it says and takes note of what came of it. LEVEL is as that of nice(1).
part() {
    name=$1
    shift
    level=0
    if [ "$1" = at ]; then
        level=$2
        shift 2
    fi
    log=$parts/$(echo "$name" | tr -c 'a-zA-Z0-9\n' -).log
    say "== $name"
    : >"$log"
    begun=$(date +%s)
    times >"$log.before"
    # What a test program of cargo leaves when it is ended; the shell tests' paths have no room for one more directory.
    case $1 in cargo) temporary=$parts ;; *) temporary=${TMPDIR:-/tmp} ;; esac
    # Where sessions have a share of the processors each (autogroups, sched(7)), the level of nice(1) counts within one only.
    # shellcheck disable=SC2016 # the inner shell expands these
    TMPDIR=$temporary setsid sh -c 'echo "$0" 2>/dev/null >/proc/self/autogroup || true; exec nice -n "$0" "$@"' "$level" "$@" >"$log" 2>&1 </dev/null &
    worker=$!
    tail -n +1 -s 0.2 -f --pid="$worker" "$log" | sed -u "s/^/$(printf '%-12s' "$name") | /" &
    shower=$!
    code=0
    wait "$worker" || code=$?
    worker=
    wait "$shower"
    took=$(($(date +%s) - begun))
    times >"$log.after"
    burnt=$(cat "$log.before" "$log.after" | processor_seconds)
    counted=$(count_log "$log" "$code")
    case $name:$counted in 'build '*:'1 0') counted='0 0' ;; esac
    echo "$name|$took|$counted|$burnt|$log" >>"$parts/results"
    [ "$code" -eq 0 ] || say "== $name FAILED after $(minutes "$took")"
}

# processor_seconds: between two answers of times(1), what the children that ended took of a processor: daemons that outlive who
# started them are not counted.
processor_seconds() {
    awk -F '[ms ]+' 'NR % 2 == 0 { sum[NR] = $1 * 60 + $2 + $3 * 60 + $4 } END { printf "%d\n", sum[4] - sum[2] }'
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
    printf '\n%-28s %14s %14s %8s %8s\n' part took processor passed failed
    while IFS='|' read -r name took counted burnt log; do
        printf '%-28s %14s %14s %8d %8d\n' "$name" "$(minutes "$took")" "$(minutes "$burnt")" "${counted% *}" "${counted#* }"
        passed=$((passed + ${counted% *}))
        failed=$((failed + ${counted#* }))
    done <"$parts/results"
    printf '%-28s %14s\n' "all, some of it side by side" "$(minutes $(($(date +%s) - started)))"
    grep -hE '^skip ' "$parts"/*.log | sed 's/^skip  */skipped: /; s/  */ /g' || true
    say ""
    say "slowest tests:"
    slowest 12 | while read -r seconds name; do
        printf '%8.1f s  %s\n' "$seconds" "$name"
    done
    [ "$failed" -eq 0 ] || show_failures
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

# reasons LOG: the lines that say what failed, and what stands indented under a target of the fuzzer.
reasons() {
    awk '
        /^(FAIL|FAILED|REPORT)|^ +[|] +(FAIL|FAILED):|^test .* FAILED$|^thread .* panicked|^error/ { print; under = /^FAIL .*:$/; next }
        under && /^      [^ ]/ { print; next }
        { under = 0 }
    ' "$1"
}

# What failed, why, and where its log is: kept, because the directory is. The reasons stand here too, for who has only the last lines.
show_failures() {
    trap - EXIT
    say ""
    say "failed:"
    while IFS='|' read -r name took counted burnt log; do
        [ "${counted#* }" -gt 0 ] || continue
        say "  $name: $log"
        reasons "$log" | head -n 20 | cut -c 1-400 | sed 's/^/    /'
    done <"$parts/results"
}
