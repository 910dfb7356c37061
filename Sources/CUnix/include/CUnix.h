/*
 * What Swift cannot say: fork, the moment between fork and exec, variadic and
 * macro-only system interfaces, seccomp and Landlock. Every function returns 0
 * (or a descriptor, a count, a process id) on success and -1 with errno set on
 * failure, unless it says otherwise. Nothing here allocates memory or logs.
 */
#ifndef CUNIX_H
#define CUNIX_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* spawn.c */

/* fork(2), without the handlers of libraries. The caller must be single-threaded: the child goes on in Swift. */
pid_t cunix_fork(void);

/*
 * Makes the forks to come cheaper.
 * The heap: what a fork allocates would be strewn over the free pieces, and each page that it writes to has to be copied for it; so these are
 * taken out of use, and memory comes from the heap's end, of which there is enough.
 * The code: of a mapped file a fork inherits nothing, and finds its pages one by one; so the code goes to huge pages of our own, a few of
 * them, which are inherited with one entry each. Where the kernel gives none (before 6.1, or short of memory), nothing changes.
 */
void cunix_prepare_forks(void);

/*
 * Starts PATH with ARGV and ENVP; descriptors[i] becomes descriptor i of the
 * new program, -1 leaves i closed. Everything else is expected to be
 * close-on-exec. Signal dispositions and mask are reset to their defaults.
 * A failure of exec itself is reported here, by errno, in the parent.
 */
pid_t cunix_spawn(const char *path, char *const argv[], char *const envp[],
                  const int *descriptors, int count);

/* execve(2) in place, signals reset as above. Returns only on failure. */
int cunix_exec(const char *path, char *const argv[], char *const envp[]);

/* waitpid(-1, WNOHANG): a pid, 0 if none has ended. *status: 0..255 exit code, 256 + signal number if killed. */
pid_t cunix_reap(int *status);

/* waitpid(PID) until it has ended; *status as above. */
int cunix_wait(pid_t pid, int *status);

/* Blocks the given signals and returns a signalfd for them (close-on-exec, non-blocking). */
int cunix_signal_descriptor(const int *signals, int count);
/* The next pending signal number from such a descriptor, 0 if none. */
int cunix_next_signal(int descriptor);
/* Unblocks every signal: for a forked child that goes on without its parent's signalfd. */
void cunix_reset_signals(void);
/* Writes to a broken pipe or connection shall be errors, not a signal. */
void cunix_ignore_broken_pipes(void);

/* The environment's entry number INDEX, NULL behind the last. */
const char *cunix_environment(int index);

/* identity.c */

/* Supplementary groups, gid, uid, in that order. An unprivileged caller that already is UID:GID succeeds. */
int cunix_become(uid_t uid, gid_t gid, const gid_t *groups, size_t count);

/*
 * As cunix_become, but keeps CAP_SETUID and CAP_SETGID (permitted, effective,
 * inheritable, ambient) and nothing else, so that the next stage, after exec or
 * fork, can become its own user.
 */
int cunix_become_keeping_setid(uid_t uid, gid_t gid, const gid_t *groups, size_t count);

/* Gives up every capability, in all sets and for all that is executed later. */
int cunix_drop_capabilities(void);

/* sandbox.c */

int cunix_no_new_privileges(void);

struct cunix_id_range { uint32_t first, last; };

/*
 * A seccomp filter, inherited for ever, under which set*id calls can name only
 * ids within the ranges (uid 0 never) and setgroups can only empty the list;
 * everything else stays allowed.
 */
int cunix_limit_identities(const struct cunix_id_range *uids, size_t uid_count,
                           const struct cunix_id_range *gids, size_t gid_count);

/* One allowed system call. The argument's low 32 bits are compared: (argument & mask) == value; mask 0 allows any. */
struct cunix_allowed { int32_t number; int32_t argument; uint32_t mask; uint32_t value; };

/* A seccomp filter: these calls are allowed, all others fail with EPERM. */
int cunix_allow_only(const struct cunix_allowed *calls, size_t count);

