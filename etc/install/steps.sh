# What every part of install.sh needs: words, steps, packages, the build, ports, services.
# Read by install.sh, which sets $root (the repository) and $usage.
# shellcheck shell=bash disable=SC2034,SC2154

programs=(tcp-accept tls-wrap smtpd-session auth-check checkpassword-ldap qrunner maildir-deliver remote-relay dkim-sign sendmail courier-auth domain-check maildir-export provision portal semail)
services=(inbound outbound outbound-tls outbound-local auth qrunner export provision portal)

# -- words -------------------------------------------------------------------

say() { printf '%s\n' "$*"; }

# Exit codes as everywhere in SEMail: 100 this cannot be, 111 try again once the reason is gone.
misuse() {
    printf 'install.sh: %s\n%s\n' "$*" "$usage" >&2
    exit 100
}
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 111
}

# What is in $scratch goes when install.sh ends, however it ends.
scratch=''
scratch_directory() {
    [ -z "$scratch" ] || return 0
    scratch=${TMPDIR:-/tmp}/semail-install.$$.$RANDOM
    mkdir -m 0700 "$scratch" || {
        scratch=''
        fail 'no directory for temporary files can be made'
    }
}
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

# One line for each thing: ok, or what was done to it.
changes=0
thing() {
    printf '   %-8s %s\n' "$1" "$2"
    [ "$1" = ok ] || changes=$((changes + 1))
}

# step TITLE COMMAND...: runs it under its title, and says how long it took.
step() {
    local title=$1 started=${EPOCHREALTIME/[.,]/} took
    shift
    say "$title"
    "$@"
    took=$(((${EPOCHREALTIME/[.,]/} - started) / 1000))
    if [ $took -lt 1000 ]; then say "   $took ms"; else say "   $((took / 1000)).$((took / 100 % 10)) s"; fi
}

# -- the machine -------------------------------------------------------------

check_machine() {
    local ID='' ID_LIKE='' PRETTY_NAME='this system'
    # shellcheck source=/dev/null
    [ ! -r /etc/os-release ] || . /etc/os-release
    case " $ID $ID_LIKE " in
    *' debian '*) ;;
    *) fail "$PRETTY_NAME is not Debian: SEMail is installed on Debian 12 or newer, or a system made from it" ;;
    esac
    [ "$(id -u)" = 0 ] || fail "this needs root: sudo $0 ..."
}

