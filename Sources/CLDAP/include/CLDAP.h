/*
 * libldap for Swift, and the few things about it that Swift cannot say: macros that are no numbers, options of pointer type,
 * callbacks with a struct of their own, a wipe that no compiler leaves out. Nothing here logs.
 */
#ifndef CLDAP_H
#define CLDAP_H

#include <ldap.h>
#include <stddef.h>
#include <sys/time.h>

/* One server. */
struct cldap {
    LDAP *ld;
    struct ldap_conncb callbacks;
    /* On the monotonic clock: nothing is read or written later. */
    long long deadline_milliseconds;
    /* There was a connection, whatever came of it. */
    int has_connected;
};

/*
 * Connects to ldap://, ldaps:// or ldapi://. LDAPv3, no referrals, no configuration of the host or the user. TLS 1.2 at least, the
 * server's certificate and name checked by the authorities in AUTHORITIES, a file; NULL: no TLS is meant. Connecting, and each
 * answer, takes WAIT_SECONDS at most, all of it LIMIT_SECONDS, even if the server says nothing amid a TLS handshake. Returns
 * LDAP_SUCCESS, or why not. Either way *server is to be closed, unless it is NULL.
 */
int cldap_open(const char *uri, const char *authorities, int wait_seconds, int limit_seconds, struct cldap **server);
void cldap_close(struct cldap *server);

/* StartTLS (RFC 4511 4.14). */
int cldap_start_tls(struct cldap *server);

/* What the server said about the last failure, to be freed with ldap_memfree; NULL if nothing. */
char *cldap_diagnosis(struct cldap *server);

/* Overwrites a secret. */
void cldap_wipe(void *bytes, size_t length);

#endif
