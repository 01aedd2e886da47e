#!/bin/sh
# git: a repository of more than 5,000 objects is made, cloned, packed and checked, and two processes of it meet in its lock files.
# matrix: fabric
# limit: 400
. "$(dirname "$0")/../shell/lib.sh"

command -v git >/dev/null || fail "git is missing: apt-get install git"
COMMITS=60
FILES=75

start 512M
export HOME="$T" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t \
    GIT_COMMITTER_EMAIL=t@example.org
git config --global gc.auto 0
git config --global init.defaultBranch main
git config --global advice.detachedHead false

note "$COMMITS commits of $FILES changed files each"
git init -q "$M/repo"
cd "$M/repo"
mkdir -p a/b c
for commit in $(seq $COMMITS); do
    for file in $(seq $FILES); do
        case $((file % 3)) in 0) dir=a/b ;; 1) dir=c ;; *) dir=. ;; esac
        printf 'line %s of commit %s\n' "$file" "$commit" >>"$dir/file-$file"
    done
    git add -A
    git commit -qm "commit $commit"
done
chmod +x a/b/file-3
ln -s file-3 a/b/link
git add -A
git commit -qm "an executable and a link"
objects=$(git count-objects | cut -d ' ' -f 1)
note "$objects loose objects"
[ "$objects" -ge 4500 ] || fail "only $objects objects"

note "branches that change other files, merged"
for branch in one two three; do
    git checkout -q -b $branch main
    for commit in $(seq 10); do
        for file in $(seq 30); do
            printf '%s %s %s\n' $branch "$commit" "$file" >"$branch-$file-$commit"
        done
        git add -A
        git commit -qm "$branch $commit"
    done
    git checkout -q main
    git merge -q -m "merge $branch" $branch
done
git fsck --full --strict --no-progress
same "a clean tree" "$(git status --porcelain)" ""

note "clones: over pack files, by hard links, and back to a local directory"
git clone -q "file://$M/repo" "$M/packed"
git clone -q "$M/repo" "$M/linked"
git clone -q "file://$M/repo" "$T/away"
for clone in "$M/packed" "$M/linked" "$T/away"; do
    git -C "$clone" fsck --full --strict --no-progress
    same "the head of $clone" "$(git -C "$clone" rev-parse HEAD)" "$(git rev-parse HEAD)"
    diff -r -x .git "$clone" "$M/repo" || fail "$clone differs"
done
objects=$(git -C "$M/packed" count-objects -v | sed -n 's/^in-pack: //p')
note "$objects objects in the clone's pack"
[ "$objects" -ge 5000 ] || fail "only $objects objects"

note "gc while somebody reads the history"
git log -p --all >"$T/log.before"
(while [ ! -e "$T/packed" ]; do git log --oneline --all >/dev/null || exit 1; done) &
reader=$!
git gc -q --aggressive --prune=now
: >"$T/packed"
wait "$reader" || fail "git log failed while git gc ran"
git fsck --full --strict --no-progress
git log -p --all >"$T/log.after"
same_bytes "the history after gc" "$T/log.before" "$T/log.after"
same "loose objects after gc" "$(git count-objects | cut -d ' ' -f 1)" 0

note "two processes commit at once: each commit is there or its lock was taken"
for writer in 1 2; do
    git worktree add -q -b "writer$writer" "$M/writer$writer"
    (
        cd "$M/writer$writer"
        for commit in $(seq 40); do
            echo "$commit" >"by-$writer"
            git add -A
            git commit -qm "writer $writer, $commit"
        done
    ) &
    eval "writer$writer=\$!"
done
# shellcheck disable=SC2154  # set by eval
wait "$writer1" || fail "writer 1 failed"
# shellcheck disable=SC2154
wait "$writer2" || fail "writer 2 failed"
for writer in 1 2; do
    same "commits of writer $writer" "$(git rev-list --count "main..writer$writer")" 40
done
git fsck --full --strict --no-progress

cd /
finish
