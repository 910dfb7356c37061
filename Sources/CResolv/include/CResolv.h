/* Questions to the host's resolver, as resolv.conf names it. Only the room DNS uses this. */
#ifndef CRESOLV_H
#define CRESOLV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cresolv;

/*
 * Reads resolv.conf. No name server is waited for longer than SECONDS, and none
 * asked more than twice. NULL: no memory. Nothing is opened later but sockets.
 */
struct cresolv *cresolv_open(int seconds);
void cresolv_close(struct cresolv *resolver);

enum cresolv_fault {
    CRESOLV_NO_NAME = -1,   /* NXDOMAIN: there is no such name at all */
    CRESOLV_NO_DATA = -2,   /* the name has no record of this type */
    CRESOLV_NO_ANSWER = -3  /* nobody could say */
};

/* Asks for an absolute name (no search list). The answer's length, or a fault. */
ssize_t cresolv_ask(struct cresolv *resolver, const char *name, uint16_t type, uint8_t *answer, size_t room);

#endif
