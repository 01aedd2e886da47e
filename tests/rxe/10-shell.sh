#!/bin/sh
# hosts: 1. The shell suite of tests/shell on verbs: the tests that bring the fabric to work, with short loads.
# Emulated, all of it would take most of an hour; left out are those that differ only above the fabric.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
chosen='01- 03- 06- 07- 08- 20- 25- 31-'
echo "chosen of tests/shell: $chosen"
# shellcheck disable=SC2086 # a list of words
NODE_ADDRESS=10.9.0.1 FABRICS=${FABRIC:-verbs} "$here/../shell/run" --quick $chosen
