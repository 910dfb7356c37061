# install.sh: the containers of mailboxes: an engine, the image, and the way in by SSH. Read by host.sh and demo.sh, after steps.sh.
# shellcheck shell=bash disable=SC2154

container_packages=(mmdebstrap curl nftables openssh-server openssh-client)
engine_packages=(docker.io)
# Where Docker listens; another engine is named in control/container-engine.
engine_socket=/run/docker.sock
door=/usr/local/libexec/semail/ssh-door
sshd_part=/etc/ssh/sshd_config.d/semail.conf

install_containers() {
    local configured
    configured=$(setting container-engine)
    engine_socket=${configured:-$engine_socket}
    step 'Containers: packages' container_packages
    step "Containers: the engine ($engine_socket)" start_engine
    # Mail needs none of this. What is missing is said; the next run goes on.
    answers "$engine_socket" || return 0
    step 'Containers: the image (etc/container)' build_image
    [ -n "$has_image" ] || return 0
    step 'Containers: settings' set_containers
    step 'Containers: the way in by SSH' allow_ssh
}

# SEMAIL_CONTAINER_CACHE: where tests keep what was fetched.
has_image=''
build_image() {
    if "$root/etc/container/build" ${SEMAIL_CONTAINER_CACHE:+--cache "$SEMAIL_CONTAINER_CACHE"} "$engine_socket"; then
        has_image=yes
    else
        say '   Without the image no container can be made. Its reason is above; run install.sh again when it is gone.'
    fi
}

# An engine that is there already is as good, and Debian's would be in its way.
container_packages() {
    packages "${container_packages[@]}"
    if answers "$engine_socket" || command -v dockerd > /dev/null; then thing ok 'an engine is installed'; else packages "${engine_packages[@]}"; fi
}

