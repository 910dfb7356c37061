/* Listening and accepting: TCP over both families with one address text each, and unix sockets. */
#define _GNU_SOURCE
#include "CUnix.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static void describe(const struct sockaddr_storage *address, struct cunix_address *out)
{
    memset(out, 0, sizeof *out);
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;
        inet_ntop(AF_INET, &v4->sin_addr, out->text, sizeof out->text);
        out->port = ntohs(v4->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        out->port = ntohs(v6->sin6_port);
        /* A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d; people and rules want a.b.c.d. */
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, out->text, sizeof out->text);
        } else {
            out->is_ipv6 = 1;
            inet_ntop(AF_INET6, &v6->sin6_addr, out->text, sizeof out->text);
        }
    }
}

static int close_keeping_errno(int descriptor)
{
    int failure = errno;
    close(descriptor);
    errno = failure;
    return -1;
}

int cunix_is_address(const char *text)
{
    unsigned char binary[16];
    char again[64];
    int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    return inet_pton(family, text, binary) == 1 && inet_ntop(family, binary, again, sizeof again) != NULL && strcmp(text, again) == 0;
}

int cunix_listen_tcp(const char *host, uint16_t port, int backlog, int shared, uint16_t *port_in_use)
{
    struct sockaddr_storage address;
    struct sockaddr_in *v4 = (void *)&address;
    struct sockaddr_in6 *v6 = (void *)&address;
    const int on = 1, off = 0;
    int all = strcmp(host, "0") == 0;
    memset(&address, 0, sizeof address);
    if (!all && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        address.ss_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (all || inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        address.ss_family = AF_INET6;
        v6->sin6_port = htons(port);
    } else { errno = EINVAL; return -1; }

    int listener = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 && all && errno == EAFNOSUPPORT) return cunix_listen_tcp("0.0.0.0", port, backlog, shared, port_in_use);
    if (listener < 0) return -1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* The kernel gives a connection to whoever listens on its very address, before whoever listens on all. */
    if (shared) {
        setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        /* Also on an address that comes later, as that of a network of containers does. */
        if (address.ss_family == AF_INET) setsockopt(listener, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
        else setsockopt(listener, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
    }
    if (address.ss_family == AF_INET6)
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, all ? &off : &on, sizeof on);
    /* Inherited by accepted sockets: a reply is one write, it need not wait for company. */
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socklen_t length = address.ss_family == AF_INET ? sizeof *v4 : sizeof *v6;
    if (bind(listener, (struct sockaddr *)&address, length) < 0) return close_keeping_errno(listener);
    if (listen(listener, backlog) < 0) return close_keeping_errno(listener);
    length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) return close_keeping_errno(listener);
    *port_in_use = ntohs(address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return listener;
}

static int unix_address(const char *path, struct sockaddr_un *address)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) { errno = ENAMETOOLONG; return -1; }
    strcpy(address->sun_path, path);
    return 0;
}

int cunix_connect_unix(const char *path)
{
    struct sockaddr_un address;
    if (unix_address(path, &address) < 0) return -1;
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0) return -1;
    if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0) return close_keeping_errno(connection);
    return connection;
}

int cunix_listen_unix(const char *path, int backlog)
{
    struct sockaddr_un address;
    if (unix_address(path, &address) < 0) return -1;
    /* A socket file without a listener is a leftover; one with a listener is a service that runs. */
    int other = cunix_connect_unix(path);
    if (other >= 0) { close(other); errno = EADDRINUSE; return -1; }
    if (errno == ECONNREFUSED) unlink(path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return -1;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) return close_keeping_errno(listener);
    if (listen(listener, backlog) < 0) return close_keeping_errno(listener);
    return listener;
}

int cunix_accept(int listener, struct cunix_address *remote, struct cunix_address *local)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int connection = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
    if (connection < 0) return -1;
    describe(&address, remote);
    length = sizeof address;
    if (getsockname(connection, (struct sockaddr *)&address, &length) < 0) return close_keeping_errno(connection);
    describe(&address, local);
    return connection;
}

int cunix_accept_unix(int listener, pid_t *pid, uid_t *uid, gid_t *gid)
{
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0) return -1;
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return close_keeping_errno(connection);
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return connection;
}
