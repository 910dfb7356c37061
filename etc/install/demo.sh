# install.sh --demo [DIR] [--port N] [--once]: a SEMail of its own, messages sent into it, through it and out of it, and nothing left
# afterwards. Read by install.sh.
# shellcheck shell=bash disable=SC2154

# shellcheck source=etc/install/demo_network.sh
. "$root/etc/install/demo_network.sh"
# shellcheck source=etc/install/demo_mailbox.sh
. "$root/etc/install/demo_mailbox.sh"
# shellcheck source=etc/install/demo_webmail.sh
. "$root/etc/install/demo_webmail.sh"
# shellcheck source=etc/install/containers.sh
. "$root/etc/install/containers.sh"
# shellcheck source=etc/install/directory.sh
. "$root/etc/install/directory.sh"

# The services' users, by number: no accounts are made. 60578 to 61183 is nobody's on Debian.
demo_accept=60990 demo_smtpd=60991 demo_queue=60992 demo_log=60993 demo_tls=60994 demo_auth=60995 demo_remote=60996 demo_dkim=60997 demo_portal=60998
demo_ask=60999 demo_directory=61000 demo_ssh=61001
demo_password='correct horse' demo_made='' demo_filled='' demo_watch='' demo_supervisors=() demo_shown=''

run_demo() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP PIPE
    trap end_demo EXIT
    services+=("$directory_service")
    step 'Packages' packages "${build_packages[@]}" "${host_packages[@]}" python3 bind9-dnsutils curl
    step 'Packages of the directory' directory_software
    ! has_containers || step 'Packages of containers' container_packages
    step 'Programs: build' build
    step "Port $demo_port" check_demo_port
    step 'Port of the portal' check_portal_port
    step 'Home' make_demo_home
    step "A mailbox that is there already: xredon's" make_demo_mailbox
    step "Servers of others: BIND's named and Postfix$(! has_webmail || say ', Apache and SqWebMail')" unpack_peers
    step 'A network with two hosts' make_network
    ! has_webmail || step 'Webmail' lay_out_webmail
    if has_containers; then
        step 'An engine of containers, and the image' start_demo_engine
        step 'A way in' start_demo_sshd
    fi
    step 'Services' start_demo_services
    step 'People' make_demo_people
    step 'ssow makes a mailbox, at the portal' make_own_mailbox
    step "A stranger's message to xredon, at the incoming server" send_from_stranger
    step 'A message from ssow to xredon, at the outgoing server: by the queue, the MX and the incoming server' send_to_ourselves
    step 'A message from ssow to anna, whose mail server is a Postfix' send_to_school
    step "Anna's answer" send_back
    if has_containers; then
        step "ssow's container: the answer is read there" read_in_container
        step 'A message from the container' send_from_container
    fi
    # After the container, which shows what is new: what was read is that no more.
    ! has_webmail || step "ssow's webmail: the answer is read there" read_at_webmail
    if [ -n "$demo_once" ]; then
        step 'ssow deletes the mailbox, at the portal' delete_own_mailbox
        say 'It works. (--once: everything goes again)'
        return
    fi
    say_what_next
    demo_shown=yes
    # Until Ctrl-C.
    wait -n "${demo_supervisors[@]}" || true
    fail 'a supervisor has ended, and with it its services'
}

# --without containers: for a host where no engine is wanted, or none can run.
has_containers() { [[ " $without " != *' containers '* ]]; }

check_demo_port() {
    local holder
    holder=$(holders_of_port "$demo_port" | head -n 1)
    [ -z "$holder" ] || fail "port $demo_port is in use by $holder: end it, or choose another port with --port"
    thing ok 'free'
}

