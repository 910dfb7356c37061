# install.sh --domain NAME and --uninstall: this host runs SEMail, or does so no longer.
# Read by install.sh.
# shellcheck shell=bash disable=SC2154

# shellcheck source=etc/install/directory.sh
. "$root/etc/install/directory.sh"
# shellcheck source=etc/install/dns.sh
. "$root/etc/install/dns.sh"
# shellcheck source=etc/install/containers.sh
. "$root/etc/install/containers.sh"
# shellcheck source=etc/install/webmail.sh
. "$root/etc/install/webmail.sh"

home=/var/lib/semail
settings=/etc/semail
libexec=/usr/local/libexec/semail
share=/usr/local/share/semail
# semail-queue before semail-smtpd, whose group it is a member of: they go in this order.
users=(semail-accept semail-queue semail-smtpd semail-tls semail-auth semail-directory semail-remote semail-dkim semail-portal semail-log)
# Whoever is a member may ask at run/auth whether a password is right, besides sessions, whose socket it is.
ask_group='semail-ask'
# What each service starts.
declare -A stages=(
    [inbound]='tcp-accept smtpd-session' [outbound]='tcp-accept smtpd-session' [outbound-tls]='tcp-accept tls-wrap smtpd-session'
    [outbound-local]='tcp-accept smtpd-session' [auth]='tcp-accept' [directory]='' [qrunner]='qrunner maildir-deliver remote-relay dkim-sign' [export]='tcp-accept'
    [provision]='provision' [portal]='portal'
)
# The sendmail command, where programs expect it, and its other name. What is there already may be another's, and stays.
sendmail_links=(/usr/sbin/sendmail /usr/local/sbin/sendmail /usr/local/bin/mailq)
# Debian's runit has several directories of services, of which /etc/service is one at a time.
service_links=(/etc/service /etc/runit/runsvdir/default /etc/runit/runsvdir/svmanaged)

install_host() {
    local needed=("${build_packages[@]}" "${host_packages[@]}")
    check_domain
    # On systemd and sysvinit this package starts runit's runsvdir, now and at boot.
    if [ -d /run/systemd/system ] || [ -f /etc/inittab ]; then needed+=(runit-run); fi
    step 'Packages' packages "${needed[@]}"
    step 'Programs: build' build
    step 'Ports 25, 465 and 587' check_ports
    step 'Users' make_users
    step 'Paths (etc/hier)' lay_out "$home"
    step 'Programs and manuals' put_files
    step 'Settings' make_settings
    wanted directory && step 'Directory of users' install_directory
    wanted dns && step 'DNS' install_dns
    wanted containers && install_containers
    wanted webmail && step 'Web pages and webmail' install_webmail ${with_imap:+--with-imap}
    step 'Services' make_services
    if [ "$changes" = 0 ]; then say 'Nothing was changed.'; else say "$changes things were made or changed."; fi
    say 'Next: semail mailbox create OWNER ADDRESS gives somebody a mailbox; semail doctor looks whether all is well; man semail explains.'
}

# Whether a part is to be installed: --without leaves it out, and what was installed of it before stays as it is.
wanted() { [[ " $without " != *" $1 "* ]]; }

# The value of a setting, or its default.
setting() { "$libexec/semail" --home "$home" config "$1" 2> /dev/null | head -n 1 || true; }

set_setting() {
    "$libexec/semail" --home "$home" config "$1" "$2" > /dev/null
    thing made "$1 $2"
}

check_domain() {
    if [ -z "$domain" ]; then fail 'no domain: --domain NAME gives this host its name in mail'; fi
    domain=${domain,,}
    case $domain in
    *[!a-z0-9.-]* | .* | *. | *..* | -* | *.-* | *-.*) misuse "--domain: $domain is no domain name" ;;
    *.*) ;;
    *) misuse "--domain: $domain has no dot in it; a name such as semail.example is wanted" ;;
    esac
}

