# install.sh --demo [DIR] [--port N] [--once]: a SEMail of its own, a message sent through it, and nothing left afterwards.
# Read by install.sh.
# shellcheck shell=bash disable=SC2154

# The services' users, by number: no accounts are made. 60578 to 61183 is nobody's on Debian.
demo_accept=60990 demo_smtpd=60991 demo_queue=60992 demo_log=60993
demo_made='' demo_filled='' demo_supervisor='' demo_shown=''

run_demo() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP PIPE
    trap end_demo EXIT
    step 'Packages' packages "${build_packages[@]}" iproute2 runit
    step 'Programs: build' build
    step "Port $demo_port" check_demo_port
    step 'Home' make_demo_home
    step 'Mailboxes' make_demo_mailboxes
    step 'Services' start_demo_services
    step 'A message from ssow to xredon' send_demo_message
    step "The file in xredon's Maildir" show_demo_message
    if [ -n "$demo_once" ]; then
        say 'It works. (--once: everything goes again)'
        return
    fi
    say_what_next
    demo_shown=yes
    # Until Ctrl-C.
    wait "$demo_supervisor" || true
    fail 'the supervisor has ended, and with it the services'
}

check_demo_port() {
    local holder
    holder=$(holder_of_port "$demo_port")
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
    # etc/hier of the home alone, with numbers for users and a control directory of its own. The file also tells a later demo
    # that the directory was one.
    sed -E "s/^l .*HOME\/control.*/d 0755 0 0 HOME\/control/; / HOME/!d; s/ root +root / 0 0 /
        s/ semail-queue +semail-(queue|smtpd) / $demo_queue $demo_smtpd /" "$root/etc/hier" > "$demo_home/.semail-demo"
    setpriv --reuid $demo_smtpd --regid $demo_smtpd --clear-groups test -r "$demo_home/.semail-demo" ||
        fail "the services' users cannot get into $demo_home: name a directory that everybody may enter, such as one in /var/tmp"
    "$root/.build/release/semail" init "$demo_home" --hostname mail.semail.test --hier "$demo_home/.semail-demo" > /dev/null
    # Copies: the services' users may not get into the directory where these were built.
    mkdir "$demo_home/bin" "$demo_home/log" "$demo_home/service"
    for name in "${programs[@]}"; do cp "$root/.build/release/$name" "$demo_home/bin/$name"; done
    for name in "${services[@]}"; do
        cp -r "$root/etc/service/$name" "$demo_home/service/$name"
        install -d -m 0750 -o $demo_log -g $demo_log "$demo_home/log/$name"
    done
    "$demo_home/bin/tcp-accept" --version > /dev/null || fail "no programs can be run in $demo_home (is it mounted noexec?): name another directory"
    thing made "$demo_home"
}

make_demo_mailboxes() {
    local owner
    for owner in ssow xredon; do
        SEMAIL_HOME=$demo_home "$demo_home/bin/semail" mailbox create "$owner" "$owner@semail.test" > /dev/null
        thing made "$owner@semail.test: $demo_home/mnt/$owner/Maildir"
    done
}