make_demo_home() {
    local name
    if [ -z "$demo_home" ]; then demo_home=/var/tmp/semail-demo.$$.$RANDOM; fi
    if [ ! -e "$demo_home" ]; then
        # Noted first: whatever happens next, it goes again.
        demo_made=$demo_home
        mkdir -m 0755 "$demo_home" || {
            demo_made=''
            fail "$demo_home cannot be made"
        }
    elif [ -e "$demo_home/.semail-demo" ]; then
        for name in "${services[@]}"; do
            if sv status "$demo_home/service/$name" > /dev/null 2>&1; then fail "$demo_home holds a demo that runs: end it first, or name another directory"; fi
        done
        rm -rf "${demo_home:?}"/*
    elif [ -n "$(ls -A "$demo_home")" ]; then
        fail "$demo_home is not empty: name a directory that is, or one that is not there"
    fi
    demo_home=$(cd "$demo_home" && pwd -P)
    [ "$(stat -c %u "$demo_home")" = 0 ] || fail "$demo_home is not root's: name a directory that is, or one that is not there"
    demo_filled=yes
    watch_demo
    # etc/hier of the home alone, with numbers for users and a control directory of its own. The file also tells a later demo
    # that the directory was one. qrunner's user has the sessions' group, for want of accounts with several.
    sed -E "s/^l .*HOME\/control.*/d 0755 0 0 HOME\/control/; s, /etc/semail/, HOME/control/,; / HOME/!d
        s/ semail-queue +semail-(queue|smtpd) / $demo_queue $demo_smtpd /; s/ semail-(queue|smtpd)\>/ $demo_smtpd/g
        s/ semail-auth\>/ $demo_auth/g; s/ semail-directory\>/ $demo_directory/g; s/ semail-tls\>/ $demo_tls/g; s/ semail-dkim\>/ $demo_dkim/g; s/ semail-portal\>/ $demo_portal/g; s/ root\>/ 0/g" "$root/etc/hier" > "$demo_home/.semail-demo"
    setpriv --reuid $demo_smtpd --regid $demo_smtpd --clear-groups test -r "$demo_home/.semail-demo" ||
        fail "the services' users cannot get into $demo_home: name a directory that everybody may enter, such as one in /var/tmp"
    "$root/.build/release/semail" init "$demo_home" --hostname mail.semail.test --hier "$demo_home/.semail-demo" > /dev/null
    if [ -z "$scratch" ]; then
        scratch=$demo_home/scratch
        mkdir -m 0700 "$scratch"
    fi
    # A host does not send its own domain's mail to its own MX, unless it is told to.
    say 'semail.test mx' > "$demo_home/control/routes"
    make_directory "$demo_home" dc=semail,dc=test $demo_directory $demo_directory "$root/.build/release/semail"
    make_certificate "$demo_home/control/tls/default.pem" $demo_tls $demo_tls mail.semail.test
    # Copies: the services' users may not get into the directory where these were built.
    mkdir "$demo_home"/{bin,log,service}
    mkdir -p "$demo_home"/stranger/{log,service}
    for name in "${programs[@]}"; do cp "$root/.build/release/$name" "$demo_home/bin/$name"; done
    for name in "${services[@]}"; do lay_out_service "$demo_home" "$name"; done
    lay_out_service "$demo_home/stranger" inbound
    mv "$demo_home/service/portal" "$demo_home/stranger/service/portal"
    ln -s ../../log/portal "$demo_home/stranger/log/portal"
    "$demo_home/bin/tcp-accept" --version > /dev/null || fail "no programs can be run in $demo_home (is it mounted noexec?): name another directory"
    thing made "$demo_home"
}

