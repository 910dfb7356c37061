/* Doors that are locked for good: no_new_privs, seccomp filters, Landlock, resource limits. */
#define _GNU_SOURCE
#include "CUnix.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "the seccomp filters are written for x86-64 and arm64"
#endif

int cunix_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

/* A filter under construction. Jumps are relative and short, so each rule is a block that falls through to the next. */
struct program { struct sock_filter code[512]; unsigned short length; };

static void add(struct program *p, struct sock_filter instruction)
{
    if (p->length < 512) p->code[p->length] = instruction;
    p->length++;
}
#define STMT(code, k) add(p, (struct sock_filter)BPF_STMT(code, k))
#define JUMP(code, k, yes, no) add(p, (struct sock_filter)BPF_JUMP(code, k, yes, no))
#define LOAD_NUMBER() STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define LOAD_ARGUMENT(i) STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * (unsigned)(i))
#define RETURN(action) STMT(BPF_RET | BPF_K, action)
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

/* A call made through another system call table (32-bit, x32) would carry other numbers: never allowed. */
static void begin(struct program *p)
{
    p->length = 0;
    STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
    RETURN(SECCOMP_RET_KILL_PROCESS);
    LOAD_NUMBER();
    /* -1 is no call at all; debuggers use it to skip one. */
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffffu, 0, 1);
    RETURN(SECCOMP_RET_ALLOW);
#if defined(__x86_64__)
    JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    RETURN(SECCOMP_RET_KILL_PROCESS);
#endif
}

static int install(struct program *p)
{
    if (p->length > 512) { errno = E2BIG; return -1; }
    struct sock_fprog filter = { p->length, p->code };
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

/* Refuses the call unless the argument is -1 ("leave it") or within one of the ranges; falls through if it is fine. */
static void require_id(struct program *p, int argument, const struct cunix_id_range *ranges, size_t count)
{
    LOAD_ARGUMENT(argument);
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffffu, (uint8_t)(2 * count + 1), 0);
    for (size_t i = 0; i < count; i++) {
        JUMP(BPF_JMP | BPF_JGE | BPF_K, ranges[i].first == 0 ? 1 : ranges[i].first, 0, 1);
        JUMP(BPF_JMP | BPF_JGT | BPF_K, ranges[i].last, 0, (uint8_t)(2 * (count - 1 - i) + 1));
    }
    RETURN(REFUSE);
}

static void require_three(struct program *p, int number, const struct cunix_id_range *ranges, size_t count)
{
    /* Length of the block: three times (load, compare, two per range, refuse), then allow. */
    uint8_t block = (uint8_t)(3 * (2 + 2 * count + 1) + 1);
    LOAD_NUMBER();
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, block);
    for (int i = 0; i < 3; i++) require_id(p, i, ranges, count);
    RETURN(SECCOMP_RET_ALLOW);
}

int cunix_limit_identities(const struct cunix_id_range *uids, size_t uid_count,
                           const struct cunix_id_range *gids, size_t gid_count)
{
    static const int never[] = { SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setfsuid, SYS_setfsgid };
    struct program program, *p = &program;
    if (uid_count > 8 || gid_count > 8) { errno = E2BIG; return -1; }
    begin(p);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)never[i], 0, 1);
        RETURN(REFUSE);
    }
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setgroups, 0, 4);
    LOAD_ARGUMENT(0);
    JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
    RETURN(SECCOMP_RET_ALLOW);
    RETURN(REFUSE);
    require_three(p, SYS_setresuid, uids, uid_count);
    require_three(p, SYS_setresgid, gids, gid_count);
    RETURN(SECCOMP_RET_ALLOW);
    return install(p);
}

