#!/bin/sh
# Programs that share a directory from two hosts and trust a file system to keep them apart: SQLite with a rollback journal, git, a queue of
# messages as in a Maildir, lock files by O_EXCL and by link(2), and make. Nothing is lost, counted twice or built twice.
# What the caches hold is 68-two-hosts-see.sh's; here `cache=none` would only repeat it.
# matrix: fabric
# limit: 900
. "$(dirname "$0")/lib.sh"

for program in git make; do
    command -v $program >/dev/null || skip "$program is missing"
done
python3 -c 'import sqlite3' || skip "Python's sqlite3 is missing"

CREATES=$(by_length 200 1000 10000)
# In all: transactions, commits of each host, messages, and holders of each kind of lock file.
TRANSACTIONS=$(by_length 200 2000 20000)
COMMITS=$(by_length 3 10 200)
MESSAGES=$(by_length 200 1000 20000)
HOLDERS=$(by_length 80 400 4000)

serve p 256M
attach p "$M"
attach_second p "$T/far"

# by_four WHAT SCRIPT ARGUMENTS...: two processes on each host at once, in the directory WHAT; each has a number, its directory and ARGUMENTS.
by_four() {
    what=$1
    script=$2
    shift 2
    workers=
    for worker in 1 2 3 4; do
        place=$M
        [ $((worker % 2)) = 1 ] || place=$T/far
        python3 "$T/$script.py" "$worker" "$place/$what" "$@" 2>>"$T/$what.log" &
        workers="$workers $!"
    done
    for worker in $workers; do
        wait "$worker" || fail "$what: $(tail -n 3 "$T/$what.log")"
    done
}

# A part of the test, with its time.
part() {
    began=$(now_ms)
    note "$1"
    shift
    "$@"
    note "took $(($(now_ms) - began)) ms"
}

cat >"$T/transactions.py" <<'PY'
# transactions.py NUMBER DIR COUNT: counts on in the database, and writes down which it was.
import sqlite3, sys
number, dir, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
base = sqlite3.connect(f"{dir}/base", timeout=120, isolation_level=None)
for _ in range(count):
    base.execute("begin immediate")
    n, = base.execute("select n from counter").fetchone()
    base.execute("update counter set n = ?", (n + 1,))
    base.execute("insert into log values (?, ?, ?)", (n, number, "x" * 200))
    base.execute("commit")
PY
cat >"$T/transacted.py" <<'PY'
# transacted.py DIR COUNT: what the database should be after so many transactions.
import sqlite3, sys
dir, count = sys.argv[1], int(sys.argv[2])
base = sqlite3.connect(f"{dir}/base", timeout=120)
found = base.execute("select n from counter").fetchone()[0], base.execute("select count(*), count(distinct n), max(n) from log").fetchone()
assert found == (count, (count, count, count - 1)), found
of_each = base.execute("select count(*) from log group by who").fetchall()
assert of_each == [(count // 4,)] * 4, of_each
checked = base.execute("pragma integrity_check").fetchall()
assert checked == [("ok",)], checked
PY

database() {
    mkdir "$M/database"
    python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).executescript("""pragma journal_mode=delete; create table counter(n); insert into counter values (0);
create table log(n integer primary key, who, text);""")' "$M/database/base"
    by_four database transactions $((TRANSACTIONS / 4))
    for place in "$M" "$T/far"; do
        python3 "$T/transacted.py" "$place/database" "$TRANSACTIONS" || fail "the database is not what it should be"
    done
}

commits() {
    export HOME="$T" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
    git init -q "$M/repository"
    for commit in $(seq "$COMMITS"); do
        for place in "$M" "$T/far"; do
            (
                cd "$place/repository"
                echo "$commit $place" >>all
                echo "$commit" >"of-$commit-$(basename "$place")"
                git add -A
                git commit -qm "$commit of $place"
            ) || fail "commit $commit by $place"
        done
    done
    for place in "$M" "$T/far"; do
        (
            cd "$place/repository"
            git fsck --strict 2>"$T/git.log" || fail "git fsck: $(cat "$T/git.log")"
            same "commits" "$(git rev-list HEAD | wc -l)" $((2 * COMMITS))
            same "files" "$(git ls-tree --name-only HEAD | wc -l)" $((2 * COMMITS + 1))
            same "lines of what all wrote" "$(git show HEAD:all | wc -l)" $((2 * COMMITS))
            same "what is not committed" "$(git status --porcelain)" ""
        ) || exit 1
    done
}

cat >"$T/queue.py" <<'PY'
# queue.py NUMBER DIR MESSAGES LOG: a process that makes messages, tmp/X to new/X, and one that takes them, new/X to cur/X, and removes them. What was
# taken is a line of LOG-NUMBER, on the machine's own disk. Who takes ends when all who make have ended and nothing is left.
import os, random, sys
number, dir, messages, log = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]

