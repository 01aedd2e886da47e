# shellcheck shell=sh
# What the scripts share: words, progress, and installing what is missing. Sourced, never run.

# Directories that anyone may write are refused by the daemons; what is made here must not hang on who runs it.
umask 022

root=$(cd "$(dirname "$0")/.." && pwd)
export CARGO_TERM_PROGRESS_WHEN="${CARGO_TERM_PROGRESS_WHEN:-auto}"
# The root manifest says which Rust is needed.
rust_version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

need_root() {
    [ "$(id -u)" -eq 0 ] || die "needs root, because it mounts file systems and installs packages: try sudo $0"
}

# need_packages PACKAGE...: installs those Debian packages that are missing.
need_packages() {
    missing=
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    say "installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 && return 0
    apt-get update -q >/dev/null || die "apt-get update failed: check the network and /etc/apt/sources.list"
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing >/dev/null ||
        die "apt-get could not install$missing: run it by hand to see why"
}

# True when cargo is there and new enough.
have_rust() {
    command -v cargo >/dev/null 2>&1 || return 1
    have=$(cd "$root" && cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$rust_version" "$have" | sort -V | head -n 1)" = "$rust_version" ]
}

# What building needs: a C compiler to link with, what the bindings of libibverbs are made with, and Rust: the one on PATH, or that of rustup, installed where there is none.
need_rust() {
    need_packages gcc libc6-dev git ca-certificates curl make cmake python3-minimal pkg-config libclang1-14 \
        libclang-common-14-dev libibverbs-dev libibverbs1 ibverbs-providers
    [ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
    have_rust && return 0
    if ! command -v rustup >/dev/null 2>&1; then
        say "installing Rust $rust_version with rustup (https://rustup.rs)"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --profile minimal --default-toolchain "$rust_version" --no-modify-path >/dev/null ||
            die "rustup could not install Rust: see https://rustup.rs"
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    elif ! have_rust; then
        rustup toolchain install --profile minimal "$rust_version" >/dev/null || die "rustup could not install Rust $rust_version"
        RUSTUP_TOOLCHAIN=$rust_version
        export RUSTUP_TOOLCHAIN
    fi
    have_rust || die "needs Rust $rust_version or newer, and cargo is $(cargo --version 2>/dev/null || echo missing)"
}

need_fuse() {
    [ -c /dev/fuse ] || modprobe fuse 2>/dev/null || true
    [ -c /dev/fuse ] || die "there is no /dev/fuse: load the kernel module (modprobe fuse), or give the container --device /dev/fuse --cap-add SYS_ADMIN"
}

# Leaves the program at $root/target/release/rdmafs (or where CARGO_TARGET_DIR says): $rdmafs.
build_release() {
    say "building (a few minutes the first time, seconds later)"
    (cd "$root" && cargo build --locked --release -p rdmafs-mount-tool) || die "the build failed: see above"
    # shellcheck disable=SC2034 # used by the scripts
    rdmafs=${CARGO_TARGET_DIR:-$root/target}/release/rdmafs
}
