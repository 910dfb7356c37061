# install.sh: web pages and IMAP. Debian's Apache, SqWebMail and courier-imap, told where SEMail is; no file of theirs is changed but one,
# which dpkg is asked to set aside, and an administrator's own sites stay as they are.
# Read by install.sh, after host.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# shellcheck source=etc/install/courier.sh
. "$root/etc/install/courier.sh"

webmail_packages=(apache2 sqwebmail courier-authdaemon)
imap_packages=(courier-imap)
webmail_user=semail-courier
webmail_sendit=/usr/lib/courier/sqwebmail/sendit.sh
webmail_site=/etc/apache2/sites-available/semail.conf
webmail_modules=(ssl headers proxy proxy_http substitute alias setenvif)

# install_webmail [--with-imap]: settings, files and Apache. The services themselves are some of ${services[@]} from then on.
install_webmail() {
    local name imap=''
    # What was asked for once stays.
    if [ "${1-}" = --with-imap ] || [ -e /etc/sv/semail-imap ]; then imap=yes; fi
    check_web_ports ${imap:+993}
    silence_courier "${webmail_packages[@]}" ${imap:+"${imap_packages[@]}"}
    make_webmail_user
    put_webmail_files "$imap"
    divert_sendit
    configure_apache "$imap"
    # Found over TLS, the portal believes Apache about its visitors.
    [ -n "$(setting portal-url)" ] || set_setting portal-url "https://$(web_host)/"
    [ -n "$(setting webmail-url)" ] || set_setting webmail-url "https://$(web_host)/mail"
    services+=(courier-auth webmail)
    stages[courier-auth]='tcp-accept courier-auth'
    stages[webmail]=''
    if [ -n "$imap" ]; then
        # Records that are made from now on say so too.
        [ "$(setting imap)" = yes ] || set_setting imap yes
        services+=(imap)
        stages[imap]=''
    fi
}

# check_web_ports [PORT]: those of the web are Apache's or free; that of IMAP is courier-imap's, if it is ours.
check_web_ports() {
    local port holder pid program
    for port in 80 443 "$@"; do
        while read -r holder; do
            pid=${holder##*process }
            program=$(readlink "/proc/${pid%)}/exe" 2> /dev/null || true)
            case $port:$program in
            80:/usr/sbin/apache2 | 443:/usr/sbin/apache2) ;;
            993:/usr/sbin/couriertcpd) [ -e /etc/sv/semail-imap ] || fail "port 993 is in use by $holder, which serves others: stop it, and see that it does not start again, then run this again" ;;
            *) fail "port $port is in use by $holder: stop it, and see that it does not start again, then run this again" ;;
            esac
        done < <(holders_of_port "$port")
    done
    thing ok "ports 80, 443${1:+ and $1}: free, or ours"
}

# It may ask at run/auth, and is nothing else.
make_webmail_user() {
    if getent passwd "$webmail_user" > /dev/null; then
        thing ok "$webmail_user"
    else
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --comment 'SEMail courier' "$webmail_user"
        thing made "$webmail_user"
    fi
    if [[ " $(id -nG "$webmail_user") " = *' semail-ask '* ]]; then
        thing ok "$webmail_user in the group semail-ask"
    else
        usermod -a -G semail-ask "$webmail_user"
        thing made "$webmail_user in the group semail-ask"
    fi
}

# Of SqWebMail's templates those that people see are ours, in each language; what is left are Debian's.
put_webmail_files() {
    local imap=$1 fresh
    scratch_directory
    fresh=$scratch/webmail
    mkdir -p "$fresh/web/static"
    make_templates "$fresh/webmail"
    cp "$root/etc/webmail/full.html" "$fresh/webmail/"
    make_static "$fresh/web/static"
    fill_in "$imap" < "$root/etc/apache/autoconfig.xml" > "$fresh/web/autoconfig.xml"
    put_tree "$fresh/webmail" "$share/webmail"
    put_tree "$fresh/web" "$share/web"
    put_preload keep_room sqwebmail
    [ -z "$imap" ] || put_preload no_fam imap
}

# put_preload NAME PROGRAM: etc/webmail/NAME.c, which that program of Courier's is started with.
put_preload() {
    gcc -O2 -shared -fPIC -o "$scratch/$1.so" "$root/etc/webmail/$1.c" || fail "gcc cannot build etc/webmail/$1.c: its words are above"
    put 644 "$scratch/$1.so" "$share/$2/$1.so"
}

