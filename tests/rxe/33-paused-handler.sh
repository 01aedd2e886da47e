#!/bin/sh
# hosts: 2. tests/shell/42: a handler with work on its queue pairs is stopped, another host reuses 1 GiB of space that it wrote to.
set -u
export NODE_ADDRESS=10.8.0.2 FABRICS=verbs SERVE_OPTIONS="--device rxv1" MOUNT_OPTIONS="device=rxv0" WARM=3 LIMIT=500
"$(dirname "$0")/../shell/run" 42-
