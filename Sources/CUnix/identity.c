/* Who a process is: user, groups, capabilities. */
#define _GNU_SOURCE
#include "CUnix.h"
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_capabilities(uint32_t permitted, uint32_t inheritable)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    data[0].permitted = data[0].effective = permitted;
    data[0].inheritable = inheritable;
    return (int)syscall(SYS_capset, &header, data);
}

/* The system calls themselves: glibc's wrappers would also try to tell other threads, and there are none. */
static int set_ids(uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
    if (geteuid() == uid && getegid() == gid && getuid() == uid && uid != 0) return 0;
    if (syscall(SYS_setgroups, count, groups) < 0) return -1;
    if (syscall(SYS_setresgid, gid, gid, gid) < 0) return -1;
    if (syscall(SYS_setresuid, uid, uid, uid) < 0) return -1;
    return 0;
}

int cunix_drop_capabilities(void)
{
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return set_capabilities(0, 0);
}

int cunix_become(uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
    if (set_ids(uid, gid, groups, count) < 0) return -1;
    if (uid != 0 && cunix_drop_capabilities() < 0) return -1;
    /* A change of user that can be taken back is none. */
    if (uid != 0 && syscall(SYS_setresuid, -1, 0, -1) == 0) { errno = EPERM; return -1; }
    return 0;
}

int cunix_become_keeping_setid(uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
    const uint32_t both = 1u << CAP_SETUID | 1u << CAP_SETGID;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return -1;
    if (set_ids(uid, gid, groups, count) < 0) return -1;
    if (set_capabilities(both, both) < 0) return -1;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0) < 0) return -1;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0) < 0) return -1;
    return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
}