check_ports() {
    local port holders holder pid
    for port in 25 465 587; do
        mapfile -t holders < <(holders_of_port $port)
        for holder in "${holders[@]}"; do
            pid=${holder##*process }
            [[ $(readlink "/proc/${pid%)}/exe" 2> /dev/null || true) = "$libexec"/* ]] ||
                fail "port $port is in use by $holder: stop it, and see that it does not start again (systemctl disable --now NAME), then run this again"
        done
        if [ ${#holders[@]} = 0 ]; then thing ok "$port is free"; else thing ok "$port: SEMail has it"; fi
    done
}

make_users() {
    local name group
    for name in "${users[@]}"; do
        if getent passwd "$name" > /dev/null; then
            thing ok "$name"
        else
            group=--user-group
            if getent group "$name" > /dev/null; then group="--gid=$name"; fi
            useradd --system "$group" --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --comment "SEMail ${name#semail-}" "$name"
            thing made "$name"
        fi
    done
    if getent group "$ask_group" > /dev/null; then
        thing ok "$ask_group"
    else
        groupadd --system "$ask_group"
        thing made "$ask_group"
    fi
    # What sessions put into the queue belongs to their group; qrunner reads it.
    add_to_group semail-queue semail-smtpd
    # The portal asks whether passwords are right, and shows people what the logs say of their messages.
    add_to_group semail-portal "$ask_group"
    add_to_group semail-portal semail-log
}

# add_to_group USER GROUP
add_to_group() {
    if [[ " $(id -nG "$1") " = *" $2 "* ]]; then
        thing ok "$1 in the group $2"
    else
        usermod -a -G "$2" "$1"
        thing made "$1 in the group $2"
    fi
}

# lay_out HOME: makes what etc/hier says, and corrects what is otherwise.
lay_out() {
    local home=$1 type mode owner group path target
    local -A uids=() gids=()
    while read -r type mode owner group path _ target; do
        path=${path/#HOME/$home}
        case $type in
        '' | '#'*) ;;
        l) lay_link "$path" "$target" ;;
        *)
            [ -n "${uids[$owner]-}" ] || uids[$owner]=$(id -u "$owner")
            [ -n "${gids[$group]-}" ] || gids[$group]=$(getent group "$group" | cut -d : -f 3)
            lay_path "$type" "$((8#$mode))" "${uids[$owner]}:${gids[$group]}" "$path"
            ;;
        esac
    done < "$root/etc/hier"
}

lay_link() {
    if [ "$(readlink "$1" || true)" = "$2" ]; then
        thing ok "$1 -> $2"
    elif [ -e "$1" ] && [ ! -L "$1" ]; then
        fail "$1 is in the way: it should be a symbolic link to $2"
    else
        mkdir -p "$(dirname "$1")"
        ln -sfn "$2" "$1"
        thing made "$1 -> $2"
    fi
}

lay_path() {
    local type=$1 mode owner=$3 path=$4 state=ok
    mode=$(printf %o "$2")
    [ ! -L "$path" ] || fail "$path is a symbolic link and should be none"
    mkdir -p "$(dirname "$path")"
    case $type in
    f) [ -e "$path" ] || return 0 ;;
    d) [ -d "$path" ] || { mkdir -m 0700 "$path" && state=made; } ;;
    p) [ -p "$path" ] || { mkfifo -m 0600 "$path" && state=made; } ;;
    *) fail "etc/hier: there is no type $type" ;;
    esac
    if [ "$(stat -c '%a %u:%g' "$path")" != "$mode $owner" ]; then
        [ $state = made ] || state=changed
        chown -h "$owner" "$path"
        chmod "$mode" "$path"
    fi
    thing $state "$path"
}

# put MODE FILE TARGET: a copy, whole or not at all.
put() {
    local state=made
    if [ -e "$3" ]; then
        state=changed
        if cmp -s "$2" "$3"; then
            [ "$(stat -c '%a %u:%g' "$3")" != "$1 0:0" ] || state=ok
        fi
    fi
    if [ $state != ok ]; then
        mkdir -p "$(dirname "$3")"
        install -m "$1" -o root -g root "$2" "$3.fresh"
        mv -f "$3.fresh" "$3"
    fi
    thing $state "$3"
}

# Every file but services and settings: MODE SOURCE TARGET.
list_files() {
    local name page
    for name in "${programs[@]}"; do printf '%s\n' "755 $root/.build/release/$name $libexec/$name"; done
    printf '%s\n' "644 $root/etc/hier $share/hier"
    for page in "$root"/man/*.[1-9]; do
        if [ -e "$page" ]; then printf '%s\n' "644 $page /usr/local/share/man/man${page##*.}/${page##*/}"; fi
    done
}

put_files() {
    local mode source target list=$share/files
    scratch_directory
    list_files | cut -d ' ' -f 3 > "$scratch/files"
    # What an older version had and this one has not.
    if [ -e "$list" ]; then
        while read -r target; do
            if ! grep -qxF "$target" "$scratch/files" && [ -e "$target" ]; then
                rm -f "$target"
                thing removed "$target"
            fi
        done < "$list"
    fi
    put 644 "$scratch/files" "$list"
    while read -r mode source target; do put "$mode" "$source" "$target"; done < <(list_files)
    for target in "${sendmail_links[@]}"; do
        if { [ -e "$target" ] || [ -L "$target" ]; } && ! is_our_link "$target"; then
            thing ok "$target is another program's, and stays as it is"
        else
            lay_link "$target" "$libexec/sendmail"
        fi
    done
}

is_our_link() { [ "$(readlink "$1" || true)" = "$libexec/sendmail" ]; }

# The host's name; postmaster's mailbox: mail to postmaster must have somebody who gets it; a certificate for port 465.
make_settings() {
    local hostname certificate=$settings/tls/default.pem
    # Before the first mailbox is made.
    if [ -e "$settings/volumes" ]; then
        thing ok "volumes $(head -n 1 "$settings/volumes")"
    else
        say image > "$settings/volumes"
        thing made 'volumes image'
    fi
    "$libexec/semail" init "$home" --hostname "$domain" --json > "$scratch/init"
    hostname=$(head -n 1 "$settings/hostname")
    thing "$(made_by_init '/control/hostname')" "hostname $hostname"
    [ "$hostname" = "$domain" ] || say "            (not $domain: settings are the admin's; semail config hostname $domain would change it)"
    thing "$(made_by_init '/Maildir')" "postmaster is $(sed -n 's/.*"postmaster": "\(.*\)".*/\1/p' "$scratch/init")"
    if [ -e "$certificate" ]; then
        thing ok "$certificate"
    else
        make_certificate "$certificate" semail-tls semail-tls "$hostname"
        thing made "$certificate: signed by nobody; put a certificate for $hostname and its key there, in one file"
    fi
}

made_by_init() { if grep -qF "$1\"" "$scratch/init"; then say made; else say ok; fi; }

make_services() {
    local name dir link tries
    for name in "${services[@]}"; do
        dir=/etc/sv/semail-$name
        put 755 "$root/etc/service/$name/log/run" "$dir/log/run"
        put 755 "$root/etc/service/$name/run" "$dir/run"
        for link in $(service_directories); do lay_link "$link/semail-$name" "$dir"; done
    done
    if [ -d /run/systemd/system ] && ! systemctl --quiet is-active runit.service; then
        systemctl --quiet enable --now runit.service
        thing made 'runit.service enabled and started'
        # systemd says so before runsvdir runs.
        for ((tries = 0; tries < 100; tries++)); do
            if is_supervised; then break; fi
            sleep 0.1
        done
    fi
    if ! is_supervised; then
        say '   Nothing supervises /etc/service here, so nothing was started. This starts it:'
        say '       setsid runsvdir -P /etc/service < /dev/null > /dev/null 2>&1 &'
        return
    fi
    for name in "${services[@]}"; do
        dir=/etc/sv/semail-$name
        renew_service "$dir/log" "$name's log" "$dir/log/run"
        read -ra programs_of_service <<< "${stages[$name]}"
        renew_service "$dir" "$name" "$dir/run" "${programs_of_service[@]/#/$libexec/}"
    done
    await_services
    # Port 25 of 127.0.0.1 is outbound's; all other addresses are inbound's.
    is_greeted 127.0.0.2 25 10 || fail 'port 25 gives no greeting: see /var/log/semail/inbound/current'
    thing ok 'port 25 greets'
    is_greeted 127.0.0.1 587 10 || fail 'port 587 gives no greeting: see /var/log/semail/outbound/current'
    thing ok 'port 587 greets'
    is_greeted_by_tls 127.0.0.1 465 10 || fail 'port 465 gives no greeting over TLS: see /var/log/semail/outbound-tls/current'
    thing ok 'port 465 greets, over TLS'
    if [[ " ${services[*]} " = *" $directory_service "* ]]; then
        await_directory "$home" 10 || fail 'the directory of users does not answer: see /var/log/semail/directory/current'
        thing ok 'the directory of users answers'
    fi
}

# /etc/service, and where else Debian's runit may look after its next start.
service_directories() {
    local dir
    mkdir -p /etc/service
    for dir in "${service_links[@]}"; do
        if [ -d "$dir" ]; then readlink -f "$dir"; fi
    done | sort -u
}

# Whether a runsvdir of this host (not one in some container) looks after /etc/service, or s6 after our services.
is_supervised() {
    local comm pid
    if command -v s6-svok > /dev/null && s6-svok /etc/sv/semail-inbound; then return 0; fi
    for comm in /proc/[0-9]*/comm; do
        [ "$(cat "$comm" 2> /dev/null || true)" = runsvdir ] || continue
        pid=${comm%/comm}
        [ "$(readlink "$pid/ns/mnt" || true)" = "$(readlink /proc/self/ns/mnt)" ] || continue
        if tr '\0' '\n' < "$pid/cmdline" | grep -qxE '/etc/service/?|/etc/runit/runsvdir/(current|default|svmanaged)/?'; then return 0; fi
    done
    return 1
}

service_pid() {
    local status
    status=$(sv status "$1" 2> /dev/null || true)
    if [[ $status =~ ^run:\ [^\ ]+\ \(pid\ ([0-9]+)\) ]]; then
        printf %s "${BASH_REMATCH[1]}"
    elif command -v s6-svstat > /dev/null && s6-svok "$1" 2> /dev/null; then
        s6-svstat -o pid "$1" | grep -v -- -1 || true
    fi
}

signal_service() {
    if command -v s6-svok > /dev/null && s6-svok "$1"; then s6-svc "-${2:0:1}" "$1"; else sv "$2" "$1" > /dev/null; fi
}

# renew_service DIR NAME FILE...: restarts what was started before one of its files was put there, now or in a run that did not
# get as far as here. Sessions may go on for five seconds; then they are cut, and their clients try again.
renew_service() {
    local dir=$1 name=$2 file old='' tries
    shift 2
    for file; do
        if [ "$file" -nt "$dir/supervise/status" ]; then old=$(service_pid "$dir"); fi
    done
    [ -n "$old" ] || return 0
    signal_service "$dir" term
    for ((tries = 0; tries < 100; tries++)); do
        case $(service_pid "$dir") in
        '' | "$old") ;;
        *) break ;;
        esac
        [ $tries != 50 ] || signal_service "$dir" term
        sleep 0.1
    done
    thing changed "$name restarted"
}