int cunix_allow_only(const struct cunix_allowed *calls, size_t count)
{
    struct program program, *p = &program;
    begin(p);
    for (size_t i = 0; i < count; i++) {
        if (calls[i].mask == 0) {
            JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number, 0, 1);
            RETURN(SECCOMP_RET_ALLOW);
        } else {
            JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number, 0, 5);
            LOAD_ARGUMENT(calls[i].argument);
            STMT(BPF_ALU | BPF_AND | BPF_K, calls[i].mask);
            JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].value, 0, 1);
            RETURN(SECCOMP_RET_ALLOW);
            LOAD_NUMBER();
        }
    }
    RETURN(REFUSE);
    return install(p);
}

int cunix_deny(const int32_t *numbers, size_t count)
{
    struct program program, *p = &program;
    begin(p);
    for (size_t i = 0; i < count; i++) {
        JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)numbers[i], 0, 1);
        RETURN(REFUSE);
    }
    RETURN(SECCOMP_RET_ALLOW);
    return install(p);
}

static const int32_t basic_calls[] = {
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_brk, SYS_madvise, SYS_mremap,
    SYS_futex, SYS_getrandom, SYS_clock_gettime, SYS_getpid, SYS_gettid,
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
    SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_restart_syscall,
    SYS_exit, SYS_exit_group, SYS_close, SYS_read, SYS_write, SYS_lseek, SYS_fstat,
};
int cunix_basic_calls_count(void) { return (int)(sizeof basic_calls / sizeof *basic_calls); }
int32_t cunix_basic_call(int index) { return basic_calls[index]; }

static uint64_t landlock_rights(uint64_t access)
{
    uint64_t rights = 0;
    if (access & CUNIX_READ_FILE) rights |= LANDLOCK_ACCESS_FS_READ_FILE;
    if (access & CUNIX_READ_DIRECTORY) rights |= LANDLOCK_ACCESS_FS_READ_DIR;
    if (access & CUNIX_WRITE_FILE) rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | (1ULL << 14) /* TRUNCATE */;
    if (access & CUNIX_MAKE_FILE) rights |= LANDLOCK_ACCESS_FS_MAKE_REG;
    if (access & CUNIX_REMOVE_FILE) rights |= LANDLOCK_ACCESS_FS_REMOVE_FILE;
    if (access & CUNIX_REFER) rights |= 1ULL << 13;
    if (access & CUNIX_EXECUTE) rights |= LANDLOCK_ACCESS_FS_EXECUTE;
    if (access & CUNIX_MAKE_DIRECTORY) rights |= LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR;
    return rights;
}

/* The kernel's newer fields, spelled out: the headers of the build machine may be older than the kernel. */
struct ruleset_attributes { uint64_t fs, net, scoped; };

int cunix_landlock(const struct cunix_path_rule *rules, size_t count, int may_connect, int may_signal)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi <= 0) return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -1;
    /* Rights known to each version: 13, then refer, truncate, (TCP), ioctl on devices. */
    static const uint64_t known[] = { 0, (1ULL << 13) - 1, (1ULL << 14) - 1, (1ULL << 15) - 1, (1ULL << 15) - 1, (1ULL << 16) - 1 };
    struct ruleset_attributes attributes = { known[abi > 5 ? 5 : abi], abi < 4 ? 0 : may_connect ? 1 : 3, abi < 6 ? 0 : may_signal ? 1 : 3 };
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (ruleset < 0) return -1;
    int result = (int)abi;
    for (size_t i = 0; i < count && result > 0; i++) {
        struct landlock_path_beneath_attr rule = { landlock_rights(rules[i].access) & attributes.fs, -1 };
        rule.parent_fd = open(rules[i].path, O_PATH | O_CLOEXEC);
        if (rule.parent_fd < 0) {
            if (errno != ENOENT) result = -1;
            continue;
        }
        if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0) result = -1;
        close(rule.parent_fd);
    }
    if (result > 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) result = -1;
    int failure = errno;
    close(ruleset);
    errno = failure;
    return result;
}

int cunix_limit(int resource, uint64_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0) return -1;
    if (limit.rlim_max > value) limit.rlim_max = value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit);
}

int cunix_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    return limit.rlim_cur > 1000000 ? 1000000 : (int)limit.rlim_cur;
}
