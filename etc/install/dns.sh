# install.sh --domain NAME: BIND's named has the zone in which people get mailboxes at subdomains, and takes changes of it from this host,
# signed with a key. Configuration of BIND that the admin has written stays as it is: then it is said which lines to add.
# Read by install.sh; needs host.sh.
# shellcheck shell=bash disable=SC2154

dns_packages=(bind9 bind9-dnsutils)
# Read by named as root's group bind; the other copy, in $settings, by provision.
bind_conf=/etc/bind/semail.conf
bind_key=/etc/bind/semail.key
bind_local=/etc/bind/named.conf.local
bind_include="include \"$bind_conf\";"

install_dns() {
    local server hostname zone file
    hostname=$(head -n 1 "$settings/hostname")
    zone=$(setting domain)
    server=$(setting dns-server)
    if [ -e "$settings/dns-server" ] && [ -z "$server" ]; then
        thing ok 'left alone (the setting dns-server is empty): records of subdomains are not made here'
        return
    fi
    case $server in
    '' | 127.0.0.1 | ::1) ;;
    *)
        thing ok "left alone: records of ${zone:-no domain} are changed at $server"
        return
        ;;
    esac
    zone=${zone:-$hostname}
    [[ $zone =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ ]] || fail "the setting domain is \"$zone\", which is no domain"
    packages "${dns_packages[@]}"
    make_dns_key
    file=/var/lib/bind/semail-$zone.zone
    make_zone "$zone" "$hostname" "$file" || return 0
    scratch_directory
    sed "s,@DOMAIN@,$zone,g; s,@KEY@,$bind_key,g; s,@FILE@,$file,g" "$root/etc/bind/semail.conf" > "$scratch/semail.conf"
    if ! is_bind_as_shipped "$zone"; then
        if [ -n "$server" ] && has_zone "$zone"; then
            thing ok "BIND's configuration is the admin's; named answers for $zone"
            return
        fi
        say "   BIND has a configuration of its own, which stays as it is. Put these lines into it, have named read it (rndc reconfig), and say"
        say "   semail config domain $zone; semail config dns-server 127.0.0.1"
        sed 's/^/   | /' "$scratch/semail.conf"
        return
    fi
    configure_bind "$zone"
    run_bind "$zone" || return 0
    if [ ! -e "$settings/domain" ]; then set_setting domain "$zone"; else thing ok "domain $zone"; fi
    if [ ! -e "$settings/dns-server" ]; then set_setting dns-server 127.0.0.1; else thing ok "dns-server $server"; fi
    say "   What the registrar of $zone must know: its name server is $hostname."
}

# The same key in two files, each for one reader.
make_dns_key() {
    local key=$settings/dns-key
    if [ ! -s "$key" ]; then
        scratch_directory
        make_tsig_key semail > "$scratch/dns-key"
        install -m 0400 -o root -g root "$scratch/dns-key" "$key.fresh"
        rm "$scratch/dns-key"
        mv -f "$key.fresh" "$key"
        thing made "$key"
    else
        lay_path f 256 0:0 "$key"
    fi
    if cmp -s "$key" "$bind_key" && [ "$(stat -c '%a %U:%G' "$bind_key")" = '640 root:bind' ]; then
        thing ok "$bind_key"
    else
        install -m 0640 -o root -g bind "$key" "$bind_key.fresh"
        mv -f "$bind_key.fresh" "$bind_key"
        thing made "$bind_key"
    fi
}

# make_zone DOMAIN HOSTNAME FILE: the file, if it is not there; from then on it is named's. 1: the host has no address.
make_zone() {
    local zone=$1 hostname=$2 file=$3 address addresses=()
    if [ -e "$file" ]; then
        thing ok "$file"
        return 0
    fi
    mapfile -t addresses < <(ip -o addr show scope global | awk '$3 ~ /^inet6?$/ && !/ (temporary|tentative|deprecated)/ { sub("/.*", "", $4); print $4 }' | sort -u)
    if [ ${#addresses[@]} = 0 ]; then
        thing ok "no zone yet: this host has no address that others could reach; run this again when it has one"
        return 1
    fi
    scratch_directory
    sed "s/@DOMAIN@/$zone/g; s/@HOSTNAME@/$hostname/g" "$root/etc/bind/zone" > "$scratch/zone"
    # Mail from addresses right at the domain is signed too.
    if ! "$libexec/semail" dkim show "$zone" > "$scratch/dkim" 2> /dev/null; then
        "$libexec/semail" dkim create "$zone" > /dev/null
        thing made "keys that sign mail from $zone"
        "$libexec/semail" dkim show "$zone" > "$scratch/dkim"
    fi
    cat "$scratch/dkim" >> "$scratch/zone"
    # Another zone has the address of a name that is not in this one.
    if [ "$hostname" = "$zone" ] || [[ $hostname == *."$zone" ]]; then
        for address in "${addresses[@]}"; do
            case $address in
            *:*) say "$hostname. AAAA $address" ;;
            *) say "$hostname. A $address" ;;
            esac >> "$scratch/zone"
            case $address in
            10.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].* | 192.168.* | 100.6[4-9].* | 100.[7-9][0-9].* | 100.1[01][0-9].* | 100.12[0-7].* | f[cd]*:*)
                say "   $address is an address of a private network. If others reach this host by another one, put that into the zone instead:"
                say "   rndc freeze $zone; editor $file; rndc thaw $zone"
                ;;
            esac
        done
        if [ "$hostname" != "$zone" ]; then say "$hostname. TXT \"v=spf1 a -all\"" >> "$scratch/zone"; fi
    fi
    named-checkzone -q "$zone" "$scratch/zone" || fail "the zone for $zone is not right: $(named-checkzone "$zone" "$scratch/zone" 2>&1 | head -n 3)"
    install -m 0644 -o bind -g bind "$scratch/zone" "$file.fresh"
    mv -f "$file.fresh" "$file"
    thing made "$file: ${addresses[*]}"
}

