#!/bin/bash
# install.sh: makes a Debian host run SEMail, shows it at work (--demo), or runs all tests (--test).
#
# Every step can be interrupted and repeated: what is there is left alone, files appear whole or not at all.
# The steps themselves are in etc/install/.
set -eu
umask 022

usage='usage: install.sh --domain NAME [--without PART]... [--with-imap]
                                         install, or bring up to date; NAME is this host'"'"'s name in mail;
                                         a PART is left alone: directory, dns (it is served elsewhere), containers or
                                         webmail (and with it Apache); --with-imap: Courier'"'"'s IMAP too, over TLS
       install.sh --demo [DIR] [--port N] [--once] [--without PART]...
                                         a SEMail of its own on a loopback port, with a message sent through it;
                                         a PART here: containers, webmail;
                                         ends with Ctrl-C (--once: after the proof) and leaves nothing behind
       install.sh --test                 everything the tests need, then all tests
       install.sh --uninstall            stop and remove everything but mail and settings
       install.sh --help'

# shellcheck source-path=SCRIPTDIR
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=etc/install/steps.sh
. "$root/etc/install/steps.sh"

# What is asked for; the parts read these.
# shellcheck disable=SC2034
what='' domain='' without='' with_imap='' demo_home='' demo_port=2525 demo_once=''
while [ $# -gt 0 ]; do
    case $1 in
    --domain)
        [ $# -ge 2 ] || misuse '--domain needs a name, such as semail.example'
        what=${what:-install} domain=$2
        shift
        ;;
    --without)
        case ${2-} in
        directory | dns | containers | webmail) without="$without $2" ;;
        *) misuse "--without needs directory, dns, containers or webmail, not \"${2-}\"" ;;
        esac
        shift
        ;;
    --with-imap) with_imap=yes ;;
    --demo)
        what=demo
        case ${2-} in
        '' | -*) ;;
        *)
            demo_home=$2
            shift
            ;;
        esac
        ;;
    --port)
        [ $# -ge 2 ] || misuse '--port needs a number'
        demo_port=$2
        shift
        ;;
    --once) demo_once=yes ;;
    --test) what='test' ;;
    --uninstall) what=uninstall ;;
    --help)
        say "$usage"
        exit 0
        ;;
    *) misuse "$1 is no option" ;;
    esac
    shift
done
if ! [[ $demo_port =~ ^[1-9][0-9]{0,4}$ ]] || [ "$demo_port" -gt 65535 ]; then
    misuse "--port needs a number from 1 to 65535, not \"$demo_port\""
fi
[ -n "$what" ] || misuse 'say what to do'
case $what in
demo) [ -z "$domain$with_imap" ] || misuse '--demo and --domain do not go together' ;;
*) [ -z "$demo_once" ] || misuse '--once goes with --demo' ;;
esac

check_machine
case $what in
install)
    # shellcheck source=etc/install/host.sh
    . "$root/etc/install/host.sh"
    install_host
    ;;
uninstall)
    # shellcheck source=etc/install/host.sh
    . "$root/etc/install/host.sh"
    uninstall_host
    ;;
demo)
    # shellcheck source=etc/install/demo.sh
    . "$root/etc/install/demo.sh"
    run_demo
    ;;
test)
    # shellcheck source=etc/install/test.sh
    . "$root/etc/install/test.sh"
    run_tests
    ;;
esac
