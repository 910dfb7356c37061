# install.sh: Debian's packages of Courier, without the mail server that they want and without the services that they start. Read by webmail.sh.
# shellcheck shell=bash disable=SC2154

# silence_courier PACKAGE...: installs them; of what they start, nothing is needed: courier-auth sits at authdaemond's socket, and runit
# starts SqWebMail's daemon and couriertcpd.
silence_courier() {
    local name
    for name in sqwebmail courier-authdaemon; do
        # What ran before SEMail came serves somebody.
        if [ ! -e /etc/sv/semail-courier-auth ] && is_courier_running "$name"; then
            fail "$name runs here already, with users of its own: SEMail's would take its place. Stop it, and see that it does not start again, then run this again"
        fi
    done
    stand_in_for_mta
    packages "$@"
    for name in sqwebmail courier-authdaemon courier-imap courier-imap-ssl; do
        [ -e "/etc/init.d/$name" ] || [ -e "/lib/systemd/system/$name.service" ] || continue
        if is_courier_off "$name"; then
            thing ok "$name of Debian is off"
            continue
        fi
        if [ -d /run/systemd/system ]; then
            systemctl --quiet disable --now "$name.service" > /dev/null 2>&1 || true
        else
            "/etc/init.d/$name" stop > /dev/null 2>&1 || true
        fi
        update-rc.d "$name" disable > /dev/null 2>&1 || true
        thing changed "$name of Debian is off: SEMail's own services take its place"
    done
}

# Debian's packages of Courier want some mail server of Debian's, and apt would fetch one, with its own sendmail command and its own port 25.
# SEMail is one: a package without files says so.
stand_in_for_mta() {
    local tree
    if dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' | grep -qE '^installed .*\bmail-transport-agent\b'; then
        thing ok 'a package that is a mail server is installed'
        return
    fi
    scratch_directory
    tree=$scratch/semail-mta
    mkdir -p "$tree/DEBIAN"
    printf '%s\n' 'Package: semail-mta' 'Version: 1' 'Architecture: all' 'Maintainer: SEMail <postmaster@localhost>' 'Section: mail' 'Priority: optional' \
        'Provides: mail-transport-agent' 'Description: SEMail is the mail server of this host' \
        ' Made by its install.sh, without files, for packages that want a mail server.' > "$tree/DEBIAN/control"
    chmod -R u=rwX,go=rX "$tree"
    dpkg-deb --build "$tree" "$scratch/semail-mta.deb" > /dev/null
    dpkg --install "$scratch/semail-mta.deb" > "$scratch/dpkg" 2>&1 || {
        cat "$scratch/dpkg" >&2
        fail 'the package semail-mta cannot be installed: dpkg says why above'
    }
    thing made 'the package semail-mta, which says that this host has a mail server'
}

is_courier_off() {
    if is_courier_running "$1"; then return 1; fi
    if [ -d /run/systemd/system ] && systemctl --quiet is-enabled "$1.service" > /dev/null 2>&1; then return 1; fi
    [ -z "$(find /etc/rc2.d -name "S[0-9][0-9]$1" 2> /dev/null)" ]
}

is_courier_running() {
    local pid
    case $1 in
    sqwebmail) pid=/run/courier/sqwebmaild.pid ;;
    courier-authdaemon) pid=/run/courier/authdaemon/pid ;;
    courier-imap) pid=/run/courier/imapd.pid ;;
    courier-imap-ssl) pid=/run/courier/imapd-ssl.pid ;;
    esac
    [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2> /dev/null
}