# make_static DIR: what pages are made of besides, in the look of the portal.
make_static() {
    cat "$root/Sources/portal/Static/look.css" "$root/etc/webmail/webmail.css" > "$1/webmail.css"
    cp "$root/Sources/portal/Static/icon.svg" "$1/"
}

# make_templates DIR: for each language of etc/webmail/words its directory: {{word}} in a template is the word in that language.
make_templates() {
    local column language file name
    for column in 2 3; do
        language=$(head -n 1 "$root/etc/webmail/words" | cut -f "$column")
        mkdir -p "$1/$language"
        for file in "$root"/etc/webmail/templates/*; do
            name=${file##*/}
            awk -F '\t' -v column="$column" '
                NR == FNR { if (FNR > 1 && NF) words[$1] = $column; next }
                {
                    line = ""
                    while (match($0, /\{\{[a-z0-9-]+\}\}/)) {
                        key = substr($0, RSTART + 2, RLENGTH - 4)
                        if (!(key in words)) { print FILENAME ": no word \"" key "\"" > "/dev/stderr"; exit 1 }
                        line = line substr($0, 1, RSTART - 1) words[key]
                        $0 = substr($0, RSTART + RLENGTH)
                    }
                    print line $0
                }' "$root/etc/webmail/words" "$file" > "$1/$language/$name"
        done
        printf '%s\n' utf-8 > "$1/$language/CHARSET"
        printf '%s\n' "$language" > "$1/$language/LANGUAGE"
        printf '%s\n' "$language" > "$1/$language/LOCALE"
        printf '%s\n' default > "$1/$language/ISPELLDICT"
        # The first of them is what a session has that does not choose: the host's own.
        printf '*\t*\n' > "$1/$language/TIMEZONELIST"
    done
}

# fill_in IMAP: what stands between @ signs.
fill_in() {
    sed -e "${1:+s/^@IMAP@//}" -e '/^@IMAP@/d' -e "s|@HOST@|$(web_host)|g" -e "s|@PORTAL@|$(setting portal-listen)|g" \
        -e "s|@SHARE@|$share|g" -e "s|@SETTINGS@|$settings|g" | CLOSED=$(in_apache closed.html) TROUBLE=$(in_apache trouble.html) awk '{
            while (match($0, /@(CLOSED|TROUBLE)@/)) $0 = substr($0, 1, RSTART - 1) ENVIRON[substr($0, RSTART + 1, RLENGTH - 2)] substr($0, RSTART + RLENGTH)
            print
        }'
}

# in_apache PAGE: of etc/webmail, as it stands within quotes in Apache's file, between | in a substitution.
in_apache() { tr -d '\n' < "$root/etc/webmail/$1" | sed 's/[\\&"$|]/\\&/g'; }

