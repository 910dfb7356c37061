# The directory of users: OpenLDAP on this host, unless the settings name another one. An own slapd, with its own configuration, database
# and socket, under the same supervisor as all else: so it is the same on every host and in the demo, and a slapd that is here already,
# with other people's data, is never touched.
# Read by install.sh.
# shellcheck shell=bash disable=SC2154

directory_packages=(slapd ldap-utils)
directory_service='directory'

# install_directory: settings, files and database. The service itself is one of ${services[@]} from then on.
install_directory() {
    if ! is_directory_ours "$home" "$(directory_suffix "$domain")"; then
        thing ok "the settings name another directory ($(directory_setting "$home" ldap-uri) $(directory_setting "$home" ldap-base)), which is left to itself"
        # One that was here before that was set. Its people stay on the disk.
        remove_service "$directory_service"
        return
    fi
    directory_software
    make_directory "$home" "$(directory_suffix "$domain")" semail-directory semail-directory "$libexec/semail"
    services+=("$directory_service")
}

# Debian's package would make and start a slapd of its own, with an empty database, on a port that the Internet can reach. Nobody asked
# for that one. Where the package is already, whatever it serves is its administrator's.
directory_software() {
    if [ "$(dpkg-query -W -f '${db:Status-Status}' slapd 2> /dev/null || true)" != installed ] && [ ! -e /etc/ldap/slapd.d ] && [ ! -e /etc/ldap/slapd.conf ]; then
        say 'slapd slapd/no_configuration boolean true' | debconf-set-selections
        packages "${directory_packages[@]}"
        # Else the system complains at each start that there is nothing to start.
        update-rc.d slapd disable > /dev/null 2>&1 || true
    else
        packages "${directory_packages[@]}"
    fi
}

# semail.example -> dc=semail,dc=example
directory_suffix() { printf 'dc=%s' "${1//./,dc=}"; }

# Of the socket; a slash within it is %2F.
directory_uri() {
    local socket=$1/run/directory/ldapi
    printf 'ldapi://%s' "${socket//\//%2F}"
}

# directory_setting HOME NAME: its value, or nothing.
directory_setting() { head -n 1 "$1/control/$2" 2> /dev/null || true; }

# is_directory_ours HOME SUFFIX: whether the settings leave the directory to us, or already say what we would.
is_directory_ours() {
    local uri base
    uri=$(directory_setting "$1" ldap-uri)
    base=$(directory_setting "$1" ldap-base)
    case $uri in
    "$(directory_uri "$1")") return 0 ;;
    '' | ldapi:///) [ -z "$base" ] || [ "$base" = "ou=Personnes,$2" ] ;;
    *) return 1 ;;
    esac
}

# make_directory HOME SUFFIX USER GROUP SEMAIL: each thing is there whole or not at all, and what is there stays as it is. USER and GROUP,
# names or numbers, own the database and run slapd; SEMAIL is the program that writes settings.
make_directory() {
    local home=$1 suffix=$2 user=$3 group=$4 semail=$5 conf=$1/control/slapd.conf
    if [ -e "$conf" ]; then
        suffix=$(sed -n 's/^suffix *"\(.*\)" *$/\1/p' "$conf" | head -n 1)
        [ -n "$suffix" ] || fail "$conf has no line suffix \"...\": mend it, or remove the file to have it made anew"
        thing ok "$conf"
    else
        scratch_directory
        sed "s|@SUFFIX@|$suffix|g; s|@HOME@|$home|g" "$root/etc/directory/slapd.conf" > "$scratch/slapd.conf"
        # Where slapd has no argon2, or one that cannot be loaded, its own salted SHA-1 it is.
        [ -e /usr/lib/ldap/argon2.so ] || sed -i 's/^moduleload argon2$//; s/^password-hash .*/password-hash {SSHA}/' "$scratch/slapd.conf"
        install -m 0644 "$scratch/slapd.conf" "$conf.fresh"
        mv -f "$conf.fresh" "$conf"
        thing made "$conf"
    fi
    make_directory_database "$home" "$suffix" "$user" "$group" "$conf"
    directory_settings "$home" "$suffix" "$semail"
}

# The first entries, put in by slapadd, which needs no server: into a database beside, which gets its name when it is whole.
make_directory_database() {
    local home=$1 suffix=$2 user=$3 group=$4 conf=$5 directory=$1/directory
    if [ -e "$directory/db/data.mdb" ]; then
        thing ok "$directory"
        return
    fi
    rm -rf "$directory/fresh"
    install -d -m 0700 -o "$user" -g "$group" "$directory/fresh"
    scratch_directory
    # As slapd's user, which must be able to read it.
    sed "s|^directory .*|directory \"$directory/fresh\"|" "$conf" > "$directory/fresh/slapd.conf"
    directory_entries "$suffix" > "$directory/fresh/first.ldif"
    chown "$user:$group" "$directory"/fresh/*
    if ! setpriv --reuid "$user" --regid "$group" --clear-groups \
        /usr/sbin/slapadd -f "$directory/fresh/slapd.conf" -l "$directory/fresh/first.ldif" > "$scratch/slapadd" 2>&1 < /dev/null; then
        cat "$scratch/slapadd" >&2
        fail 'slapadd made no directory: its words are above'
    fi
    rm "$directory"/fresh/{slapd.conf,first.ldif}
    sync -f "$directory/fresh"
    rm -rf "$directory/db"
    mv "$directory/fresh" "$directory/db"
    thing made "$directory: $suffix"
}

directory_entries() {
    local first=${1%%,*}
    printf 'dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: %s\no: %s\n\n' "$1" "${first#dc=}" "${first#dc=}"
    printf 'dn: ou=Personnes,%s\nobjectClass: organizationalUnit\nou: Personnes\n\n' "$1"
    printf 'dn: ou=Groupes,%s\nobjectClass: organizationalUnit\nou: Groupes\n\n' "$1"
}

# directory_settings HOME SUFFIX SEMAIL: those of them that are not set.
directory_settings() {
    local home=$1 suffix=$2 semail=$3 name value
    while read -r name value; do
        if [ -n "$(directory_setting "$home" "$name")" ] && ! [ "$name $(directory_setting "$home" "$name")" = 'ldap-uri ldapi:///' ]; then
            thing ok "$name is $(directory_setting "$home" "$name")"
        else
            "$semail" --home "$home" config "$name" "$value" > /dev/null
            thing made "$name is $value"
        fi
    done << END
ldap-uri $(directory_uri "$home")
ldap-base ou=Personnes,$suffix
ldap-admin-group cn=semail-admins,ou=Groupes,$suffix
END
}

# await_directory HOME SECONDS: slapd answers at its socket.
await_directory() {
    local end=$((SECONDS + $2))
    while [ $SECONDS -le $end ]; do
        # Root is known by the kernel's word, and sees the entry that everybody is under.
        if ldapsearch -Q -LLL -Y EXTERNAL -H "$(directory_uri "$1")" -b "$(directory_setting "$1" ldap-base)" -s base 1.1 > /dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    return 1
}
