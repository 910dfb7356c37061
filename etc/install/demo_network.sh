# install.sh --demo: its network, what is sent there, and how it went. Two hosts, joined by a cable:
#
#   mail.semail.test, 192.0.2.1, 2001:db8::1: SEMail, as it is installed, and named, which has the MX records and takes changes of semail.test
#   mx.school.test, 192.0.2.2, 2001:db8::2: a Postfix
#
# Each is a network and mounts of its own that a sleeping process holds: with the process all of it is gone, also when this script is
# killed. Nothing leads out of it. Read by install.sh.
# shellcheck shell=bash disable=SC2154

house='' school='' demo_peers=''

# Next to nothing is installed for this: named and Postfix are unpacked, where the tests have them if they were run, else in the home.
unpack_peers() {
    local name names=(named postfix) there=''
    ! has_webmail || names+=(webmail)
    there=${SEMAIL_PEERS:-$root/.build-peers}
    export SEMAIL_PEERS=$there
    for name in "${names[@]}"; do
        if [ ! -e "$there/$name/.unpacked" ]; then SEMAIL_PEERS=$demo_home/peers; fi
    done
    [ "$SEMAIL_PEERS" = "$there" ] || say '   fetching and unpacking them; they are not installed ...'
    /usr/bin/python3 "$root/etc/install/demo_peers.py" unpack "${names[@]}" > "$demo_home/peers.log" 2>&1 || fail_with_logs "${names[*]} cannot be had"
    thing ok "$SEMAIL_PEERS"
}

make_network() {
    printf 'nameserver 127.0.0.1\n' > "$demo_home/house.resolv.conf"
    printf 'nameserver 192.0.2.1\n' > "$demo_home/school.resolv.conf"
    printf '%s: files\n' passwd group services protocols > "$demo_home/nsswitch.conf"
    printf 'hosts: files dns\n' >> "$demo_home/nsswitch.conf"
    list_names > "$demo_home/names"
    list_house_names > "$demo_home/house.zone"
    (umask 077 && make_tsig_key semail > "$demo_home/house.key")
    install -m 0400 "$demo_home/house.key" "$demo_home/control/dns-key"
    say semail.test > "$demo_home/control/domain"
    say 127.0.0.1 > "$demo_home/control/dns-server"
    make_certificate "$demo_home/mx.school.test.pem" 0 0 mx.school.test
    hold house
    hold school
    inside "$house" ip link add eth0 type veth peer name eth0 netns "$school"
    address "$house" 1
    address "$school" 2
    thing made "mail.semail.test (192.0.2.1) and mx.school.test (192.0.2.2), held by the processes $house and $school"
    setsid setpriv --pdeathsig KILL /usr/bin/python3 "$root/etc/install/demo_peers.py" run $$ "$demo_home" "$house" "$school" \
        < /dev/null >> "$demo_home/peers.log" 2>&1 &
    demo_peers=$!
    until grep -q '^ready$' "$demo_home/peers.log"; do
        kill -0 "$demo_peers" 2> /dev/null || fail_with_logs 'named or Postfix does not run'
        sleep 0.05
    done
    thing ok 'named answers on the first host, Postfix on the second'
}

# hold NAME: a network and mounts of their own, with NAME.resolv.conf; the variable NAME is the process that holds them.
hold() {
    local said=$demo_home/$1.held
    : > "$said"
    # shellcheck disable=SC2016
    setsid setpriv --pdeathsig KILL unshare --mount --net --propagation private sh -euc '
        ip link set lo up
        for name in all default; do echo 0 > /proc/sys/net/ipv6/conf/$name/accept_dad || true; done 2> /dev/null
        mount -n --bind "$1" "$(readlink -f /etc/resolv.conf)"
        echo ready
        exec sleep infinity' sh "$demo_home/$1.resolv.conf" < /dev/null > "$said" 2>&1 &
    printf -v "$1" %s $!
    until grep -q '^ready$' "$said"; do
        kill -0 $! 2> /dev/null || fail "no network of its own can be made here ($(cat "$said")): run this on a host, or in a container that may (CAP_SYS_ADMIN)"
        sleep 0.02
    done
}

# inside PROCESS COMMAND...: in the network that the process holds.
inside() {
    local process=$1
    shift
    nsenter -t "$process" -n "$@"
}

address() {
    inside "$1" ip link set eth0 up
    inside "$1" ip address add "192.0.2.$2/24" dev eth0
    if [ -e /proc/net/if_inet6 ]; then inside "$1" ip address add "2001:db8::$2/64" dev eth0 nodad; fi
}

# The zone semail.test: what is beneath it comes and goes with mailboxes.
list_house_names() {
    printf '%s\n' "\$TTL 60" 'semail.test. SOA mail.semail.test. hostmaster.semail.test. 1 60 60 60 60' 'semail.test. NS mail.semail.test.' \
        'semail.test. MX 10 mail.semail.test.' 'mail.semail.test. A 192.0.2.1'
    if [ -e /proc/net/if_inet6 ]; then say 'mail.semail.test. AAAA 2001:db8::1'; fi
}

