#!/usr/bin/env python3
"""Runs a set-id program again and again while a user who has its file open changes the program's bytes: nobody ever runs the new ones with the owner's rights.

exec-race.py RUNS HOLDS ROUNDS: the directory where it is run, and where it is made set-id; the one where it is open for writing. Prints what exit codes it had,
and how often. 71-set-id-held.sh runs it. On x86-64, where its program is."""
import collections
import os
import struct
import sys

RUNS, HOLDS, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
USER, GROUP, OWNER, RUNNER = 65534, 3001, 2001, 1001
OLD, NEW = 10, 20


def program(base):
    """An executable of 4,096 bytes whose exit code is `base`, or one more where it runs as OWNER."""
    code = (
        b"\xb8\x6b\x00\x00\x00\x0f\x05"  # geteuid
        b"\x31\xff\x3d" + struct.pack("<I", OWNER) + b"\x40\x0f\x94\xc7"  # edi = euid == OWNER
        b"\x83\xc7" + bytes([base]) + b"\xb8\x3c\x00\x00\x00\x0f\x05"  # exit(edi + base)
    )
    at = 0x400000
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, at + 0x1000 - len(code), 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, at, at, 0x1000, 0x1000, 0x1000)
    return (header + segment).ljust(0x1000 - len(code), b"\0") + code


def run(path):
    """The exit code as RUNNER; None where it cannot be run, since somebody writes it."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(RUNNER)
            os.setuid(RUNNER)
            os.execv(path, [path])
        except OSError:
            pass
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


seen = collections.Counter()
after = collections.Counter()
for round in range(ROUNDS):
    path, theirs = f"{RUNS}/race{round}", f"{HOLDS}/race{round}"
    with open(path, "wb") as file:
        file.write(program(OLD))
    os.chown(path, OWNER, GROUP)
    os.chmod(path, 0o775)
    os.setegid(GROUP)
    os.seteuid(USER)
    held = os.open(theirs, os.O_RDWR)
    os.seteuid(0)
    os.setegid(0)
    os.chmod(path, 0o4775)
    seen[run(path)] += 1
    # A change of credentials is of all threads: the writer is a process.
    writer = os.fork()
    if writer == 0:
        os.setgroups([])
        os.setgid(GROUP)
        os.setuid(USER)
        # From 0 to 2 ms later than the first of these runs begins.
        end = os.times().elapsed + 0.0001 * (round % 20)
        while os.times().elapsed < end:
            pass
        os.pwrite(held, program(NEW), 0)
        os._exit(0)
    # The writer closes it as soon as it has written.
    os.close(held)
    while os.waitpid(writer, os.WNOHANG)[0] == 0:
        seen[run(path)] += 1
    after[run(path)] += 1
    os.unlink(path)
print("meanwhile", *(f"{code}:{count}" for code, count in sorted(seen.items())))
print("after", *(f"{code}:{count}" for code, count in sorted(after.items())))