def text(name):
    return f"{name} ".encode() * (1 + int(name.split(".")[0]) % 700)

def makes():
    for i in range(messages):
        name = f"{i}.{number}"
        with open(f"{dir}/tmp/{name}", "xb") as file:
            file.write(text(name))
        os.rename(f"{dir}/tmp/{name}", f"{dir}/new/{name}")
    open(f"{log}-made-{number}", "w").close()

def takes(name):
    try:
        os.rename(f"{dir}/new/{name}", f"{dir}/cur/{name}")
    except FileNotFoundError:
        return False
    with open(f"{dir}/cur/{name}", "rb") as file:
        found = file.read()
    if found != text(name):
        sys.exit(f"message {name}: {len(found)} bytes that are not what was written")
    os.unlink(f"{dir}/cur/{name}")
    return True

maker = os.fork()
if maker == 0:
    makes()
    sys.exit(0)
random.seed(number)
with open(f"{log}-taken-{number}", "w") as taken:
    while True:
        no_more = all(os.path.exists(f"{log}-made-{k}") for k in range(1, 5))
        names = os.listdir(f"{dir}/new")
        random.shuffle(names)
        for name in names:
            if takes(name):
                print(name, file=taken)
        if no_more and not names:
            break
sys.exit(os.waitpid(maker, 0)[1] != 0)
PY

queue() {
    mkdir "$M/queue" "$M/queue/tmp" "$M/queue/new" "$M/queue/cur"
    by_four queue queue $((MESSAGES / 4)) "$T/message"
    same "messages taken" "$(cat "$T"/message-taken-* | wc -l)" "$MESSAGES"
    same "messages taken, each once" "$(cat "$T"/message-taken-* | sort -u | wc -l)" "$MESSAGES"
    for place in "$M" "$T/far"; do
        same "messages left" "$(find "$place/queue" -type f | wc -l)" 0
    done
}

cat >"$T/holders.py" <<'PY'
# holders.py NUMBER DIR ROUNDS LOCK WAY: counts on under a lock file. The count is written to a new file, which is renamed over the old one (WAY renamed),
# or in place.
import os, random, sys, time
number, dir, rounds, kind, way = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
lock, count, own = f"{dir}/lock", f"{dir}/count", f"{dir}/own-{number}"

def is_locked_by_excl():
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        return True
    except FileExistsError:
        return False

def is_locked_by_link():
    # What link(2) says is not trusted, as over NFS: who has two names has the lock.
    try:
        os.link(own, lock)
    except FileExistsError:
        pass
    return os.stat(own).st_nlink == 2

def count_on():
    with open(count) as file:
        n = int(file.read()) + 1
    if way == "renamed":
        with open(f"{count}.{number}", "w") as file:
            file.write(f"{n}\n")
        os.rename(f"{count}.{number}", count)
    else:
        with open(count, "r+") as file:
            file.write(f"{n}\n")

open(own, "w").close()
is_locked = is_locked_by_excl if kind == "excl" else is_locked_by_link
for _ in range(rounds):
    while not is_locked():
        time.sleep(random.random() / 500)
    count_on()
    os.unlink(lock)
PY

holders() {
    for way in renamed in-place; do
        what=$1-$way
        mkdir "$M/$what"
        echo 0 >"$M/$what/count"
        by_four "$what" holders $((HOLDERS / 4)) "$1" "$way"
        for place in "$M" "$T/far"; do
            same "counted under lock files by $1, $way" "$(cat "$place/$what/count")" "$HOLDERS"
        done
    done
}

cat >"$T/Makefile" <<'MAKE'
NUMBERS := $(shell seq 1 50)
NEAR := $(NUMBERS:%=near-%.o)
FAR := $(NUMBERS:%=far-%.o)
program: $(NEAR) $(FAR)
	cat $^ >$@.new && mv $@.new $@
near: $(NEAR)
far: $(FAR)
# Each is made of its source and of what both hosts' objects share.
%.o: %.c common.h
	cat common.h $< >$@
common.h: common.in
	sleep 0.1; cat $< >$@.new && mv $@.new $@