# packages NAME...: installs those that are missing.
packages() {
    local name missing=()
    for name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null || true)" = installed ] || missing+=("$name")
    done
    if [ ${#missing[@]} = 0 ]; then
        thing ok "$*"
        return
    fi
    say "   installing ${missing[*]} ..."
    scratch_directory
    # The lists may be old or not there at all, and another apt may be at work.
    if ! install_packages "${missing[@]}" > "$scratch/apt" 2>&1; then
        if ! { apt-get -o DPkg::Lock::Timeout=300 update && install_packages "${missing[@]}"; } > "$scratch/apt" 2>&1 < /dev/null; then
            tail -n 15 "$scratch/apt" >&2
            fail "apt-get could not install ${missing[*]}: its last words are above"
        fi
    fi
    thing made "${missing[*]}"
}

install_packages() {
    DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" < /dev/null
}

# -- the build ---------------------------------------------------------------

# What a Swift toolchain wants of Debian to link static executables, and fetching the sources of others; then TLS, DKIM and LDAP.
build_packages=(ca-certificates git gcc libc6-dev libstdc++-12-dev libssl-dev libldap2-dev)
# What a host needs besides the programs: openssl makes the first certificate.
host_packages=(iproute2 runit openssl)

# Where Swift is: sudo's PATH is not the admin's.
find_swift() {
    local candidate home='' version wanted
    scratch_directory
    [ -z "${SUDO_USER-}" ] || home=$(getent passwd "$SUDO_USER" | cut -d : -f 6)
    for candidate in "$(command -v swift || true)" "$home"/.local/share/swiftly/bin/swift "$home"/.swiftly/bin/swift ~/.local/share/swiftly/bin/swift \
        /opt/swift*/usr/bin/swift /usr/local/swift*/usr/bin/swift /usr/share/swift*/usr/bin/swift /usr/libexec/swift*/bin/swift; do
        if [ -x "$candidate" ]; then
            swift=$candidate
            wanted=$(sed -n '1s/.*tools-version: *//p' "$root/Package.swift")
            version=$(run_swift --version 2> /dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' | head -n 1)
            if [ "$(printf '%s\n' "$wanted" "$version" | sort -V | head -n 1)" != "$wanted" ]; then
                fail "Swift $wanted or newer is needed, and $swift is ${version:-of an unknown version}: see https://www.swift.org/install/linux/"
            fi
            return
        fi
    done
    fail 'no Swift on this machine: install it as https://www.swift.org/install/linux/ says, then run this again'
}

# The build belongs to whom the sources belong: root must not leave files in the way of their owner.
as_builder() {
    local owner
    owner=$(stat -c %U "$root")
    if [ "$owner" = root ] || [ "$owner" = UNKNOWN ]; then
        "$@"
    else
        runuser -u "$owner" -- env PATH="$PATH" HOME="$(getent passwd "$owner" | cut -d : -f 6)" "$@"
    fi
}

# run_swift ARGUMENT...: with a directory for what it leaves behind, which goes with $scratch.
run_swift() {
    scratch_directory
    chmod 711 "$scratch"
    mkdir -p "$scratch/swift"
    chmod 1777 "$scratch/swift"
    as_builder env TMPDIR="$scratch/swift" "$swift" "$@"
}

# Release executables, unless nothing has changed since the last ones were made.
build() {
    local started mark=$root/.build/release/.install-built
    if is_built "$mark"; then
        thing ok "up to date: ${programs[*]}"
        return
    fi
    find_swift
    say "   swift build -c release (a first build takes some minutes)"
    started=$(date +%s.%N)
    run_swift build --package-path "$root" -c release || fail 'the build failed: its last words are above'
    as_builder touch -d "@$started" "$mark"
    thing made "${programs[*]}"
}

is_built() {
    local name
    [ -e "$1" ] || return 1
    for name in "${programs[@]}"; do
        [ -x "$root/.build/release/$name" ] || return 1
    done
    [ -z "$(find "$root/Package.swift" "$root/Sources" -newer "$1" -print -quit)" ]
}

# -- ports and services ------------------------------------------------------

# Who listens on a TCP port: a line `NAME (process PID)` for each, or nothing.
holders_of_port() {
    ss -Hltnp "sport = :$1" | sed -E 's/.*users:\(\("([^"]*)",pid=([0-9]+).*/\1 (process \2)/; t; s/.*/a process that cannot be seen from here/' | sort -u
}

# A connection to PORT of ADDRESS is greeted within SECONDS.
is_greeted() {
    local address=$1 port=$2 end=$((SECONDS + $3)) line
    while [ $SECONDS -le $end ]; do
        if line=$(exec 2> /dev/null 3<> "/dev/tcp/$address/$port" && read -r -t 10 -u 3 line && printf 'QUIT\r\n' >&3 && printf %s "$line"); then
            case $line in '220 '*) return 0 ;; esac
        fi
        sleep 0.1
    done
    return 1
}

is_greeted_by_tls() {
    local address=$1 port=$2 end=$((SECONDS + $3))
    while [ $SECONDS -le $end ]; do
        # A client that speaks before the greeting is sent away.
        if { sleep 0.3 && printf 'QUIT\r\n'; } | timeout 10 openssl s_client -quiet -connect "$address:$port" 2> /dev/null | grep -q '^220 '; then return 0; fi
        sleep 0.1
    done
    return 1
}

# end_service DIR: has runsv end its service, its log and itself; sessions that will not end in time are cut.
end_service() {
    local dir=$1 tries
    [ -e "$dir/supervise/ok" ] || return 0
    sv exit "$dir" > /dev/null 2>&1 || return 0
    for ((tries = 1; tries <= 150; tries++)); do
        # Nobody reads the control FIFO any more: runsv has ended.
        sv status "$dir" > /dev/null 2>&1 || return 0
        case $tries in
        20) sv term "$dir" > /dev/null 2>&1 || true ;;
        100) sv kill "$dir" > /dev/null 2>&1 || true ;;
        esac
        sleep 0.1
    done
    return 1
}

# -- keys ------------------------------------------------------------------------

# make_tsig_key NAME: a key that signs changes to a zone (RFC 8945), as named and nsupdate read it. tsig-keygen prints the same.
make_tsig_key() {
    local secret
    secret=$(openssl rand -base64 32) || fail 'openssl made no key'
    printf 'key "%s" {\n\talgorithm hmac-sha256;\n\tsecret "%s";\n};\n' "$1" "$secret"
}

# -- the first certificate -----------------------------------------------------

# make_certificate FILE OWNER GROUP HOSTNAME: a P-256 key and a certificate for it that nobody has signed, in one file. Clients encrypt
# with it and cannot know whose it is: the admin replaces it.
make_certificate() {
    scratch_directory
    # RFC 5280 A.1: a common name has 64 characters at most. Clients look at the other name, which may be longer.
    if ! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 -subj "/CN=${4:0:64}" \
        -addext "subjectAltName=DNS:$4" -addext 'basicConstraints=critical,CA:FALSE' -addext 'extendedKeyUsage=serverAuth' \
        -keyout "$scratch/key.pem" -out "$scratch/certificate.pem" > "$scratch/openssl" 2>&1 < /dev/null; then
        cat "$scratch/openssl" >&2
        fail 'openssl made no certificate: its words are above'
    fi
    # In the order that Postfix wants too.
    cat "$scratch/key.pem" "$scratch/certificate.pem" > "$scratch/both.pem"
    install -m 0400 -o "$2" -g "$3" "$scratch/both.pem" "$1.fresh"
    rm "$scratch"/{key,certificate,both}.pem "$scratch/openssl"
    mv -f "$1.fresh" "$1"
}