# Should this script be killed outright, this clears up as soon as the services have ended.
watch_demo() {
    # shellcheck disable=SC2016
    setsid setpriv --pdeathsig TERM bash -c '
        sleep infinity &
        trap "kill $!" TERM
        wait $!
        for ((tries = 0; tries < 150; tries++)); do
            [ -n "$(find /proc -maxdepth 2 -path "/proc/[0-9]*/exe" -lname "$1/*" -print -quit)" ] || break
            sleep 0.1
        done
        rm -rf "${1:?}"/* "$1/.semail-demo"
        [ -z "$2" ] || rmdir "$1"' watch "$demo_home" "$demo_made" < /dev/null > /dev/null 2>&1 &
    demo_watch=$!
}

lay_out_service() {
    cp -r "$root/etc/service/$2" "$1/service/$2"
    install -d -m 0750 -o $demo_log -g $demo_log "$1/log/$2"
}

make_demo_mailbox() {
    SEMAIL_HOME=$demo_home "$demo_home/bin/semail" mailbox create xredon xredon@semail.test > /dev/null
    thing made "xredon@semail.test: $demo_home/mnt/xredon/Maildir"
    # Whoever comes after has a volume; it is mounted on the first host alone.
    say image > "$demo_home/control/volumes"
    portal_address > "$demo_home/control/portal-listen"
}

# All services of an installation, on the first host of the network, where they find its resolv.conf; and for the stranger the incoming one on a port of this host.
start_demo_services() {
    supervise "$demo_home" nsenter -t "$house" -n -m -r
    SEMAIL_INBOUND_HOST=127.0.0.1 SEMAIL_INBOUND_PORT=$demo_port supervise "$demo_home/stranger" nsenter -t "$house" -m -r
    is_greeted 127.0.0.1 "$demo_port" 15 || fail_with_logs "no greeting on port $demo_port"
    thing ok "inbound runs under runsvdir (process ${demo_supervisors[1]}); port $demo_port of 127.0.0.1 greets"
    await_portal || fail_with_logs "no page on port $demo_portal_port"
    thing ok "portal runs there too: http://127.0.0.1:$demo_portal_port/$(! has_webmail || say ', behind Apache, and webmail beside it')"
    inside "$house" bash -c ". '$root/etc/install/steps.sh'; is_greeted 127.0.0.1 587 15 && is_greeted 192.0.2.1 25 15 && is_greeted_by_tls 192.0.2.1 465 15" ||
        fail_with_logs 'no greeting on the first host'
    thing ok "${services[*]} run under runsvdir (process ${demo_supervisors[0]}) on the first host; ports 25, 465 and 587 greet"
}

await_portal() {
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        if curl -q --silent --noproxy '*' --fail --output /dev/null "http://127.0.0.1:$demo_portal_port/sign-in"; then return 0; fi
        sleep 0.1
    done
    return 1
}

# In the directory of this demo, by the same command as anywhere.
make_demo_people() {
    await_directory "$demo_home" 15 || fail_with_logs 'the directory of users does not answer'
    {
        say 'uid;givenName;sn;password'
        say "ssow;Sokhna;Sow;$demo_password"
        say "xredon;Xavier;Redon;$demo_password"
    } | SEMAIL_HOME=$demo_home "$demo_home/bin/semail" user import - > "$demo_home/people"
    thing made "ssow and xredon, each with the password $demo_password: $(tail -n 1 "$demo_home/people")"
}

# supervise DIR [COMMAND...]: the services in DIR, by COMMAND. A session of its own, so that the terminal's Ctrl-C reaches nobody but this
# script; and should this script be killed, the supervisor is told to hang up, and ends what it supervises.
supervise() {
    local dir=$1
    shift
    SEMAIL_HOME=$demo_home SEMAIL_LIBEXEC=$demo_home/bin SEMAIL_LOG=$dir/log SEMAIL_LOG_USER=$demo_log \
        SEMAIL_ACCEPT_USER=$demo_accept:$demo_accept SEMAIL_SMTPD_USER=$demo_smtpd:$demo_smtpd SEMAIL_QUEUE_USER=$demo_queue:$demo_smtpd \
        SEMAIL_TLS_USER=$demo_tls:$demo_tls SEMAIL_AUTH_USER=$demo_auth:$demo_auth SEMAIL_REMOTE_USER=$demo_remote:$demo_remote \
        SEMAIL_DKIM_USER=$demo_dkim:$demo_dkim SEMAIL_PORTAL_USER=$demo_portal:$demo_portal:$demo_ask:$demo_log \
        SEMAIL_DIRECTORY_USER=$demo_directory:$demo_directory SEMAIL_ASK_GROUP=$demo_ask \
        SEMAIL_COURIER_USER=$demo_courier:$demo_courier:$demo_ask SEMAIL_COURIER_RUN=$demo_home/web/run SEMAIL_WEB_GROUP=$demo_web \
        SEMAIL_SHARE=$demo_home/web SEMAIL_SQWEBMAILD="$demo_home/web/enter /usr/lib/courier/courier/sqwebmaild" \
        setsid "$@" setpriv --pdeathsig HUP runsvdir "$dir/service" < /dev/null > "$dir/log/runsvdir" 2>&1 &
    demo_supervisors+=($!)
}

fail_with_logs() {
    tail -n 3 "$demo_home"/log/*/current "$demo_home"/stranger/log/*/current "$demo_home"/peers.log >&2 || true
    fail "$1: the last words of the servers are above"
}

say_what_next() {
    say ''
    say 'What to type next, in another terminal (as root):'
    if command -v mutt > /dev/null; then
        say "    mutt -f $demo_home/mnt/xredon/Maildir"
    else
        say "    apt install mutt && mutt -f $demo_home/mnt/xredon/Maildir"
    fi
    say "    xdg-open http://127.0.0.1:$demo_portal_port/     and sign in as ssow or xredon; the password is: $demo_password"
    ! has_webmail || say "    xdg-open http://127.0.0.1:$demo_portal_port/mail     and read your mail there"
    [ -z "$demo_container" ] || say "    $(ssh_command)"
    say "    nc -C 127.0.0.1 $demo_port                    and type an SMTP session yourself, as a stranger"
    say "    nsenter -t $house -n nc -C 127.0.0.1 587      and another, as somebody on the host"
    say "    nsenter -t $house -n openssl s_client -quiet -crlf -connect 127.0.0.1:465"
    say "    tail -F $demo_home/log/*/current"
    say "    export SEMAIL_HOME=$demo_home"
    say "    $demo_home/bin/semail mailbox list"
    say "    $demo_home/bin/semail queue list"
    say "    printf 'Subject: hello\\n\\nHello.\\n' | nsenter -t $house -n $demo_home/bin/sendmail -f ssow@ssow.semail.test anna@school.test"
    say "    man $root/man/semail.7"
    say ''
    say 'Ctrl-C ends it all and removes it.'
}

# -- the end -------------------------------------------------------------------

# Ends what was started, by process id, and removes what was made.
end_demo() {
    local code=$? tries pids=() supervisor dir
    trap '' INT TERM HUP PIPE
    set +e
    [ $code = 0 ] || say ''
    end_peers
    end_mailbox_parts
    for supervisor in "${demo_supervisors[@]}"; do
        mapfile -t -O ${#pids[@]} pids < <(descendants "$supervisor")
        # It tells each runsv to end its service, its log and itself.
        kill -HUP "$supervisor" 2> /dev/null
    done
    for supervisor in "${demo_supervisors[@]}"; do wait "$supervisor" 2> /dev/null; done
    if [ ${#demo_supervisors[@]} != 0 ]; then
        for ((tries = 0; tries < 100; tries++)); do
            mapfile -t pids < <(running "${pids[@]}")
            [ ${#pids[@]} != 0 ] || break
            case $tries in
            # Sessions that are still at it are cut.
            10) for dir in "$demo_home"/service/* "$demo_home"/stranger/service/*; do sv term "$dir" > /dev/null 2>&1; done ;;
            50) kill -KILL "${pids[@]}" 2> /dev/null ;;
            esac
            sleep 0.1
        done
        [ ${#pids[@]} = 0 ] || say "These processes do not end: ${pids[*]}"
    fi
    end_network
    end_webmail
    if [ -n "$demo_filled" ]; then rm -rf "${demo_home:?}"/* "$demo_home/.semail-demo"; fi
    if [ -n "$demo_made" ]; then rmdir "$demo_made"; fi
    if [ -n "$demo_watch" ]; then kill "$demo_watch" && wait "$demo_watch"; fi 2> /dev/null
    [ -z "$scratch" ] || rm -rf "$scratch"
    if [ -n "$demo_filled" ]; then say "Ended; $demo_home is gone again."; fi
    # Ctrl-C is how a demo ends.
    [ -z "$demo_shown" ] || [ $code != 130 ] || code=0
    exit $code
}

# shellcheck disable=SC2013
descendants() {
    local child
    for child in $(cat "/proc/$1/task/$1/children" 2> /dev/null); do
        say "$child"
        descendants "$child"
    done
}

# Those of PIDS that are the demo's supervisors and loggers and have not ended, and whatever runs from its bin.
running() {
    local pid
    {
        for pid; do
            case $(readlink "/proc/$pid/exe") in */runsv | */svlogd) say "$pid" ;; esac
        done
        find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$demo_home/bin/*" -printf '%h\n' 2> /dev/null | sed 's,.*/,,'
    } | sort -u
}
