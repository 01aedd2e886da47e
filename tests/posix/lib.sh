# shellcheck shell=sh
# What the POSIX suites of other people share: tools that cargo builds once. Sourced after tests/shell/lib.sh.

# scripts/test runs them below everything else.
export STOP_WITHIN=60

# tool CRATE VERSION: $TOOL is that program, built into the target directory; where it is there already, nothing is built or asked for.
tool() {
    tools=${CARGO_TARGET_DIR:-$HERE/../../target}/tools
    TOOL=$tools/bin/$1
    if ! grep -qs "\"$1 $2 " "$tools/.crates2.json" || [ ! -x "$TOOL" ]; then
        note "building $1 $2 (a minute or two, once)"
        # They make system calls and compare bytes: what they are built with is to be quick to build.
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install --locked --quiet --root "$tools" "$1@$2" || fail "cargo could not install $1 $2: see above"
    fi
}

# same_daemons: the handler and the node of pool p that ran before still do. `remember_daemons` first.
remember_daemons() {
    remembered="$(handler_pid) $(pid p)"
}

same_daemons() {
    for daemon in $remembered; do
        alive "$daemon" || return 1
    done
    [ "$remembered" = "$(handler_pid) $(pid p)" ]
}

# The counts of a suite.
passed=0
failed=0

# totals: after `finish`: the counts are the last line, and nothing of the daemons' logs follows them.
totals() {
    trap - EXIT
    rm -rf --one-file-system "$T"
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" != 0 ]
}
