# install.sh --demo: webmail at /mail of the portal's address. Apache and SqWebMail are unpacked, not installed, and run in a root of their
# own, with an installation's templates and Apache's file of an installation but for TLS. Apache stands before the portal.
# Read by demo.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# shellcheck source=etc/install/webmail.sh
. "$root/etc/install/webmail.sh"

demo_courier=61002 demo_web=61003

has_webmail() { [[ " $without " != *' webmail '* ]]; }

# Where the portal itself is: behind Apache it is at another address of loopback, at the same port.
portal_address() { if has_webmail; then say "127.0.0.2:$demo_portal_port"; else say "127.0.0.1:$demo_portal_port"; fi; }

# What fill_in of webmail.sh asks for.
setting() { SEMAIL_HOME=$demo_home "$demo_home/bin/semail" config "$1" 2> /dev/null | head -n 1; }

# Everything in web/: files that pages are made of, what the services are told, and run/, which they have as /run/courier.
lay_out_webmail() {
    local web=$demo_home/web name
    share=$web settings=$demo_home/control
    mkdir -p "$web"/{web/static,run}
    install -d -m 0700 "$web/apache"
    make_templates "$web/webmail"
    make_static "$web/web/static"
    say "http://127.0.0.1:$demo_portal_port/mail" > "$demo_home/control/webmail-url"
    make_apache_file > "$web/apache.conf"
    fill_in '' < "$root/etc/apache/autoconfig.xml" > "$web/web/autoconfig.xml"
    sed "s,^exec /usr/local/libexec/semail/,export SEMAIL_HOME='$demo_home'\nexec $demo_home/bin/," "$root/etc/webmail/sendit" > "$web/sendit"
    chmod 755 "$web/sendit"
    # A command within the unpacked root: with this home and the volumes that are mounted in it, also those that come later.
    cat > "$web/enter" << END
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec unshare --mount --propagation slave sh -euc '
    (umask 022 && mkdir -p "\$1\$2")
    mount --rbind "\$2" "\$1\$2"
    root=\$1 home=\$2
    shift 2
    exec "$root/Tests/Peers/enter" "\$root" -b "\$home/web/run" /run/courier -b "\$home/web/sendit" /usr/lib/courier/sqwebmail/sendit.sh -- "\$@"
' sh "$SEMAIL_PEERS/webmail" "$demo_home" "\$@"
END
    chmod 755 "$web/enter"
    for name in courier-auth webmail; do lay_out_service "$demo_home/stranger" $name; done
    mkdir "$demo_home/stranger/service/apache"
    mkdir "$demo_home/stranger/service/apache/log"
    sed 's,/webmail\>,/apache,; s/webmail/apache/' "$root/etc/service/webmail/log/run" > "$demo_home/stranger/service/apache/log/run"
    chmod 755 "$demo_home/stranger/service/apache/log/run"
    install -d -m 0750 -o "$demo_log" -g "$demo_log" "$demo_home/stranger/log/apache"
    # A session of its own: when Apache ends, it ends all of its process group.
    printf '%s\n' '#!/bin/sh' 'exec 2>&1' "exec setsid '$web/enter' /usr/sbin/apache2 -DFOREGROUND -f '$web/apache.conf'" > "$demo_home/stranger/service/apache/run"
    chmod 755 "$demo_home/stranger/service/apache/run"
    # So that the root sees volumes that the first host mounts later.
    nsenter -t "$house" -m -r mount --make-rshared /
    thing made "$web: Apache stands before the portal, and SqWebMail behind it at /mail"
}

# What Debian's own files tell Apache, as far as it is needed; then the site, without TLS and without port 80.
make_apache_file() {
    local name
    for name in mpm_prefork authz_core alias cgi filter headers mime proxy proxy_http setenvif substitute; do
        say "LoadModule ${name}_module /usr/lib/apache2/modules/mod_$name.so"
    done
    printf '%s\n' "Define APACHE_LOG_DIR $demo_home/web/apache" "DefaultRuntimeDir $demo_home/web/apache" "PidFile $demo_home/web/apache/pid" \
        "ErrorLog $demo_home/web/apache/error.log" 'ServerName mail.semail.test' "User #$demo_web" "Group #$demo_web" "Listen 127.0.0.1:$demo_portal_port" 'StartServers 2' \
        'TypesConfig /dev/null' 'AddType text/css .css' 'AddType image/svg+xml .svg' 'AddType text/html .html' '<Directory />' 'Require all denied' 'AllowOverride None' '</Directory>'
    fill_in '' < "$root/etc/apache/semail.conf" | sed -e '/^<VirtualHost \*:80>/,/^<\/VirtualHost>/d' -e "s/^<VirtualHost \*:443>/<VirtualHost 127.0.0.1:$demo_portal_port>/" \
        -e '/^ *\(SSL\|ServerAlias\|IncludeOptional\)/d' -e '/Strict-Transport-Security/d' -e '/X-Forwarded-Proto/s/https/http/'
}

# As ssow, with a browser.
read_at_webmail() {
    /usr/bin/python3 "$root/etc/install/demo_webmail.py" "http://127.0.0.1:$demo_portal_port/mail" ssow "$demo_password" 'Re: From one house to another' ||
        fail_with_logs 'webmail did not do it'
}

end_webmail() {
    # Where the unpacked root had the home.
    [ -z "$demo_home" ] || rmdir "${SEMAIL_PEERS-}/webmail$demo_home" 2> /dev/null
}
