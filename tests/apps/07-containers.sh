#!/bin/sh
# podman with its storage on a mount, by the overlay and the vfs driver: imports a root that debootstrap made, builds an image on it, runs
# that, and gives all of it back. The container has the host's network and no cgroup of its own, so that it runs inside of containers too.
# matrix: fabric
# limit: 1800
. "$(dirname "$0")/../shell/lib.sh"

for tool in podman crun debootstrap; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install podman crun debootstrap"
done
# Another root, as a tar file, may be given from outside.
tar=${ROOT_TAR:-$T/root.tar}
if [ ! -e "$tar" ]; then
    note "a minbase root"
    # Where this host has its packages from.
    # shellcheck disable=SC2016,SC2046  # the words are apt's, and two
    set -- $(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | head -n 1)
    debootstrap --variant=minbase "$2" "$T/root" "$1" >"$T/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -n 3 "$T/debootstrap.log")"
    tar -C "$T/root" --one-file-system -cf "$tar" .
    rm -rf "$T/root"
fi
size=$(stat -c %s "$tar")
start "$((size * 8 / 1048576 + 256))M" suid,dev

mkdir "$T/context"
cat >"$T/context/Containerfile" <<'END'
FROM base
RUN echo built >/made && mkdir /of-it && ln /made /of-it/hard && chmod 4755 /bin/sh && mv /usr/share /moved && mkdir /usr/share && mv /moved /usr/share/moved && rm -r /usr/share
COPY Containerfile /of-it/
CMD cat /made /of-it/hard && ls /of-it && echo run >/run-in-it && test ! -e /usr/share && cat /run-in-it
END

for driver in overlay vfs; do
    note "$driver"
    cat >"$T/in" <<'END'
set -eu
# crun takes no part in a mixed hierarchy of cgroups, as some containers have.
umount -l /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# podman takes no longer runroot than 50 characters.
mount -t tmpfs podman /mnt
podman() {
    command podman --root "$M/$DRIVER/root" --runroot /mnt/run --tmpdir /mnt/tmp --storage-driver "$DRIVER" \
        --cgroup-manager cgroupfs --events-backend file --runtime crun "$@"
}
podman import "$TAR" base
podman build --network host --isolation chroot -t image "$T/context"
podman run --rm --network host --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 image >"$T/$DRIVER.out"
podman image rm --all --force
umount "$M/$DRIVER/root/overlay" 2>/dev/null || true
END
    DRIVER=$driver TAR=$tar unshare -m --propagation private "$HERE/../shell/only-ours" sh "$T/in" >"$T/$driver.log" 2>&1 ||
        fail "podman with its storage on a mount ($driver): $(tail -n 5 "$T/$driver.log")"
    same "what the container said" "$(tr '\n' ' ' <"$T/$driver.out")" "built built Containerfile hard run "
    rm -rf "${M:?}/$driver"
done

finish