# runsvdir looks every five seconds what services there are. A service is up when it has stayed so for a second.
await_services() {
    local tries name pid waiting=("${services[@]}") left
    local -A last=() same=()
    for ((tries = 0; tries < 200 && ${#waiting[@]} > 0; tries++)); do
        left=()
        for name in "${waiting[@]}"; do
            pid=$(service_pid "/etc/sv/semail-$name")
            if [ -n "$pid" ] && [ "$pid" = "${last[$name]-}" ]; then same[$name]=$((${same[$name]} + 1)); else same[$name]=0; fi
            last[$name]=$pid
            if [ "${same[$name]}" -ge 10 ]; then thing ok "$name runs"; else left+=("$name"); fi
        done
        waiting=("${left[@]}")
        sleep 0.1
    done
    [ ${#waiting[@]} != 0 ] || return 0
    name=${waiting[0]}
    tail -n 5 "/var/log/semail/$name/current" >&2 || true
    fail "$name does not stay up: its last words are above, the rest in /var/log/semail/$name/current"
}

# -- and back ------------------------------------------------------------------

uninstall_host() {
    kept=()
    services+=("$directory_service")
    step 'Web pages and webmail' uninstall_webmail
    step 'Services' remove_services
    step 'Containers and SSH' uninstall_containers
    step 'Volumes' unmount_volumes
    step 'DNS' remove_dns
    step 'Programs, manuals and logs' remove_files
    step 'Users' remove_users
    if [ "$changes" = 0 ]; then say 'Nothing was changed: there is nothing to remove.'; fi
    if [ -e "$home" ] || [ -e "$settings" ]; then
        say "Kept: $home (mail, mailboxes, queue, people) and $settings (settings, keys), and the users their files belong to. To be rid of them too:"
        say "    rm -r $home $settings$(printf '; userdel %s' "${kept[@]}")"
    fi
    say 'Packages are left as they are.'
}

remove_services() {
    local name
    for name in "${services[@]}"; do remove_service "$name"; done
}

# What is in them stays. Mounted again by provision, should it be installed again.
unmount_volumes() {
    local place
    while read -r place; do
        umount "$place" || fail "$place is in use: end what uses it (fuser -vm $place), then run this again"
        thing removed "$place (unmounted; its volume stays)"
    done < <(awk -v home="$home/mnt/" 'index($5, home) == 1 { print $5 }' /proc/self/mountinfo)
}

remove_service() {
    local name=$1 dir=/etc/sv/semail-$1 link
    for link in "${service_links[@]}"; do
        if [ "$(readlink "$link/semail-$name" || true)" = "$dir" ]; then
            rm -f "$link/semail-$name"
            thing removed "$link/semail-$name"
        fi
    done
    [ -d "$dir" ] || return 0
    if command -v s6-svok > /dev/null && s6-svok "$dir"; then
        fail "$dir is supervised by s6: take it out of s6's directory of services first (s6-svunlink)"
    fi
    end_service "$dir" || fail "$name does not end: see sv status $dir"
    rm -rf "$dir"
    thing removed "$dir"
}

remove_files() {
    local target
    if [ -e "$share/files" ]; then
        while read -r target; do
            if [ -e "$target" ]; then
                rm -f "$target"
                thing removed "$target"
            fi
        done < "$share/files"
    fi
    for target in "${sendmail_links[@]}"; do
        if is_our_link "$target"; then
            rm -f "$target"
            thing removed "$target"
        fi
    done
    # In run are sockets, counts of the last hour, and keys that change by themselves.
    for target in /usr/local/bin/semail "$libexec" "$share" /var/log/semail "$home/run"; do
        if [ -e "$target" ] || [ -L "$target" ]; then
            rm -rf "$target"
            thing removed "$target"
        fi
    done
    # Those that were made for our files and are empty again. Debian has the rest.
    rmdir --ignore-fail-on-non-empty /usr/local/libexec /usr/local/share/man/man[1-9] "$settings/tls" "$settings/dkim" 2> /dev/null || true
}

# A number that is free again may be given to somebody else, with all that belongs to it.
remove_users() {
    local name
    for name in "${users[@]}"; do
        getent passwd "$name" > /dev/null || continue
        if owns_data "$name"; then
            kept+=("$name")
            thing ok "$name (kept)"
        else
            # Its group stays where another user has it too, which userdel tells.
            userdel "$name" 2> /dev/null || fail "userdel does not remove $name: see whether a process is its (ps -u $name), then run this again"
            if getent group "$name" > /dev/null; then groupdel "$name"; fi
            thing removed "$name"
        fi
    done
    if getent group "$ask_group" > /dev/null; then
        groupdel "$ask_group"
        thing removed "$ask_group"
    fi
}

owns_data() {
    local found
    found=$(find "$home" "$settings" -path "$home/mnt" -prune -o \( -user "$1" -o -group "$1" \) -print -quit 2> /dev/null || true)
    [ -n "$found" ]
}
