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
 * server's certificate and name checked by the authorities in AUTHORITIES, a file; NULL: no TLS is meant. Connecting takes
 * WAIT_MILLISECONDS at most, all of it LIMIT_MILLISECONDS, even if the server says nothing amid a TLS handshake. Returns
 * LDAP_SUCCESS, or why not. Either way *server is to be closed, unless it is NULL.
 */
int cldap_open(const char *uri, const char *authorities, int wait_milliseconds, int limit_milliseconds, struct cldap **server);
void cldap_close(struct cldap *server);

/* StartTLS (RFC 4511 4.14). */
int cldap_start_tls(struct cldap *server);

/* What the server said about the last failure, to be freed with ldap_memfree; NULL if nothing. */
char *cldap_diagnosis(struct cldap *server);

/* An entry's attributes, or changes of them, being gathered: a list that ends with NULL, for ldap_add_ext and ldap_modify_ext. */
struct cldap_changes {
    LDAPMod **list;
    size_t count;
};

/*
 * One more value of ATTRIBUTE, which goes to the others that were given right before it with the same OPERATION (LDAP_MOD_ADD,
 * LDAP_MOD_REPLACE, LDAP_MOD_DELETE). VALUE is copied; NULL: no value, which takes all there are away. -1: no memory.
 */
int cldap_change(struct cldap_changes *changes, int operation, const char *attribute, const void *value, size_t length);
void cldap_changes_free(struct cldap_changes *changes);

/* Overwrites a secret. */
void cldap_wipe(void *bytes, size_t length);

#endif