answers() { curl -q --silent --noproxy '*' --max-time 5 --unix-socket "$1" --output /dev/null http://engine/_ping 2> /dev/null; }

await_engine() {
    local tries
    for ((tries = 0; tries < ${2:-150}; tries++)); do
        if answers "$1"; then return 0; fi
        sleep 0.1
    done
    return 1
}

start_engine() {
    if answers "$engine_socket"; then
        thing ok "it answers at $engine_socket"
    elif [ -d /run/systemd/system ]; then
        systemctl --quiet enable --now docker.service || fail 'Docker does not start: see systemctl status docker'
        await_engine "$engine_socket" || fail "Docker does not answer at $engine_socket: see journalctl -u docker"
        thing made 'docker.service enabled and started'
    elif [ -x /etc/init.d/docker ] && service docker start > /dev/null 2>&1 && await_engine "$engine_socket" 100; then
        thing made 'docker started'
    else
        say '   No engine of containers runs, and it cannot be started here: mailboxes will have no containers. This starts it:'
        say '       setsid dockerd < /dev/null > /var/log/docker.log 2>&1 &'
        say '   Run install.sh again when it runs.'
    fi
}

set_containers() {
    local gateway addresses=$settings/outbound-addresses
    if [ -n "$(setting container-engine)" ]; then
        thing ok "container-engine $(setting container-engine)"
    else
        set_setting container-engine "$engine_socket"
    fi
    # The first address of the network, where containers find the outgoing server. It may listen there before the network is made.
    gateway=$(gateway_of "$(setting container-network)")
    if grep -qxF "$gateway" "$addresses" 2> /dev/null; then
        thing ok "outbound-addresses has $gateway"
        return
    fi
    { grep -v '^$' "$addresses" 2> /dev/null || true; say "$gateway"; } | "$libexec/semail" --home "$home" config outbound-addresses - > /dev/null
    thing made "outbound-addresses has $gateway"
    if [ -n "$(service_pid /etc/sv/semail-outbound)" ]; then
        signal_service /etc/sv/semail-outbound term
        thing changed 'outbound restarted'
    fi
}

# 172.30.0.0/16: 172.30.0.1
gateway_of() {
    local first=${1%/*}
    printf %s "${first%.*}.$((${first##*.} + 1))"
}

# semail-ssh is an account that leads to containers and does nothing else; what stands in its way in sshd's own settings is the admin's.
allow_ssh() {
    put 755 "$root/etc/ssh/ssh-door" "$door"
    if getent passwd semail-ssh > /dev/null; then
        thing ok semail-ssh
    else
        # The password * is none; ! would lock the account, and some sshd lets nobody in then.
        useradd --system --user-group --no-create-home --home-dir / --shell "$door" --password '*' --comment 'SEMail, the way to containers' semail-ssh
        thing made semail-ssh
    fi
    # sshd -t wants it, and its start makes it.
    [ -d /run/sshd ] || mkdir -m 0755 /run/sshd
    put_sshd_part
    if ! sshd -T -C user=semail-ssh,host=localhost,addr=127.0.0.1 2> /dev/null | grep -qxF "forcecommand $door"; then
        say '   /etc/ssh/sshd_config does not read /etc/ssh/sshd_config.d, so nobody gets to a container. This is missing, as its first line:'
        say '       Include /etc/ssh/sshd_config.d/*.conf'
    fi
}

# Checked before the sshd that runs is told of it.
put_sshd_part() {
    local part=$sshd_part old=''
    scratch_directory
    sed "s,/var/lib/semail/,$home/," "$root/etc/ssh/semail.conf" > "$scratch/sshd_part"
    if cmp -s "$scratch/sshd_part" "$part"; then
        thing ok "$part"
        return
    fi
    if [ -e "$part" ]; then
        old=$scratch/sshd_part.old
        cp "$part" "$old"
    fi
    install -D -m 644 "$scratch/sshd_part" "$part.fresh"
    mv -f "$part.fresh" "$part"
    if ! sshd -t 2> "$scratch/sshd"; then
        if [ -n "$old" ]; then cp "$old" "$part"; else rm -f "$part"; fi
        cat "$scratch/sshd" >&2
        fail 'sshd does not like its settings with ours, so ours were taken out again: its words are above'
    fi
    thing made "$part"
    reload_sshd
}

reload_sshd() {
    local pid
    if [ -d /run/systemd/system ]; then
        systemctl --quiet try-reload-or-restart ssh.service
    else
        pid=$(cat /run/sshd.pid 2> /dev/null || true)
        if [ -z "$pid" ] || [ "$(readlink "/proc/$pid/exe" || true)" != "$(command -v sshd)" ]; then return; fi
        kill -HUP "$pid"
    fi
    thing changed 'sshd has read it'
}

# -- and back ------------------------------------------------------------------

# Containers are data, as mail is: they are stopped and stay. What is kept is told.
uninstall_containers() {
    local name names
    if [ -e "$sshd_part" ]; then
        rm -f "$sshd_part"
        thing removed "$sshd_part"
        reload_sshd
    fi
    if getent passwd semail-ssh > /dev/null; then
        userdel semail-ssh
        thing removed semail-ssh
    fi
    if [ -e "$door" ]; then
        rm -f "$door"
        thing removed "$door"
    fi
    if command -v curl > /dev/null && answers "$engine_socket"; then
        names=$(engine GET '/containers/json?all=true&filters=%7B%22label%22%3A%5B%22semail.owner%22%5D%7D' | grep -o '"/semail-[^"]*"' | tr -d '"/' || true)
        for name in $names; do
            engine POST "/containers/$name/stop?t=10" > /dev/null
            thing removed "$name (stopped)"
        done
        if [ -n "$names" ]; then
            say "Kept: the containers. To be rid of them too, with all that is in them, and of their image and network:"
            # shellcheck disable=SC2086
            say "    docker rm -v" $names '&& docker rmi semail-home && docker network rm semail'
        else
            engine DELETE /networks/semail > /dev/null
            engine DELETE /images/semail-home > /dev/null
        fi
    fi
    if command -v nft > /dev/null; then
        for name in inet bridge; do
            if nft delete table $name semail 2> /dev/null; then thing removed "table $name semail of nftables"; fi
        done
    fi
}

engine() { curl -q --silent --globoff --noproxy '*' --unix-socket "$engine_socket" --request "$1" "http://engine$2"; }

# -- an engine of one's own ------------------------------------------------------

# run_engine PROCESS DIR: dockerd in the network and mounts that PROCESS holds, with all of its own in DIR; its socket is DIR/engine.sock. It
# and its containers are processes of their own space: they end with the process whose id becomes $engine_process. For demos and tests.
engine_process=''
run_engine() {
    local process=$1 dir=$2
    mkdir -p "$dir"
    # Volumes that are mounted there later are to be seen by the engine too.
    nsenter -t "$process" -m -r mount --make-rshared /
    # shellcheck disable=SC2016
    setsid nsenter -t "$process" -n -m -r setpriv --pdeathsig KILL unshare --pid --mount --propagation slave --fork --kill-child=KILL sh -euc '
        mount -t proc proc /proc
        mount -t tmpfs -o mode=0755 engine /run
        exec tini -s -- dockerd -H "unix://$1/engine.sock" --data-root "$1/data" --exec-root "/run/docker" --pidfile /run/docker.pid \
            --bridge none --cgroup-parent "$2" --shutdown-timeout 5' sh "$dir" "/semail-$$" < /dev/null > "$dir/log" 2>&1 &
    engine_process=$!
    await_engine "$dir/engine.sock" 300 || {
        tail -n 5 "$dir/log" >&2
        fail 'dockerd does not run: its last words are above'
    }
}

# end_engine DIR: containers stop, and nothing of them is left but what is in DIR.
end_engine() {
    local tries child
    [ -n "$engine_process" ] || return 0
    # nsenter, setpriv and unshare are one process; its child is tini.
    child=$(cat "/proc/$engine_process/task/$engine_process/children" 2> /dev/null || true)
    # shellcheck disable=SC2086
    [ -z "${child// /}" ] || kill -TERM $child 2> /dev/null || true
    for ((tries = 0; tries < 150; tries++)); do
        [ -e "/proc/$engine_process/exe" ] || break
        sleep 0.1
    done
    kill -KILL "$engine_process" 2> /dev/null || true
    wait "$engine_process" 2> /dev/null || true
    # Directories of control groups of what was killed.
    find /sys/fs/cgroup -depth -type d -path "*/semail-$$*" -exec rmdir {} + 2> /dev/null || true
    engine_process=''
}
