#!/bin/sh
# Programs run from the mount: a binary, a script, one of 30 MB; noexec refuses; set-id bits do not count under nosuid.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 256M
cp /bin/echo "$M/echo"
same "a binary" "$("$M/echo" hello)" hello
# shellcheck disable=SC2016  # expanded by the inner shell
printf '#!/bin/sh\necho "script $1"\n' >"$M/script"
chmod 755 "$M/script"
same "a script" "$("$M/script" works)" "script works"
cp "$RDMAFS" "$M/rdmafs"
same "a large binary" "$("$M/rdmafs" --version)" "$("$RDMAFS" --version)"
# shellcheck disable=SC2016  # expanded by the inner shell
refused "writing to a running program" "Text file busy" sh -c 'cp /bin/sleep "$M/sleep"; "$M/sleep" 5 & p=$!; sleep 0.3; echo x >>"$M/sleep"; r=$?; kill $p; exit $r'

# For O_TRUNC without write the kernel asks whether the program runs after it has sent an OPEN that may truncate.
cp /bin/sleep "$M/running"
"$M/running" 20 &
program=$!
wait_until 5 grep -qs running "/proc/$program/cmdline" || fail "the program does not start"
for flags in O_WRONLY O_RDWR 'O_RDONLY|os.O_TRUNC' 'O_WRONLY|os.O_TRUNC'; do
    refused "opening a running program with $flags" "Text file busy" python3 -c "import os; os.open('$M/running', os.$flags)"
done
refused "truncating a running program" "Text file busy" python3 -c "import os; os.truncate('$M/running', 0)"
same_bytes "a running program" /bin/sleep "$M/running"
alive $program || fail "the running program died"
kill $program
wait $program 2>/dev/null || true

chmod 644 "$M/script"
refused "without x" "Permission denied" "$M/script"
refused "root without any x" "Permission denied" "$M/script"
chmod 700 "$M/echo"
refused "another uid without x" "Permission denied" as_user 2001 "$M/echo"

cp "$(command -v id)" "$M/id"
chown 0:0 "$M/id"
chmod 4755 "$M/id"
same "nosuid is the default" "$(as_user 2001 "$M/id" -u)" 2001

attach p "$T/noexec" noexec
refused "noexec" "Permission denied" "$T/noexec/id"

finish