# The zone of all other names.
list_names() {
    local name number zeros='0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.'
    printf '%s\n' "\$TTL 60" '. SOA mail.semail.test. hostmaster.semail.test. 1 60 60 60 60' '. NS mail.semail.test.' \
        'semail.test. NS mail.semail.test.' 'school.test. MX 10 mx.school.test.'
    while read -r name number; do
        printf '%s\n' "$name. A 192.0.2.$number" "$number.2.0.192.in-addr.arpa. PTR $name."
        if [ -e /proc/net/if_inet6 ]; then printf '%s\n' "$name. AAAA 2001:db8::$number" "$number.$zeros PTR $name."; fi
    done < <(printf '%s\n' 'mail.semail.test 1' 'mx.school.test 2')
}

# -- messages ------------------------------------------------------------------

send_from_stranger() {
    talk '' "$demo_port" 'EHLO client.example' 'MAIL FROM:<somebody@client.example>' 'RCPT TO:<xredon@semail.test>' DATA \
        'From: Somebody <somebody@client.example>' 'To: Xredon <xredon@semail.test>' 'Subject: Does it arrive?' \
        "Date: $(date -R)" "Message-ID: <demo.$(date +%s).$$@client.example>" '' 'It does, if you can read this.' . QUIT
    show_message "$demo_home/mnt/xredon/Maildir/new" '^It does, if you can read this'
}

# As the report has it: without a single header field.
send_to_ourselves() {
    talk "$house" 587 'HELO semail.test' 'MAIL FROM:<ssow@ssow.semail.test>' 'RCPT TO:<xredon@semail.test>' DATA \
        'Hello Xredon,' 'this went a long way to come back to the same house.' 'Ssow' . QUIT
    show_message "$demo_home/mnt/xredon/Maildir/new" '^this went a long way'
    show_way 'mail\.semail\.test'
}

send_to_school() {
    talk "$house" 587 'HELO semail.test' 'MAIL FROM:<ssow@ssow.semail.test>' 'RCPT TO:<anna@school.test>' DATA \
        'Subject: From one house to another' '' 'Hello Anna,' 'is anybody there?' 'Ssow' . QUIT
    show_message "$demo_home/postfix/mail/anna/Maildir/new" '^is anybody there'
    show_way 'mx\.school\.test'
}

send_back() {
    talk "$school" 25 'HELO school.test' 'MAIL FROM:<anna@school.test>' 'RCPT TO:<ssow@ssow.semail.test>' DATA \
        'From: Anna <anna@school.test>' 'To: ssow@ssow.semail.test' 'Subject: Re: From one house to another' '' 'Somebody is.' 'Anna' . QUIT
    show_message "$demo_home/mnt/ssow/Maildir/new" '^Somebody is\.'
}

# talk HOST PORT LINE...: an SMTP session on a host of the network, or on this one.
talk() {
    local host=$1
    shift
    demo_id=''
    set -o pipefail
    # shellcheck disable=SC2016
    ${host:+inside "$host"} bash -c '. "$0/etc/install/dialogue.sh"; dialogue 127.0.0.1 "$@"' "$root" "$@" | tee "$demo_home/dialogue" ||
        fail_with_logs 'the session went wrong'
    set +o pipefail
    demo_id=$(sed -nE 's/.*250 2\.0\.0 queued as ([0-9a-z]+).*/\1/p' "$demo_home/dialogue")
}

# show_message DIRECTORY PATTERN: on the first host, where volumes are mounted: the file there that has such a line, as soon as it is there.
show_message() {
    local tries file=''
    for ((tries = 0; tries < 300; tries++)); do
        file=$(nsenter -t "$house" -m -r grep -rls "$2" "$1" | head -n 1 || true)
        [ -z "$file" ] || break
        sleep 0.1
    done
    [ -n "$file" ] || fail_with_logs "the message is not in $1 after 30 seconds"
    say "   $(nsenter -t "$house" -m -r stat -c '%n (%A, user %u, %s octets)' "$file")"
    nsenter -t "$house" -m -r sed 's/^/   | /' "$file"
}

# show_way HOST: what the logs say of the message that was sent last: the outgoing session, the question for the MX, and how it left.
show_way() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if grep -qs "qrunner: info: relayed id=$demo_id " "$demo_home/log/qrunner/current"; then break; fi
        sleep 0.05
    done
    say '   The way it went, from the logs:'
    grep -hs "id=$demo_id " "$demo_home/log/outbound/current" | sed -E 's/^[^ ]+ /   | /'
    grep -hs 'query: [a-z.]* IN MX' "$demo_home/named.log" | tail -n 1 | sed -E 's/.*(query: [^ ]+ IN MX).*/   | named: \1/'
    grep -hsE " connected host=\"?$1|id=$demo_id " "$demo_home/log/qrunner/current" | sed -E 's/^[^ ]+ /   | /'
}

# -- the end -------------------------------------------------------------------

end_peers() {
    [ -n "$demo_peers" ] || return 0
    kill "$demo_peers" 2> /dev/null
    wait "$demo_peers" 2> /dev/null
}

end_network() {
    local process place
    # Volumes first: an image and what is mounted of it would hold each other, though nobody sees them any more.
    if [ -n "$house" ]; then
        while read -r place; do nsenter -t "$house" -m -r umount -l "$place"; done < <(awk -v home="$demo_home/mnt/" 'index($5, home) == 1 { print $5 }' "/proc/$house/mountinfo")
    fi 2> /dev/null
    for process in $house $school; do
        kill "$process" 2> /dev/null
        wait "$process" 2> /dev/null
    done
}
