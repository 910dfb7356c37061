/* Connecting over TCP without waiting for the outcome, so that several addresses can be tried side by side. */
#define _GNU_SOURCE
#include "CUnix.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

int cunix_connect_begin(const uint8_t *address, size_t length, uint16_t port)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    const struct sockaddr *target = length == 4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
    const int on = 1;
    if (length == 4) memcpy(&v4.sin_addr, address, 4);
    else if (length == 16) memcpy(&v6.sin6_addr, address, 16);
    else { errno = EINVAL; return -1; }

    int connection = socket(target->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0) return -1;
    /* What is written is a whole group of commands or a whole buffer: it need not wait for company. */
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection, target, length == 4 ? sizeof v4 : sizeof v6) < 0 && errno != EINPROGRESS) {
        int failure = errno;
        close(connection);
        errno = failure;
        return -1;
    }
    return connection;
}

int cunix_connect_outcome(int connection)
{
    int outcome = 0;
    socklen_t length = sizeof outcome;
    return getsockopt(connection, SOL_SOCKET, SO_ERROR, &outcome, &length) < 0 ? errno : outcome;
}
