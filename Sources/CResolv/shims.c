/* glibc's resolver with a state of its own: the functions without one are the search list's, and reread files. */
#include "CResolv.h"
#include <limits.h>
#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

struct cresolv { struct __res_state state; };

struct cresolv *cresolv_open(int seconds)
{
    struct cresolv *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL) return NULL;
    if (res_ninit(&resolver->state) < 0) { free(resolver); return NULL; }
    /* Answers of up to 1200 octets come in one packet (RFC 6891); longer ones by TCP. */
    resolver->state.options |= RES_USE_EDNS0;
    resolver->state.options &= ~(unsigned long)(RES_DEFNAMES | RES_DNSRCH);
    if (resolver->state.retrans > seconds) resolver->state.retrans = seconds;
    if (resolver->state.retry > 2) resolver->state.retry = 2;
    return resolver;
}

void cresolv_close(struct cresolv *resolver)
{
    res_nclose(&resolver->state);
    free(resolver);
}

ssize_t cresolv_ask(struct cresolv *resolver, const char *name, uint16_t type, uint8_t *answer, size_t room)
{
    int length = res_nquery(&resolver->state, name, ns_c_in, type, answer, room > INT_MAX ? INT_MAX : (int)room);
    if (length > 0) return (size_t)length > room ? (ssize_t)room : length;
    switch (resolver->state.res_h_errno) {
    case HOST_NOT_FOUND: return CRESOLV_NO_NAME;
    case NO_DATA: return CRESOLV_NO_DATA;
    default: return CRESOLV_NO_ANSWER;
    }
}
