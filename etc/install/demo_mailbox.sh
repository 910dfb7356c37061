# install.sh --demo: a mailbox of one's own, made at the portal by somebody of the directory; read in its container over SSH; deleted.
# Read by install.sh.
# shellcheck shell=bash disable=SC2154

# The portal's own number; its pages are on this host, its files where the first host has its volumes mounted.
demo_portal_port=8080
demo_container='' demo_sshd=''

check_portal_port() {
    while [ -n "$(holders_of_port "$demo_portal_port")" ] && [ "$demo_portal_port" -lt 8180 ]; do demo_portal_port=$((demo_portal_port + 1)); done
    thing ok "$demo_portal_port is free, for the portal"
}

# -- containers ------------------------------------------------------------------

# Docker, in the network and mounts of the first host: with those its bridge, firewall and containers are gone.
start_demo_engine() {
    run_engine "$house" "$demo_home/engine"
    thing ok "dockerd answers at $demo_home/engine/engine.sock"
    # What was fetched is kept beside the build, so that it is fetched once.
    "$root/etc/container/build" --cache "$root/.build-container" "$demo_home/engine/engine.sock" semail-home
    say "$demo_home/engine/engine.sock" > "$demo_home/control/container-engine"
    say 172.30.0.1 > "$demo_home/control/outbound-addresses"
}

# A way in as on a host: the account semail-ssh, which only the first host knows, and an sshd there.
start_demo_sshd() {
    local place=$demo_home/sshd name tries
    mkdir -m 0755 "$place"
    for name in passwd group shadow; do
        cp -p "/etc/$name" "$place/$name"
        sed -i '/^semail-ssh:/d' "$place/$name"
    done
    say "semail-ssh:x:$demo_ssh:$demo_ssh::/nonexistent:$place/ssh-door" >> "$place/passwd"
    say "semail-ssh:*:20000::::::" >> "$place/shadow"
    say "semail-ssh:x:$demo_ssh:" >> "$place/group"
    install -m 0755 "$root/etc/ssh/ssh-door" "$place/ssh-door"
    for name in passwd group shadow; do nsenter -t "$house" -m -r mount -n --bind "$place/$name" "/etc/$name"; done
    ssh-keygen -q -t ed25519 -N '' -f "$place/host"
    ssh-keygen -q -t ed25519 -N '' -C ssow -f "$place/ssow"
    sed "s,/var/lib/semail,$demo_home,g; s,/usr/local/libexec/semail/ssh-door,$place/ssh-door,g" "$root/etc/ssh/semail.conf" > "$place/semail.conf"
    # The home is beneath a directory where everybody may write, as no installation's is.
    printf '%s\n' 'StrictModes no' "Include $place/semail.conf" 'ListenAddress 127.0.0.1:2222' "HostKey $place/host" 'PidFile none' 'UsePAM no' 'PasswordAuthentication no' > "$place/sshd_config"
    # With a /run of its own, where it finds the directory it wants.
    # shellcheck disable=SC2016
    setsid setpriv --pdeathsig KILL nsenter -t "$house" -n -m -r unshare --mount --propagation private sh -euc '
        mount -n -t tmpfs -o mode=0755 run /run
        mkdir -m 0755 /run/sshd
        exec /usr/sbin/sshd -D -e -f "$1"' sh "$place/sshd_config" < /dev/null > "$place/log" 2>&1 &
    demo_sshd=$!
    for ((tries = 0; tries < 100; tries++)); do
        if inside "$house" bash -c 'exec 2> /dev/null 3<> /dev/tcp/127.0.0.1/2222'; then break; fi
        sleep 0.05
    done
    thing ok 'sshd listens on port 2222 of the first host; it lets the account semail-ssh through to containers, and nobody anywhere else'
}

# -- at the portal ---------------------------------------------------------------

# visit WORD...: as ssow, at the portal.
visit() { /usr/bin/python3 "$root/etc/install/demo_portal.py" "http://127.0.0.1:$demo_portal_port" ssow "$demo_password" "$@" || fail_with_logs 'the portal did not do it'; }

make_own_mailbox() {
    visit create ssow ssow
    say '   What there is now:'
    sed 's/^/   | /' "$demo_home/mailboxes/ssow@ssow.semail.test"
    nsenter -t "$house" -m -r df -h --output=source,size,used,target "$demo_home/mnt/ssow" | sed 's/^/   | /'
    show_records
    demo_container=$(sed -n 's/^container //p' "$demo_home/mailboxes/ssow@ssow.semail.test")
    [ -z "$demo_container" ] || visit key "$demo_home/sshd/ssow.pub"
}

show_records() {
    say '   What named says of ssow.semail.test:'
    inside "$house" dig @127.0.0.1 +noall +answer ssow.semail.test MX ssow.semail.test TXT _dmarc.ssow.semail.test TXT | tr '\t' ' ' | sed 's/^/   | /'
}

# -- in the container ------------------------------------------------------------

# The command as the portal shows it, but for the port of the demo's sshd.
ssh_command() {
    printf '%s ' nsenter -t "$house" -n ssh -i "$demo_home/sshd/ssow" -o "ProxyCommand='ssh -i $demo_home/sshd/ssow -p 2222 -W %h:%p -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR semail-ssh@127.0.0.1'" \
        -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR "ssow@$demo_container"
}

# in_container COMMAND: over SSH, by way of the first host.
in_container() {
    local tries
    for ((tries = 0; tries < 50; tries++)); do
        # sshd in there may have just begun.
        if eval "$(ssh_command)" "'$1'" < /dev/null > "$demo_home/said" 2>&1; then break; fi
        sleep 0.2
    done
    sed 's/^/   | /' "$demo_home/said"
    if [ $tries = 50 ]; then
        tail -n 3 "$demo_home/sshd/log" >&2
        fail_with_logs 'ssh to the container did not work'
    fi
}

read_in_container() {
    say "   ssow\$ ls Maildir/new; cat Maildir/new/*"
    in_container 'hostname; id -un; ls Maildir/new; cat Maildir/new/*'
    grep -q '^Somebody is' "$demo_home/said" || fail_with_logs 'the message is not in the container'
}

# From inside, by the mail program that is there, and to the outgoing server on the bridge: only as oneself.
send_from_container() {
    say "   ssow\$ printf ... | sendmail xredon@semail.test"
    in_container "printf \"Subject: From my container\\n\\nIt has a mail program.\\n\" | /usr/sbin/sendmail xredon@semail.test && echo sent"
    show_message "$demo_home/mnt/xredon/Maildir/new" '^It has a mail program'
}

# -- and away --------------------------------------------------------------------

delete_own_mailbox() {
    visit delete ssow@ssow.semail.test
    if [ -e "$demo_home/mailboxes/ssow@ssow.semail.test" ] || [ -e "$demo_home/volumes/ssow" ]; then fail_with_logs 'something is left of the mailbox'; fi
    say '   What there is now: no file of the address, no volume, no container, and in the DNS:'
    inside "$house" dig @127.0.0.1 +noall +comments ssow.semail.test MX | sed -n 's/.*\(status: [A-Z]*\).*/   | ssow.semail.test: \1/p'
}

end_mailbox_parts() {
    if [ -n "$demo_sshd" ]; then kill "$demo_sshd" 2> /dev/null; fi
    end_engine
}