.PHONY: near far
MAKE

# wanted_program: what make is to make of the sources.
wanted_program() {
    for half in near far; do
        for i in $(seq 50); do
            cat "$M/make/common.in" "$M/make/$half-$i.c"
        done
    done
}

makes() {
    mkdir "$M/make"
    cp "$T/Makefile" "$M/make/"
    echo common >"$M/make/common.in"
    for i in $(seq 50); do
        echo "near $i" >"$M/make/near-$i.c"
        echo "far $i" >"$T/far/make/far-$i.c"
    done
    make -s -C "$M/make" common.h
    make -j2 -s -C "$M/make" near >"$T/make-near.log" 2>&1 &
    near=$!
    make -j2 -s -C "$T/far/make" far >"$T/make-far.log" 2>&1 || fail "make on the other host: $(tail -n 3 "$T/make-far.log")"
    wait "$near" || fail "make: $(tail -n 3 "$T/make-near.log")"
    make -C "$M/make" --no-print-directory program >"$T/make.log" 2>&1 || fail "make of the whole: $(tail -n 3 "$T/make.log")"
    same "what was left to do" "$(wc -l <"$T/make.log")" 1
    wanted_program >"$T/wanted"
    same_bytes "what make made" "$T/far/make/program" "$T/wanted"
    # A source that the other host changes makes this one's make do what depends on it, and no more.
    echo "near 7, changed" >"$T/far/make/near-7.c"
    make -C "$M/make" --no-print-directory program >"$T/make.log" 2>&1 || fail "the second make: $(tail -n 3 "$T/make.log")"
    same "what a change left to do" "$(wc -l <"$T/make.log")" 2
    wanted_program >"$T/wanted"
    same_bytes "what make made of a change" "$T/far/make/program" "$T/wanted"
    same "what is left to do on the other host" "$(make -C "$T/far/make" --no-print-directory program)" "make: 'program' is up to date."
}

cat >"$T/creates.py" <<'PY'
# creates.py FILES DIR OTHER-DIR OTHER-RUN-DIR: both hosts make files in one directory at once. What that costs both, recalls too.
import json, os, subprocess, sys, time
files, near, far, run = int(sys.argv[1]), *sys.argv[2:]
MOST = 4

def counted():
    total = {}
    for run_directory in os.environ["RDMAFS_RUN_DIR"], run:
        environment = {**os.environ, "RDMAFS_RUN_DIR": run_directory}
        shown = subprocess.run([os.environ["RDMAFS"], "status", "--json"], stdout=subprocess.PIPE, check=True, env=environment).stdout
        link, = json.loads(shown)["links"]
        for kind, count in link["calls"]["kinds"].items():
            if kind not in ("renew", "stat_fs"):
                total[kind] = total.get(kind, 0) + count
    return total

def creates(dir, size):
    for i in range(files):
        fd = os.open(f"{dir}/{i}.{os.getpid()}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        if size:
            os.write(fd, bytes(size))
        os.close(fd)
    os._exit(0)

for size in 0, 4096:
    os.mkdir(f"{near}/of-{size}")
    before = counted()
    makers = []
    for dir in near, far:
        maker = os.fork()
        if maker == 0:
            creates(f"{dir}/of-{size}", size)
        makers.append(maker)
    if any(os.waitpid(maker, 0)[1] for maker in makers):
        sys.exit("a host could not make its files")
    costs = {kind: (count - before.get(kind, 0)) / (2 * files) for kind, count in counted().items()}
    print(f"- {sum(costs.values()):.2f} calls for each file of {size} bytes:", {kind: round(cost, 2) for kind, cost in costs.items() if cost})
    if sum(costs.values()) > MOST:
        sys.exit(f"each file of {size} bytes cost {sum(costs.values()):.2f} calls, wanted {MOST} at most")
PY

creates() {
    mkdir "$M/creates"
    python3 "$T/creates.py" "$CREATES" "$M/creates" "$T/far/creates" "$OTHER" || fail "files cost more calls than wanted"
}

part "$CREATES files of each host in one directory, twice" creates
part "$TRANSACTIONS transactions of a database" database
part "$COMMITS commits of git on each host in turn" commits
part "$MESSAGES messages" queue
part "$HOLDERS holders of lock files by O_EXCL, twice" holders excl
part "$HOLDERS holders of lock files by link(2), twice" holders link
part "make on both hosts" makes

umount "$T/far"
end_other
finish
