#!/bin/sh
# hosts: 1. The shell suite of tests/shell on verbs: the tests that bring the fabric to work, with short loads.
# Emulated, all of it would take most of an hour; left out is what differs only above the fabric, and plain reads and writes, which 20-bytes has.
# FULL=1 takes everything.
set -u
run=$(dirname "$0")/../shell/run
# A run takes up to 150 s of a host that is not busy.
export LIMIT="${LIMIT:-500}"
export NODE_ADDRESS=10.9.0.1 FABRICS="${FABRIC:-verbs}"
if [ -n "${FULL:-}" ]; then
    # A hundred thousand records would take hours here.
    RECORDS=20000 exec "$run"
fi
code=0
echo "chosen of tests/shell: 06 20 with cache=none, 03 25 with cache=auto"
CACHES=none "$run" --quick 06- 20- || code=1
CACHES=auto "$run" --quick 03- 25- || code=1
exit $code
