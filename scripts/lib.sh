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

# What need_packages has installed so far, and the room that apt says it took.
installed_packages=
installed_room=

# need_packages PACKAGE...: installs those Debian packages that are missing.
need_packages() {
    missing=
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    say "installing Debian packages:$missing"
    # shellcheck disable=SC2086 # a list of words
    apt_install $missing && return 0
    # The lists that apt has may be missing or old.
    apt_update || die "apt-get update failed: $apt_said: check the network and /etc/apt/sources.list"
    # shellcheck disable=SC2086
    apt_install $missing || die "apt-get could not install$missing: $apt_said"
}

# apt_install PACKAGE...: true when they are there now, else $apt_said has apt's reason. Takes nothing away for it.
apt_install() {
    output=$(mktemp)
    if DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-remove --no-install-recommends "$@" >"$output" 2>&1; then
        installed_packages="$installed_packages $*"
        room=$(sed -n 's/^After this operation, \(.*\) of additional disk space will be used.*/\1/p' "$output")
        [ -z "$room" ] || installed_room="${installed_room:+$installed_room + }$room"
        rm -f "$output"
        return 0
    fi
    # shellcheck disable=SC2034 # of the caller
    apt_said=$(grep '^E: ' "$output" | head -n 1 | cut -c 4-)
    rm -f "$output"
    return 1
}

apt_update() {
    output=$(mktemp)
    apt-get update -q >"$output" 2>&1
    code=$?
    # A host that cannot be reached is only a warning to apt, which goes on with the old lists.
    apt_said=$(grep '^[EW]: ' "$output" | head -n 1 | cut -c 4-)
    rm -f "$output"
    return $code
}

# at_least WANTED HAVE: whether a version is new enough.
at_least() {
    [ -n "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# True when cargo is there and new enough.
have_rust() {
    command -v cargo >/dev/null 2>&1 || return 1
    at_least "$rust_version" "$(cd "$root" && cargo --version 2>/dev/null | cut -d ' ' -f 2)"
}

# What building needs: a C compiler to link with, libibverbs, and Rust: the one on PATH, or that of apt, or that of rustup.
need_rust() {
    need_packages gcc libc6-dev ca-certificates libibverbs1 ibverbs-providers
    cargo_home=${CARGO_HOME:-${HOME:-/root}/.cargo}
    [ -d "$cargo_home/bin" ] && PATH="$cargo_home/bin:$PATH"
    export PATH
    have_rust && return 0
    rust_of_apt && return 0
    rust_of_rustup && return 0
    die "needs Rust $rust_version or newer ($(cargo --version 2>/dev/null || echo 'there is no cargo')); apt: $apt_said; rustup: $rustup_said"
}

# Debian names it cargo-web (made for web browsers, and kept new in stable releases and in their security archive) or cargo;
# Ubuntu has cargo-1.95 and the like, with programs in a folder of their own. False when none is new enough: see $apt_said.
rust_of_apt() {
    apt_cargo || { apt_update && apt_cargo; } || return 1
    say "installing Debian packages: $apt_cargo $apt_rustc"
    apt_install "$apt_cargo" "$apt_rustc" || return 1
    for place in "/usr/lib/rust-${apt_cargo#cargo-}/bin" /usr/bin; do
        [ -x "$place/cargo" ] || continue
        PATH="$place:$PATH"
        have_rust && return 0
    done
    apt_said="$apt_cargo is installed and not found"
    return 1
}

# The package of cargo that apt offers and that is new enough: $apt_cargo, with $apt_rustc. Else $apt_said says what there is.
apt_cargo() {
    apt_said='has no cargo'
    for apt_cargo in cargo-web cargo $(apt-cache search --names-only '^cargo-1\.[0-9]+$' 2>/dev/null | cut -d ' ' -f 1 | sort -rV); do
        offered=$(apt-cache policy "$apt_cargo" 2>/dev/null | sed -n 's/^ *Candidate: //p')
        case $offered in
            '' | '(none)') continue ;;
        esac
        apt_rustc=rustc${apt_cargo#cargo}
        at_least "$rust_version" "${offered#*:}" && return 0
        apt_said="its $apt_cargo is ${offered%%[-+]*} (Debian's security archive has newer ones: is it in /etc/apt/sources.list?)"
        [ "$apt_cargo" != cargo-web ] || break
    done
    return 1
}

# Rust by rustup, which comes over the network where it is missing. False when that cannot be: see $rustup_said.
rust_of_rustup() {
    output=$(mktemp)
    if ! command -v rustup >/dev/null 2>&1; then
        need_packages curl
        say "installing Rust $rust_version with rustup (https://rustup.rs)"
        if curl --proto '=https' --tlsv1.2 -sSf --connect-timeout 20 -o "$output.sh" https://sh.rustup.rs 2>"$output"; then
            sh "$output.sh" -y --profile minimal --default-toolchain "$rust_version" --no-modify-path >"$output" 2>&1 || true
        fi
        PATH="$cargo_home/bin:$PATH"
    else
        say "installing Rust $rust_version with rustup"
        RUSTUP_TOOLCHAIN=$rust_version
        export RUSTUP_TOOLCHAIN
        rustup toolchain install --profile minimal "$rust_version" >"$output" 2>&1 || unset RUSTUP_TOOLCHAIN
    fi
    rustup_said=$(grep -i 'error\|^curl: ' "$output" | head -n 1)
    rm -f "$output" "$output.sh"
    have_rust
}

# The linter and the formatter, which Debian and rustup keep apart from the compiler.
need_lints() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
    if cargo --version | grep -q 'source tarball'; then
        case $(dpkg-query -W -f '${db:Status-Abbrev}' cargo-web 2>/dev/null) in
            ii*) need_packages rustfmt-web rust-web-clippy ;;
            *) need_packages rustfmt rust-clippy ;;
        esac
    else
        rustup component add rustfmt clippy >/dev/null 2>&1 || true
    fi
    cargo fmt --version >/dev/null 2>&1 || die "cargo fmt is missing: rustup component add rustfmt, or Debian's rustfmt"
    cargo clippy --version >/dev/null 2>&1 || die "cargo clippy is missing: rustup component add clippy, or Debian's rust-clippy"
}

