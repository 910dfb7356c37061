/*
 * tls_load PORT COUNT WORKERS full|resumed
 *
 * Connects COUNT times to a server on 127.0.0.1, WORKERS at once: handshake (TLS 1.3), greeting, close. Prints the seconds it
 * took. Ends with an error if a connection fails, or, with `resumed`, if more than each worker's first handshake is a full one.
 * It checks no certificate: what is measured is the server.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static SSL_SESSION *last;

static int keep(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(last);
    last = session;
    return 1;
}

static void fail(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    _exit(1);
}

static void visit(SSL_CTX *context, const struct sockaddr_in *address, int resumed)
{
    const int on = 1;
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection, (const struct sockaddr *)address, sizeof *address) < 0) fail("connect");
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, connection);
    int expects = resumed && last != NULL;
    if (expects) {
        /* A copy: OpenSSL offers a session once, and Postfix sends no new ticket for one that is resumed. */
        SSL_SESSION *copy = SSL_SESSION_dup(last);
        SSL_set_session(ssl, copy);
        SSL_SESSION_free(copy);
    }
    if (SSL_connect(ssl) != 1) fail("handshake");
    if (SSL_session_reused(ssl) != expects) {
        fprintf(stderr, expects ? "a session was not resumed\n" : "a session was resumed\n");
        _exit(1);
    }
    char greeting[512];
    if (SSL_read(ssl, greeting, sizeof greeting) < 4 || strncmp(greeting, "220 ", 4) != 0) fail("greeting");
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(connection);
}

int main(int count, char **words)
{
    if (count != 5) return 100;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1])) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connections = atoi(words[2]), workers = atoi(words[3]), resumed = strcmp(words[4], "resumed") == 0;

    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set1_groups_list(context, "X25519");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (resumed) SSL_CTX_sess_set_new_cb(context, keep);

    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int worker = 0; worker < workers; worker++) {
        if (fork() != 0) continue;
        for (int i = worker; i < connections; i += workers) visit(context, &address, resumed);
        _exit(0);
    }
    int status, failed = 0;
    while (wait(&status) > 0) failed |= status;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.6f\n", (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return failed != 0;
}
