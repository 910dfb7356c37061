# An SMTP session as a person would type it, and every line of it shown. Read by install.sh --demo, and by the shells it starts
# in the network of another host.
# shellcheck shell=bash

# dialogue ADDRESS PORT LINE...: what follows DATA, up to a dot, is said without waiting for an answer.
dialogue() {
    local line wanted
    exec 3<> "/dev/tcp/$1/$2" || return
    shift 2
    hear 220 || return
    for line; do
        printf '   -> %s\n' "$line"
        printf '%s\r\n' "$line" >&3
        case $wanted$line in
        354.) wanted='' && hear 250 || return ;;
        354*) ;;
        DATA) wanted=354 && hear 354 || return ;;
        QUIT) hear 221 || return ;;
        *) hear 250 || return ;;
        esac
    done
    exec 3>&-
}

# hear CODE: an answer of one line or more.
hear() {
    local line
    while IFS= read -r -t 20 -u 3 line; do
        printf '   <- %s\n' "${line%$'\r'}"
        case $line in
        "$1"-*) ;;
        "$1"' '*) return ;;
        *)
            printf 'an answer that begins with %s was expected\n' "$1" >&2
            return 1
            ;;
        esac
    done
    echo 'no answer within 20 seconds' >&2
    return 1
}