/* A seccomp filter: these calls fail with EPERM, all others stay as they were. */
int cunix_deny(const int32_t *numbers, size_t count);

struct cunix_path_rule { const char *path; uint64_t access; };

/*
 * Landlock: from here on files can be reached only as the rules say, no TCP
 * port can be bound or, unless MAY_CONNECT, connected to, nobody outside can be
 * signalled. Paths that do not exist are passed over. Returns the ABI in force,
 * 0 if the kernel has none.
 */
int cunix_landlock(const struct cunix_path_rule *rules, size_t count, int may_connect, int may_signal);

enum {
    CUNIX_READ_FILE = 1, CUNIX_READ_DIRECTORY = 2, CUNIX_WRITE_FILE = 4,
    CUNIX_MAKE_FILE = 8, CUNIX_REMOVE_FILE = 16, CUNIX_REFER = 32, CUNIX_EXECUTE = 64,
    CUNIX_MAKE_DIRECTORY = 128
};

/*
 * System call numbers, for allow-lists. What a newer machine dropped (poll in favour of ppoll) is -1 there.
 */
enum {
    cunix_sys_openat = SYS_openat,
    cunix_sys_newfstatat = SYS_newfstatat,
    cunix_sys_linkat = SYS_linkat,
    cunix_sys_renameat = SYS_renameat,
    cunix_sys_unlinkat = SYS_unlinkat,
    cunix_sys_mkdirat = SYS_mkdirat,
    cunix_sys_getdents64 = SYS_getdents64,
    cunix_sys_pread64 = SYS_pread64,
    cunix_sys_pwrite64 = SYS_pwrite64,
    cunix_sys_fsync = SYS_fsync,
    cunix_sys_sync_file_range = SYS_sync_file_range,
    cunix_sys_sendfile = SYS_sendfile,
    cunix_sys_fcntl = SYS_fcntl,
    cunix_sys_ioctl = SYS_ioctl,
    cunix_sys_ppoll = SYS_ppoll,
    cunix_sys_recvmsg = SYS_recvmsg,
    cunix_sys_sendmsg = SYS_sendmsg,
    cunix_sys_sendto = SYS_sendto,
    cunix_sys_recvfrom = SYS_recvfrom,
    cunix_sys_shutdown = SYS_shutdown,
    cunix_sys_accept4 = SYS_accept4,
    cunix_sys_getsockname = SYS_getsockname,
    cunix_sys_getsockopt = SYS_getsockopt,
    cunix_sys_clone = SYS_clone,
    cunix_sys_wait4 = SYS_wait4,
    cunix_sys_kill = SYS_kill,
    cunix_sys_setresuid = SYS_setresuid,
    cunix_sys_setresgid = SYS_setresgid,
    cunix_sys_setgroups = SYS_setgroups,
    cunix_sys_capset = SYS_capset,
    cunix_sys_prctl = SYS_prctl,
    cunix_sys_seccomp = SYS_seccomp,
    cunix_sys_landlock_create_ruleset = SYS_landlock_create_ruleset,
    cunix_sys_landlock_add_rule = SYS_landlock_add_rule,
    cunix_sys_landlock_restrict_self = SYS_landlock_restrict_self,
    cunix_sys_prlimit64 = SYS_prlimit64,
    cunix_sys_clock_nanosleep = SYS_clock_nanosleep,
    cunix_sys_statfs = SYS_statfs,
    cunix_sys_pipe2 = SYS_pipe2,
    cunix_sys_set_robust_list = SYS_set_robust_list,
    cunix_sys_execve = SYS_execve,
    cunix_sys_setitimer = SYS_setitimer,
    cunix_sys_fchmod = SYS_fchmod,
    cunix_sys_fchown = SYS_fchown,
    cunix_sys_signalfd4 = SYS_signalfd4,
    cunix_sys_renameat2 = SYS_renameat2,
    cunix_sys_socketpair = SYS_socketpair,
    cunix_sys_flock = SYS_flock,
    cunix_sys_connect = SYS_connect,
    cunix_sys_socket = SYS_socket,
    cunix_sys_readlinkat = SYS_readlinkat,
    cunix_sys_ptrace = SYS_ptrace,
    cunix_sys_setsockopt = SYS_setsockopt,
    cunix_sys_writev = SYS_writev,
#ifdef SYS_poll
    cunix_sys_poll = SYS_poll,
    cunix_sys_fork = SYS_fork,
    cunix_sys_alarm = SYS_alarm,
#else
    cunix_sys_poll = -1,
    cunix_sys_fork = -1,
    cunix_sys_alarm = -1,
#endif
};