# The name that people type: of the setting portal-url, or the host's.
web_host() {
    local url
    url=$(setting portal-url)
    url=${url#https://}
    url=${url%%[/:]*}
    if [[ $url =~ ^[a-z0-9.-]+$ ]]; then printf %s "$url"; else setting hostname; fi
}

# put_tree FROM TO: a directory just like FROM; one line for all of it.
put_tree() {
    local state=made
    if [ -d "$2" ]; then
        state=changed
        if diff -rq "$1" "$2" > /dev/null; then state=ok; fi
    fi
    if [ $state != ok ]; then
        chmod -R u=rwX,go=rX "$1"
        rm -rf "$2.fresh" "$2.old"
        mkdir -p "$(dirname "$2")"
        cp -r "$1" "$2.fresh"
        [ ! -e "$2" ] || mv "$2" "$2.old"
        mv "$2.fresh" "$2"
        rm -rf "$2.old"
    fi
    thing $state "$2"
}

# SqWebMail runs one program to send a message, at a path of its own; Debian's calls the sendmail command in a way that is Courier's.
divert_sendit() {
    if [ "$(dpkg-divert --truename "$webmail_sendit")" = "$webmail_sendit" ]; then
        dpkg-divert --local --rename --divert "$webmail_sendit.debian" --add "$webmail_sendit" > /dev/null
    fi
    put 755 "$root/etc/webmail/sendit" "$webmail_sendit"
}

configure_apache() {
    local name state=ok before=$changes fresh=''
    scratch_directory
    install -d -m 0755 /var/lib/semail-acme /etc/apache2/semail.d
    # apachectl wants it, and in some containers nobody has made it.
    [ -d /var/lock/ ] || install -d -m 1777 /run/lock
    for name in "${webmail_modules[@]}" "$(cgi_module)"; do
        a2query -q -m "$name" || {
            a2enmod -q "$name" > /dev/null
            thing made "Apache's module $name"
            fresh=yes
        }
    done
    fill_in "$1" < "$root/etc/apache/semail.conf" > "$scratch/semail.conf"
    if [ -e "$webmail_site" ]; then cp "$webmail_site" "$scratch/site.old"; else rm -f "$scratch/site.old"; fi
    put 644 "$scratch/semail.conf" "$webmail_site"
    a2query -q -s semail || {
        a2ensite -q semail > /dev/null
        thing made "Apache's site semail"
    }
    if ! apachectl configtest > "$scratch/configtest" 2>&1; then
        # What ran before goes on running, also when Apache is started next.
        if [ -e "$scratch/site.old" ]; then mv "$scratch/site.old" "$webmail_site"; else a2dissite -q semail > /dev/null; fi
        cat "$scratch/configtest" >&2
        fail 'Apache does not take the configuration: its words are above; its own sites are as they were'
    fi
    [ "$changes" = "$before" ] || state=changed
    [ -z "$fresh" ] || state=fresh
    start_apache $state
}

# Under a threaded Apache programs are started by a process of its own.
cgi_module() { case $(a2query -M) in prefork) say cgi ;; *) say cgid ;; esac }

# start_apache STATE: it runs, with the configuration as it is now. `fresh`: with modules it did not have, of which the one that starts
# programs does its work only in an Apache that begins with it.
start_apache() {
    if [ -d /run/systemd/system ]; then
        systemctl --quiet enable apache2
        if [ "$1" != ok ] || ! systemctl --quiet is-active apache2; then
            if [ "$1" = changed ]; then systemctl reload-or-restart apache2; else systemctl restart apache2; fi || fail 'Apache does not start: see journalctl -u apache2'
            thing changed 'Apache started, or told of the changes'
            return
        fi
    elif [ "$1" != ok ] || ! is_apache_running; then
        if [ "$1" = fresh ]; then stop_apache; fi
        if is_apache_running; then apachectl graceful; else apachectl start; fi > "$scratch/apachectl" 2>&1 || {
            cat "$scratch/apachectl" >&2
            fail 'Apache does not start: its words are above'
        }
        thing changed 'Apache started, or told of the changes'
        return
    fi
    thing ok 'Apache runs'
}

stop_apache() {
    local tries
    is_apache_running || return 0
    apachectl stop > /dev/null 2>&1 || true
    for ((tries = 0; tries < 100; tries++)); do
        is_apache_running || return 0
        sleep 0.1
    done
}

is_apache_running() { [ -s /run/apache2/apache2.pid ] && kill -0 "$(cat /run/apache2/apache2.pid)" 2> /dev/null; }

# -- and back ------------------------------------------------------------------

# What install_webmail made; before remove_files, which removes $share, and remove_services, which needs to know of the services.
uninstall_webmail() {
    services+=(courier-auth webmail imap)
    users+=("$webmail_user")
    if [ -e "$webmail_site" ]; then
        a2dissite -q semail > /dev/null 2>&1 || true
        rm -f "$webmail_site"
        thing removed "$webmail_site"
        rmdir --ignore-fail-on-non-empty /etc/apache2/semail.d /var/lib/semail-acme 2> /dev/null || true
        if [ -d /run/systemd/system ]; then
            systemctl try-restart apache2 || true
        elif is_apache_running; then
            apachectl graceful > /dev/null 2>&1 || true
        fi
    fi
    if [ "$(dpkg-divert --listpackage "$webmail_sendit" 2> /dev/null || true)" = LOCAL ]; then
        rm -f "$webmail_sendit"
        dpkg-divert --local --rename --remove "$webmail_sendit" > /dev/null
        thing removed "$webmail_sendit (Debian's is back)"
    fi
}
