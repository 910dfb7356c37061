/* A connection to a directory: its options in the order libldap wants them, and its end. */
#define _GNU_SOURCE
#include "CLDAP.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* A layer right above the socket that keeps the deadline: libldap's own limits do not hold within a TLS handshake. */

static int await(Sockbuf_IO_Desc *layer, short events)
{
    const struct cldap *server = layer->sbiod_pvt;
    struct pollfd one = { .fd = -1, .events = events };
    int count;
    ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &one.fd);
    do {
        long long left = server->deadline_milliseconds - now();
        if (left <= 0) { errno = ETIMEDOUT; return -1; }
        count = poll(&one, 1, (int)left);
    } while (count == 0 || (count < 0 && errno == EINTR));
    return count < 0 ? -1 : 0;
}

static int setup(Sockbuf_IO_Desc *layer, void *argument) { layer->sbiod_pvt = argument; return 0; }

static int control(Sockbuf_IO_Desc *layer, int option, void *argument) { return LBER_SBIOD_CTRL_NEXT(layer, option, argument); }

static ber_slen_t read_in_time(Sockbuf_IO_Desc *layer, void *bytes, ber_len_t length)
{
    if (LBER_SBIOD_CTRL_NEXT(layer, LBER_SB_OPT_DATA_READY, NULL) <= 0 && await(layer, POLLIN) < 0) return -1;
    return LBER_SBIOD_READ_NEXT(layer, bytes, length);
}

static ber_slen_t write_in_time(Sockbuf_IO_Desc *layer, void *bytes, ber_len_t length)
{
    if (await(layer, POLLOUT) < 0) return -1;
    return LBER_SBIOD_WRITE_NEXT(layer, bytes, length);
}

static Sockbuf_IO keeper = { .sbi_setup = setup, .sbi_ctrl = control, .sbi_read = read_in_time, .sbi_write = write_in_time };

static int connected(LDAP *ld, Sockbuf *socket, LDAPURLDesc *url, struct sockaddr *address, struct ldap_conncb *callbacks)
{
    struct cldap *server = callbacks->lc_arg;
    (void)ld, (void)url, (void)address;
    server->has_connected = 1;
    return ber_sockbuf_add_io(socket, &keeper, LBER_SBIOD_LEVEL_PROVIDER + 1, server);
}

static void closing(LDAP *ld, Sockbuf *socket, struct ldap_conncb *callbacks) { (void)ld, (void)socket, (void)callbacks; }

static int set_options(struct cldap *server, const char *authorities, int milliseconds)
{
    const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, least = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
    const int deref = LDAP_DEREF_NEVER, client = 0;
    const struct timeval limit = { .tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000 };
    LDAP *ld = server->ld;
    int result;
    if ((result = ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_DEREF, &deref)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_ON)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &limit)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_TIMEOUT, &limit)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_CONNECT_CB, &server->callbacks)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand)) == LDAP_OPT_SUCCESS
        && (result = ldap_set_option(ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, &least)) == LDAP_OPT_SUCCESS
        && authorities != NULL
        && (result = ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, authorities)) == LDAP_OPT_SUCCESS)
        /* The options hold for a context that is made after them. It reads the whole file of authorities. */
        result = ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &client);
    return result == LDAP_OPT_SUCCESS ? LDAP_SUCCESS : LDAP_PARAM_ERROR;
}

int cldap_open(const char *uri, const char *authorities, int wait_milliseconds, int limit_milliseconds, struct cldap **opened)
{
    int result;
    *opened = NULL;
    /* ldap.conf, ~/.ldaprc and LDAP* in the environment could name other authorities, or none: before the first call. */
    if (setenv("LDAPNOINIT", "1", 1) < 0) return LDAP_NO_MEMORY;
    struct cldap *server = calloc(1, sizeof *server);
    if (server == NULL) return LDAP_NO_MEMORY;
    server->callbacks = (struct ldap_conncb){ .lc_add = connected, .lc_del = closing, .lc_arg = server };
    server->deadline_milliseconds = now() + limit_milliseconds;
    if ((result = ldap_initialize(&server->ld, uri)) != LDAP_SUCCESS) { free(server); return result; }
    *opened = server;
    if ((result = set_options(server, authorities, wait_milliseconds)) != LDAP_SUCCESS) return result;
    return ldap_connect(server->ld);
}

void cldap_close(struct cldap *server)
{
    if (server == NULL) return;
    ldap_unbind_ext(server->ld, NULL, NULL);
    free(server);
}

int cldap_start_tls(struct cldap *server) { return ldap_start_tls_s(server->ld, NULL, NULL); }

char *cldap_diagnosis(struct cldap *server)
{
    char *text = NULL;
    if (ldap_get_option(server->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text) != LDAP_OPT_SUCCESS || text == NULL) return NULL;
    if (*text != 0) return text;
    ldap_memfree(text);
    return NULL;
}

void cldap_wipe(void *bytes, size_t length) { explicit_bzero(bytes, length); }
