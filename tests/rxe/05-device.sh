#!/bin/sh
# hosts: 1. The verbs fabric against the device itself: $DEVICE_TESTS, the test programs that the host built, ignored there.
set -eu
[ -n "${DEVICE_TESTS:-}" ] || { echo "no DEVICE_TESTS: tests/rxe/run sets it" >&2; exit 1; }
export RDMAFS_VERBS_TEST=1
for program in $DEVICE_TESTS; do
    # One at a time: they count the device's objects.
    "$program" --ignored --test-threads 1
done
