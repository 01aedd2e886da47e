#!/bin/sh
# Mode bits, owners and groups, as three uids see them: root, the owner 2001 and the stranger 2002.
# matrix: fabric cache
. "$(dirname "$0")/lib.sh"

start 64M
chmod 755 "$M"
mkdir "$M/open"
chmod 777 "$M/open"
cd "$M/open"

as_user 2001 sh -c 'echo secret >file; chmod 600 file'
same "owner and mode" "$(stat -c '%u %g %a' file)" "2001 2001 600"
same "the owner reads" "$(as_user 2001 cat file)" secret
same "root reads" "$(cat file)" secret
refused "a stranger reads mode 600" "Permission denied" as_user 2002 cat file
refused "a stranger writes mode 600" "Permission denied" as_user 2002 sh -c 'echo x >>file'
as_user 2001 chmod 644 file
same "a stranger reads mode 644" "$(as_user 2002 cat file)" secret
refused "a stranger writes mode 644" "Permission denied" as_user 2002 sh -c 'echo x >>file'
refused "a stranger truncates mode 644" "Permission denied" as_user 2002 truncate -s 0 file
as_user 2001 chmod 000 file
refused "the owner reads mode 000" "Permission denied" as_user 2001 cat file
same "root reads mode 000" "$(cat file)" secret

note "who may change what"
refused "a stranger's chmod" "Operation not permitted" as_user 2002 chmod 777 file
refused "a stranger's chown" "Operation not permitted" as_user 2002 chown 2002 file
refused "the owner gives the file away" "Operation not permitted" as_user 2001 chown 2002 file
refused "the owner gives it to a group that is not his" "Operation not permitted" as_user 2001 chgrp 2002 file
refused "a stranger's touch -d" "Operation not permitted|Permission denied" as_user 2002 touch -d 2001-01-01 file
setpriv --reuid 2001 --regid 2001 --groups 3000 env chgrp 3000 file || fail "the owner cannot give it to a group of his"
same "the group" "$(stat -c %g file)" 3000
chown 2002:2002 file
chmod 600 file
refused "the former owner reads" "Permission denied" as_user 2001 cat file
same "the new owner reads" "$(as_user 2002 cat file)" secret
chmod 640 file
same "a supplementary group reads" "$(setpriv --reuid 2001 --regid 2001 --groups 2002 env cat file)" secret
refused "without that group" "Permission denied" as_user 2001 cat file

note "directories"
mkdir -m 711 walk
chown 2001 walk
echo in >walk/in
chmod 644 walk/in
same "x alone lets a known name be read" "$(as_user 2002 cat walk/in)" in
refused "x alone does not list" "Permission denied" as_user 2002 ls walk
refused "x alone does not create" "Permission denied" as_user 2002 touch walk/new
chmod 700 walk
refused "nothing without x" "Permission denied" as_user 2002 cat walk/in
as_user 2001 rm -f walk/in || fail "the owner of a directory cannot remove in it"
mkdir -m 1777 sticky
as_user 2001 touch sticky/mine
refused "sticky: a stranger removes" "Operation not permitted" as_user 2002 rm -f sticky/mine
refused "sticky: a stranger renames" "Operation not permitted" as_user 2002 mv sticky/mine sticky/his
as_user 2001 rm sticky/mine
mkdir team
chown 2001:3000 team
chmod 2775 team
touch team/file
mkdir team/sub
same "setgid directory: group of a new file" "$(stat -c %g team/file)" 3000
same "setgid directory: group and bit of a new directory" "$(stat -c '%g %a' team/sub)" "3000 2755"

note "umask"
(umask 027 && touch masked && mkdir maskeddir)
same "umask 027" "$(stat -c %a masked) $(stat -c %a maskeddir)" "640 750"
(umask 0 && python3 -c 'import os; os.close(os.open("odd", os.O_CREAT | os.O_WRONLY, 0o421))')
same "mode of open(2)" "$(stat -c %a odd)" 421

note "set-id bits do not survive a write or a change of owner"
cp /bin/true prog
chmod 6777 prog
as_user 2002 sh -c 'echo x >>prog'
same "after a stranger's write" "$(stat -c %a prog)" 777
chmod 6777 prog
as_user 2002 truncate -s 10 prog
same "after a stranger's truncate" "$(stat -c %a prog)" 777
chmod 6777 prog
chown 2001 prog
same "after chown" "$(stat -c %a prog)" 777

note "a mode changed on one mount decides opens on another at once"
attach p "$T/second"
echo shared >both
chmod 644 both
same "before" "$(as_user 2002 cat "$T/second/open/both")" shared
chmod 600 both
denied() {
    ! as_user 2002 cat "$T/second/open/both" >/dev/null 2>&1
}
denied || fail "after chmod 600, the other mount still lets a stranger in"
chmod 644 both
allowed() {
    as_user 2002 cat "$T/second/open/both" >/dev/null 2>&1
}
allowed || fail "after chmod 644, the other mount still keeps a stranger out"

cd /
finish
