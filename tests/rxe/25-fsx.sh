#!/bin/sh
# hosts: 1. fsx on verbs: random reads, writes, mappings, holes and copies of one file. FULL=1: 20,000 with each cache mode, else 1,000.
# All of it takes half an hour: FULL=1 LIMIT=4000 TEST_LIMIT=3600 tests/rxe/run 25-fsx
export NODE_ADDRESS=10.9.0.1 FABRICS=verbs
if [ -n "${FULL:-}" ]; then OPS=${OPS:-20000}; else OPS=${OPS:-1000}; fi
# Emulated, an operation takes up to 50 ms.
FSX_LIMIT=$((60 + OPS / 10))
export OPS FSX_LIMIT
exec "$(dirname "$0")/../posix/fsx"
