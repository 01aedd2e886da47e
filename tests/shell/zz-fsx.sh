#!/bin/sh
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"
start 64M
for config in b a; do
/tmp/wt/apps/target/tools/bin/fsx -q -f /tmp/wt/space-fsx/$config.toml -N "${OPS:-100000}" -S "${SEED:-7}" -P "$T" "$M/file" >"$T/fsx.out" 2>&1 || { tail -n 60 "$T/fsx.out"; fail "fsx $config"; }
note "fsx $config ok"
done
finish
