#!/bin/sh
# ACLs: whatever programs do with them ends on the mount as it ends on a tmpfs. Then what is our own: what one host sets the other one enforces at
# once, a kernel that asks for them costs no call, and they outlast the node.
# matrix: fabric cache
# limit: 240
. "$(dirname "$0")/lib.sh"

command -v setfacl >/dev/null || skip "setfacl is missing: install the package 'acl'"
serve p 64M --state "$T/state"
attach p "$M"
chmod 755 "$M"

note "as on a tmpfs"
mkdir "$T/tmpfs" "$M/same"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$T/tmpfs"
"$HERE/acls.py" "$T/tmpfs" >"$T/wanted" || fail "acls.py does not run on a tmpfs: $(tail -n 3 "$T/wanted")"
umount "$T/tmpfs"
"$HERE/acls.py" "$M/same" >"$T/got" || fail "acls.py: $(tail -n 3 "$T/got")"
diff "$T/wanted" "$T/got" >"$T/differs" || fail "not as on a tmpfs: $(head -n 40 "$T/differs")"
[ "$(wc -l <"$T/wanted")" -gt 1500 ] || fail "only $(wc -l <"$T/wanted") lines were compared"
rm -r "$M/same"

note "what one host sets the other one enforces at once, and asking for ACLs costs no call"
attach_second p "$T/far"
cat >"$T/hosts.py" <<'PY'
# hosts.py DIR OTHER-DIR ROUNDS: root changes ACLs on one host, and a user in a process of his own is let in or not on the other one.
import json, os, socket, struct, subprocess, sys
near, far, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
USER, GROUP, NONE = 2010, 3010, 2 ** 32 - 1

def acl(user, group):
    entries = (1, 7, NONE), (2, user, USER), (4, 0, NONE), (8, group, GROUP), (16, 7, NONE), (32, 0, NONE)
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

def tries(path):
    done = ""
    for flags in os.O_RDONLY, os.O_WRONLY:
        try:
            os.close(os.open(f"{path}/file", flags))
            done += "y"
        except PermissionError:
            done += "n"
    return done

def servant(uid, groups):
    """Answers what this user may do."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        os.setgroups(groups)
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        while path := theirs.recv(4096):
            theirs.send(tries(path.decode()).encode())
        os._exit(0)
    theirs.close()
    def ask(path):
        ours.send(path.encode())
        return ours.recv(10).decode()
    return ask

def calls():
    shown = subprocess.run([os.environ["RDMAFS"], "status", "--json"], stdout=subprocess.PIPE, check=True).stdout
    link, = json.loads(shown)["links"]
    beside = "renew", "forgotten", "stat_fs"
    return {kind: count for kind, count in link["calls"]["kinds"].items() if kind not in beside}

named, member, other = servant(USER, []), servant(2004, [GROUP]), servant(2002, [])
os.mkdir(f"{near}/hosts", 0o700)
open(f"{near}/hosts/file", "w").close()
os.chmod(f"{near}/hosts/file", 0o666)
answers = {"user": {True: "yy", False: "nn"}, "file": {6: "yy", 4: "yn", 2: "ny", 0: "nn"}}
for number in range(rounds):
    one, two = (near, far) if number % 2 else (far, near)
    passes, may = number % 3 > 0, (6, 4, 2, 0)[number % 4]
    os.setxattr(f"{one}/hosts", "system.posix_acl_access", acl(5 * passes, 1 * passes))
    os.setxattr(f"{one}/hosts/file", "system.posix_acl_access", acl(may, may))
    wanted = answers["file"][may] if passes else "nn"
    for ask in named, member:
        assert ask(f"{two}/hosts") == wanted, (number, passes, may)
    assert other(f"{two}/hosts") == "nn", number
    os.chmod(f"{two}/hosts/file", 0o606)
    # A mask that is empty is not asked (Linux), so they are others.
    assert named(f"{one}/hosts") == ("yy" if passes else "nn"), number
    os.removexattr(f"{two}/hosts", "system.posix_acl_access")
    os.chmod(f"{one}/hosts", 0o700)
    assert named(f"{two}/hosts") == "nn", number

os.setxattr(f"{near}/hosts", "system.posix_acl_access", acl(5, 5))
os.setxattr(f"{near}/hosts/file", "system.posix_acl_access", acl(6, 6))
os.mkdir(f"{near}/plain")
os.chmod(f"{near}/plain", 0o755)
open(f"{near}/plain/file", "w").close()
os.chmod(f"{near}/plain/file", 0o666)
for path in f"{near}/plain", f"{near}/hosts":
    assert named(path) == "yy"
    before = calls()
    for _ in range(20):
        assert named(path) == "yy"
        assert os.listdir(path) == ["file"]
    after = calls()
    asked = {kind: count - before.get(kind, 0) for kind, count in after.items()}
    assert not any(asked.get(kind) for kind in ("get_xattr", "get_attr", "lookup")), asked
    assert asked.get("open", 0) <= 1, asked
PY
python3 "$T/hosts.py" "$M" "$T/far" "$(by_length 12 40 400)" || fail "what one host sets is not so on the other one"
umount "$T/far"
end_other

note "a longer ACL, a page of them, and all of it after the node was killed"
mkdir "$M/kept"
touch "$M/kept/long"
setfacl -m "$(seq -s, -f 'u:%.0f:r' 3000 3506)" "$M/kept/long"
! setfacl -m u:4000:r "$M/kept/long" 2>"$T/refused" || fail "an ACL of more than a page was taken"
same "refusal" "$(sed 's/.*: //' "$T/refused")" "Argument list too long"
setfacl -d -m u:2010:rwx,g:3010:rx "$M/kept"
python3 -c 'import os, sys
for number in range(60):
    os.mkdir(f"{sys.argv[1]}/{number}")' "$M/kept"
# In pages of directories they do not all fit.
setfacl -R -m "$(seq -s, -f 'u:%.0f:r' 4000 4300)" "$M"/kept/[0-9]*
(cd "$M" && getfacl -nR kept) >"$T/acls"
[ "$(grep -c '^user:4300:r' "$T/acls")" = 60 ] || fail "not all were set"
sync -f "$M/kept"
umount "$M"
wait_until 10 no_handler || fail "the handler still runs after its last unmount"
attach p "$M"
(cd "$M" && ls kept >/dev/null && getfacl -nR kept) | diff "$T/acls" - >"$T/differs" || fail "another handler: $(head -n 10 "$T/differs")"
kill -KILL "$(pid p)"
wait "$(pid p)" 2>/dev/null || true
serve p 64M --state "$T/state"
answers() {
    stat "$M/kept" >/dev/null 2>&1
}
wait_until 20 answers || fail "the mount does not come back"
(cd "$M" && getfacl -nR kept) | diff "$T/acls" - >"$T/differs" || fail "after a restart: $(head -n 10 "$T/differs")"
finish
