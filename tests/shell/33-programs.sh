#!/bin/sh
# Real programs: git and SQLite work unmodified.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

command -v git >/dev/null || fail "git is missing: apt-get install git"
command -v sqlite3 >/dev/null || fail "sqlite3 is missing: apt-get install sqlite3"
start 256M

note "git"
export HOME="$T" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t \
    GIT_COMMITTER_EMAIL=t@example.org
git init -q "$M/repo"
cd "$M/repo"
for commit in 1 2 3; do
    for file in 1 2 3 4 5; do
        seq "$commit" $((commit * 100 + file)) >"file-$file"
    done
    git add -A
    git commit -qm "commit $commit"
done
git checkout -qb branch HEAD~1
echo other >file-new
git add -A
git commit -qm branch
git merge -q -m merged master 2>/dev/null || git merge -q -m merged main
git gc -q
git fsck --strict
same "a clean tree" "$(git status --porcelain)" ""
git clone -q "$M/repo" "$M/clone"
git clone -q "$M/repo" "$T/clone"
git -C "$M/clone" fsck --strict
diff -r -x .git "$M/clone" "$T/clone" || fail "clones differ"
cd /

note "SQLite"
for journal in delete wal; do
    # WAL needs a shared mapping of its index.
    db=$M/$journal.db
    sqlite3 "$db" "PRAGMA journal_mode=$journal; CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);" >/dev/null
    sqlite3 "$db" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO t SELECT i, randomblob(200) FROM n;"
    for i in 1 2 3 4 5; do
        sqlite3 "$db" "BEGIN; UPDATE t SET v = randomblob(300) WHERE id % 10 = $i; DELETE FROM t WHERE id = $i; COMMIT;"
    done
    sqlite3 "$db" "BEGIN; DELETE FROM t; ROLLBACK;"
    same "rows, $journal" "$(sqlite3 "$db" 'SELECT count(*) FROM t')" 1995
    same "integrity, $journal" "$(sqlite3 "$db" 'PRAGMA integrity_check')" ok
    sqlite3 "$db" "VACUUM;"
    same "integrity after VACUUM, $journal" "$(sqlite3 "$db" 'PRAGMA integrity_check')" ok
done

note "two writers of one database"
db=$M/delete.db
for writer in 1 2; do
    for i in $(seq 20); do
        sqlite3 -cmd '.timeout 20000' "$db" "INSERT INTO t (v) VALUES ('writer $writer $i');"
    done &
    eval "writer$writer=\$!"
done
# shellcheck disable=SC2154  # set by eval
wait "$writer1" || fail "writer 1 failed"
# shellcheck disable=SC2154
wait "$writer2" || fail "writer 2 failed"
same "rows of two writers" "$(sqlite3 "$db" 'SELECT count(*) FROM t')" 2035
same "integrity after two writers" "$(sqlite3 "$db" 'PRAGMA integrity_check')" ok

finish