start_demo_services() {
    # A session of its own, so that the terminal's Ctrl-C reaches nobody but this script; and should this script be
    # killed, the supervisor is told to hang up, and ends what it supervises.
    SEMAIL_HOME=$demo_home SEMAIL_LIBEXEC=$demo_home/bin SEMAIL_LOG=$demo_home/log SEMAIL_LOG_USER=$demo_log \
        SEMAIL_ACCEPT_USER=$demo_accept:$demo_accept SEMAIL_SMTPD_USER=$demo_smtpd:$demo_smtpd SEMAIL_QUEUE_USER=$demo_queue:$demo_smtpd \
        SEMAIL_INBOUND_HOST=127.0.0.1 SEMAIL_INBOUND_PORT=$demo_port \
        setsid setpriv --pdeathsig HUP runsvdir "$demo_home/service" < /dev/null > "$demo_home/log/runsvdir" 2>&1 &
    demo_supervisor=$!
    if ! is_greeted "$demo_port" 15; then
        tail -n 3 "$demo_home"/log/*/current "$demo_home/log/runsvdir" >&2 || true
        fail "no greeting on port $demo_port: the last words of the services are above"
    fi
    thing ok "inbound and qrunner run under runsvdir (process $demo_supervisor); port $demo_port of 127.0.0.1 greets"
}

# -- the message ---------------------------------------------------------------

hear() {
    local line
    while IFS= read -r -t 20 -u 3 line; do
        say "   <- ${line%$'\r'}"
        case $line in
        "$1"-*) ;;
        "$1"' '*) return ;;
        *) fail "an answer that begins with $1 was expected" ;;
        esac
    done
    fail 'no answer within 20 seconds'
}

talk() {
    say "   -> $1"
    printf '%s\r\n' "$1" >&3
}

send_demo_message() {
    local line
    exec 3<> "/dev/tcp/127.0.0.1/$demo_port"
    hear 220
    talk 'EHLO client.semail.test' && hear 250
    talk 'MAIL FROM:<ssow@semail.test>' && hear 250
    talk 'RCPT TO:<xredon@semail.test>' && hear 250
    talk 'DATA' && hear 354
    for line in 'From: Ssow <ssow@semail.test>' 'To: Xredon <xredon@semail.test>' 'Subject: Does it arrive?' \
        "Date: $(date -R)" "Message-ID: <demo.$(date +%s).$$@client.semail.test>" '' 'It does, if you can read this.' '.'; do
        talk "$line"
    done
    hear 250
    talk QUIT && hear 221
    exec 3>&-
}

show_demo_message() {
    local tries new=$demo_home/mnt/xredon/Maildir/new files=()
    for ((tries = 0; tries < 200; tries++)); do
        mapfile -t files < <(find "$new" -type f)
        [ ${#files[@]} = 0 ] || break
        sleep 0.1
    done
    if [ ${#files[@]} != 1 ] || ! grep -q '^It does, if you can read this' "${files[0]}"; then
        tail -n 5 "$demo_home"/log/*/current >&2 || true
        fail "the message is not in $new after 20 seconds: the last words of the services are above"
    fi
    say "   $(stat -c '%n (%A, user %u, %s octets)' "${files[0]}")"
    sed 's/^/   | /' "${files[0]}"
}

say_what_next() {
    say ''
    say 'What to type next, in another terminal (as root):'
    if command -v mutt > /dev/null; then
        say "    mutt -f $demo_home/mnt/xredon/Maildir"
    else
        say "    apt install mutt && mutt -f $demo_home/mnt/xredon/Maildir"
    fi
    say "    nc -C 127.0.0.1 $demo_port                    and type an SMTP session yourself"
    say "    tail -F $demo_home/log/*/current"
    say "    export SEMAIL_HOME=$demo_home"
    say "    $demo_home/bin/semail mailbox list"
    say "    $demo_home/bin/semail queue list"
    say "    man $root/man/semail.7"
    say ''
    say 'Ctrl-C ends it all and removes it.'
}

# -- the end -------------------------------------------------------------------

# Ends what was started, by process id, and removes what was made.
end_demo() {
    local code=$? tries pids=() dir
    trap '' INT TERM HUP PIPE
    set +e
    [ $code = 0 ] || say ''
    if [ -n "$demo_supervisor" ]; then
        mapfile -t pids < <(descendants "$demo_supervisor")
        # It tells each runsv to end its service, its log and itself.
        kill -HUP "$demo_supervisor" 2> /dev/null
        wait "$demo_supervisor" 2> /dev/null
        for ((tries = 0; tries < 100; tries++)); do
            mapfile -t pids < <(running "${pids[@]}")
            [ ${#pids[@]} != 0 ] || break
            case $tries in
            # Sessions that are still at it are cut.
            10) for dir in "$demo_home"/service/*; do sv term "$dir" > /dev/null 2>&1; done ;;
            50) kill -KILL "${pids[@]}" 2> /dev/null ;;
            esac
            sleep 0.1
        done
        [ ${#pids[@]} = 0 ] || say "These processes do not end: ${pids[*]}"
    fi
    if [ -n "$demo_filled" ]; then rm -rf "${demo_home:?}"/* "$demo_home/.semail-demo"; fi
    if [ -n "$demo_made" ]; then rmdir "$demo_made"; fi
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