/* Upper bound for one resource (RLIMIT_*), soft and hard; never raised above what is allowed. */
int cunix_limit(int resource, uint64_t value);
/* Raises the soft limit on open descriptors to the hard one; returns the limit. */
int cunix_raise_descriptor_limit(void);

/* What every program needs: memory, time, reading, writing, closing, leaving. */
int cunix_basic_calls_count(void);
int32_t cunix_basic_call(int index);

/* descriptors.c */

/* open(2) relative to a directory; O_CLOEXEC is always added. */
int cunix_openat(int directory, const char *name, int flags, mode_t mode);
/* A directory that one may search but not list. */
int cunix_open_for_searching(const char *path);
/* A file without a name (O_TMPFILE) in the directory, for writing only. */
int cunix_open_unnamed(int directory, mode_t mode);
int cunix_pipe(int ends[2]);
/* rename(2) that fails with EEXIST instead of replacing. */
int cunix_rename_new(int directory, const char *name, int target, const char *new_name);
/* Gives a file opened with O_TMPFILE a name: linkat by /proc/self/fd. */
int cunix_link_open_file(int descriptor, int directory, const char *name);
int cunix_set_nonblocking(int descriptor, int on);
/* Unread bytes waiting in a pipe or socket (FIONREAD). */
int cunix_bytes_waiting(int descriptor);
int cunix_set_pipe_size(int descriptor, int octets);

/* One datagram with descriptors (SCM_RIGHTS; at most 250). */
ssize_t cunix_send(int socket, const void *bytes, size_t length, const int *descriptors, int count);
/* Its counterpart; *count is the room on entry, the number received on return; they are close-on-exec. 0: the other end is gone. */
ssize_t cunix_receive(int socket, void *bytes, size_t length, int *descriptors, int *count);
int cunix_seqpacket_pair(int pair[2]);

/* sockets.c */

struct cunix_address { char text[64]; uint16_t port; int is_ipv6; };

/*
 * Listens on TCP. HOST: a numeric IPv4 or IPv6 address, or "0" for all of both.
 * SHARED: others may listen on the same port of other addresses, even if one of us listens on all.
 * Returns the socket (non-blocking), *port the port in use.
 */
int cunix_listen_tcp(const char *host, uint16_t port, int backlog, int shared, uint16_t *port_in_use);
/* Whether the text is a numeric IPv4 or IPv6 address, written as the kernel writes it. */
int cunix_is_address(const char *text);
int cunix_listen_unix(const char *path, int backlog);
int cunix_accept(int listener, struct cunix_address *remote, struct cunix_address *local);
int cunix_accept_unix(int listener, pid_t *pid, uid_t *uid, gid_t *gid);
int cunix_connect_unix(const char *path);

/* connect.c */

/*
 * Begins to connect over TCP to an address of 4 or 16 octets in network order.
 * Returns the socket (non-blocking) at once; it can be written when the outcome is there.
 */
int cunix_connect_begin(const uint8_t *address, size_t length, uint16_t port);
/* What came of it: 0 or an errno. */
int cunix_connect_outcome(int connection);

/* files.c */

/* Starts writing out what is dirty, waits for nothing. */
void cunix_begin_writing(int descriptor);

struct cunix_space { uint64_t free_octets, total_octets, free_inodes; int is_read_only; };
/* Of the file system that holds the path; free for ordinary users. */
int cunix_space(const char *path, struct cunix_space *space);

#endif