need_fuse() {
    [ -c /dev/fuse ] || modprobe fuse 2>/dev/null || true
    [ -c /dev/fuse ] || die "there is no /dev/fuse: load the kernel module (modprobe fuse), or give the container --device /dev/fuse --cap-add SYS_ADMIN"
}

# Leaves the program at $root/target/release/rdmafs (or where CARGO_TARGET_DIR says): $rdmafs; its symbols beside it in rdmafs.debug.
build_release() {
    say "building with $(cargo --version) (some minutes the first time, seconds later)"
    (cd "$root" && cargo build --locked --release -p rdmafs-mount-tool) || die "the build failed: see above"
    rdmafs=${CARGO_TARGET_DIR:-$root/target}/release/rdmafs
    separate_symbols "$rdmafs"
}

# separate_symbols PROGRAM: strips it. Debuggers, and the program itself when it panics, find PROGRAM.debug by a link in it.
# Each build puts cargo's own file there again, so the stripped one is kept.
separate_symbols() {
    if [ -z "$(find "$1.stripped" -newer "$1" 2>/dev/null)" ]; then
        objcopy --only-keep-debug "$1" "$1.debug"
        objcopy --strip-all --add-gnu-debuglink="$1.debug" "$1" "$1.$$"
        mv "$1.$$" "$1.stripped"
    fi
    ln -f "$1.stripped" "$1.$$"
    mv "$1.$$" "$1"
    # Where both were one file already, mv has done nothing.
    rm -f "$1.$$"
}

# rest_words: what stays on this machine after a build, and how to be rid of it.
rest_words() {
    say "what stays: ${CARGO_TARGET_DIR:-$root/target} ($(room_of "${CARGO_TARGET_DIR:-$root/target}")) and, in $cargo_home/registry, the sources of libraries ($(room_of "$cargo_home/registry"))"
    [ -z "$installed_packages" ] ||
        say "            Debian packages${installed_room:+ ($installed_room)}: apt-get autoremove --purge$installed_packages"
}

room_of() {
    du -sh "$1" 2>/dev/null | cut -f 1
}