# Whether BIND's configuration is Debian's with nothing of the admin's in it, and none of its zones has this name.
is_bind_as_shipped() {
    local path sum name
    if grep -qsxF "$bind_include" "$bind_local"; then return 0; fi
    if [ -e "$bind_conf" ] && ! grep -q 'install.sh makes this file' "$bind_conf"; then return 1; fi
    while read -r path sum _; do
        case $path in
        /etc/bind/named.conf | "$bind_local" | /etc/bind/named.conf.default-zones) [ "$(md5sum "$path" 2> /dev/null | cut -d ' ' -f 1)" = "$sum" ] || return 1 ;;
        esac
    done < <(dpkg-query -W -f '${Conffiles}\n' bind9)
    # The options may be anybody's: they are about who may ask, and not about zones.
    while read -r name; do [ "$name" != "$1" ] || return 1; done < <(named-checkconf -p 2> /dev/null | sed -nE 's/^\s*zone "([^"]*)".*/\1/p')
}

# Its file, and one line that includes it. Both or none: what does not pass is taken back.
configure_bind() {
    local state=made
    if [ -e "$bind_conf" ]; then state=changed; fi
    if cmp -s "$scratch/semail.conf" "$bind_conf"; then state=ok; fi
    if [ $state != ok ]; then
        cp -p "$bind_local" "$scratch/named.conf.local"
        if [ -e "$bind_conf" ]; then cp -p "$bind_conf" "$scratch/semail.conf.before"; fi
        install -m 0644 -o root -g root "$scratch/semail.conf" "$bind_conf.fresh"
        mv -f "$bind_conf.fresh" "$bind_conf"
    fi
    thing $state "$bind_conf"
    if grep -qxF "$bind_include" "$bind_local"; then
        thing ok "$bind_local includes it"
    else
        cp -p "$bind_local" "$bind_local.fresh"
        say "$bind_include" >> "$bind_local.fresh"
        mv -f "$bind_local.fresh" "$bind_local"
        thing changed "$bind_local includes it"
    fi
    if ! named-checkconf > "$scratch/checkconf" 2>&1; then
        if [ $state != ok ]; then
            cp -p "$scratch/named.conf.local" "$bind_local"
            if [ -e "$scratch/semail.conf.before" ]; then cp -p "$scratch/semail.conf.before" "$bind_conf"; else rm "$bind_conf"; fi
        fi
        fail "named would not take its configuration, which is as it was before: $(head -n 3 "$scratch/checkconf")"
    fi
}

# run_bind DOMAIN: named reads it, and answers. 1: named does not run, and it is said how it is started.
run_bind() {
    local tries configured=/run/named/semail-configured
    # Since its start it knows what there was then.
    [ -e $configured ] || configured=/run/named/named.pid
    if is_bind_up 1; then
        # Only what is new is loaded; other zones go on.
        if [ "$bind_conf" -nt $configured ] || ! has_zone "$1"; then
            rndc reconfig > /dev/null || fail 'named did not read its configuration: see its log'
            thing changed 'named has read its configuration'
        else
            thing ok 'named runs'
        fi
    elif [ -d /run/systemd/system ]; then
        systemctl --quiet enable --now named.service || fail 'named does not start: see journalctl -u named'
        thing made 'named.service enabled and started'
    else
        # Where services may not be started like this, nothing comes of it.
        invoke-rc.d --quiet named start > /dev/null 2>&1 || true
        if is_bind_up 20; then thing made 'named started'; fi
    fi
    if ! is_bind_up 20; then
        say '   named does not run, and nothing here starts it. Start it, and run this again:'
        say '       service named start'
        return 1
    fi
    for ((tries = 0; tries < 50; tries++)); do
        if has_zone "$1"; then
            touch /run/named/semail-configured
            thing ok "named answers for $1"
            return 0
        fi
        sleep 0.1
    done
    fail "named runs and does not answer for $1 at 127.0.0.1: see its log"
}

# is_bind_up TRIES: whether named listens to rndc, a tenth of a second apart.
is_bind_up() {
    local tries
    for ((tries = $1; ; tries--)); do
        if rndc status > /dev/null 2>&1; then return 0; fi
        [ "$tries" -gt 1 ] || return 1
        sleep 0.1
    done
}

has_zone() { dig +short +time=1 +tries=1 +norecurse @127.0.0.1 "$1." SOA 2> /dev/null | grep -q '^[^;]'; }

# -- and back ------------------------------------------------------------------

# What this put into BIND's configuration; the zone's file stays, as mail does.
remove_dns() {
    if [ -e "$bind_local" ] && grep -qxF "$bind_include" "$bind_local"; then
        grep -vxF "$bind_include" "$bind_local" > "$bind_local.fresh" || true
        chmod --reference="$bind_local" "$bind_local.fresh"
        chown --reference="$bind_local" "$bind_local.fresh"
        mv -f "$bind_local.fresh" "$bind_local"
        thing changed "$bind_local"
        local target
        for target in "$bind_conf" "$bind_key"; do
            rm -f "$target"
            thing removed "$target"
        done
        if is_bind_up 1; then rndc reconfig > /dev/null || true; fi
    fi
}
