/*
 * inject: has a running process make system calls, as if a stranger had taken it over; or makes its own calls fail.
 *
 *     inject PID                       stops the process wherever it is
 *     inject --child PID NR            waits for PID's next child, and stops that where it enters system call NR
 *     inject --fail PID NR ERRNO N     the Nth call NR of the process, and of each child it has or makes, fails with ERRNO;
 *                                      until SIGTERM
 *     inject --kill PID NR entry|exit N [children]
 *                                      who first makes its Nth call NR, the process or a child, is killed before or after
 *                                      it, which is told by `killed PID`; with `children` only a child; until SIGTERM
 *
 * With the first two, for each line of standard input, `NR ARGUMENT...`, the process makes that call, and a line of
 * standard output says what came of it. An argument is a number; `=HEX`, the address of these octets;
 * or `+N`, the address of N octets of zero, whose content after the call follows the result in hex.
 * Answers: `ready PID`; `RESULT [HEX...]`, a negative result being -errno; `exec`, `killed SIGNAL`,
 * `ended CODE` if the process did not outlive the call. A child that the process makes is killed at
 * once and told by `child PID` behind the result. At the end of input the process goes on where it was.
 *
 * Needs the right to trace. x86-64 and arm64, Linux.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
typedef struct user_regs_struct registers;
static const unsigned char call_instruction[] = { 0x0f, 0x05 };
enum { call_alignment = 1 };
#define STACK(r) ((r)->rsp)
#define PLACE(r) ((r)->rip)
#define RESULT(r) ((long)(r)->rax)
#elif defined(__aarch64__)
typedef struct user_regs_struct registers;
static const unsigned char call_instruction[] = { 0x01, 0x00, 0x00, 0xd4 };
enum { call_alignment = 4 };
#define STACK(r) ((r)->sp)
#define PLACE(r) ((r)->pc)
#define RESULT(r) ((long)(r)->regs[0])
#else
#error "x86-64 and arm64 only"
#endif

static pid_t target;
static int memory = -1;
static uint64_t call_address;
/* A signal that came meanwhile: given to the process when it goes on. */
static int pending_signal;

static void fail(const char *what)
{
    printf("failed %s: %s\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

static long trace(int request, pid_t pid, void *address, void *data)
{
    return ptrace((enum __ptrace_request)request, pid, address, data);
}

static void get(registers *r)
{
    struct iovec part = { r, sizeof *r };
    if (trace(PTRACE_GETREGSET, target, (void *)NT_PRSTATUS, &part) < 0) fail("reading registers");
}

static void set(registers *r)
{
    struct iovec part = { r, sizeof *r };
    if (trace(PTRACE_SETREGSET, target, (void *)NT_PRSTATUS, &part) < 0) fail("setting registers");
}

/* The kernel must not take the injected call's result for that of a call it should begin again. */
static void prepare(registers *r, long number, const uint64_t *arguments)
{
#if defined(__x86_64__)
    r->rax = (unsigned long)number;
    r->orig_rax = (unsigned long)-1;
    r->rdi = arguments[0]; r->rsi = arguments[1]; r->rdx = arguments[2];
    r->r10 = arguments[3]; r->r8 = arguments[4]; r->r9 = arguments[5];
    r->rip = call_address;
#else
    for (int i = 0; i < 6; i++) r->regs[i] = arguments[i];
    r->regs[8] = (uint64_t)number;
    r->pc = call_address;
#endif
}

static void find_call_instruction(void)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", target);
    FILE *maps = fopen(path, "r");
    if (maps == NULL) fail("opening maps");
    while (call_address == 0 && fgets(line, sizeof line, maps)) {
        unsigned long first, last;
        char modes[8];
        if (sscanf(line, "%lx-%lx %7s", &first, &last, modes) != 3 || modes[2] != 'x' || modes[0] != 'r') continue;
        static unsigned char block[65536];
        for (unsigned long at = first; at < last && call_address == 0; at += sizeof block - 8) {
            size_t length = last - at < sizeof block ? last - at : sizeof block;
            ssize_t got = pread(memory, block, length, (off_t)at);
            for (ssize_t i = 0; i + (ssize_t)sizeof call_instruction <= got; i += call_alignment)
                if (memcmp(block + i, call_instruction, sizeof call_instruction) == 0) { call_address = at + (unsigned long)i; break; }
        }
    }
    fclose(maps);
    if (call_address == 0) { errno = ENOENT; fail("finding a system call instruction"); }
}

static void open_memory(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", target);
    memory = open(path, O_RDWR | O_CLOEXEC);
    if (memory < 0) fail("opening memory");
}

static void say_end(int status)
{
    if (WIFSIGNALED(status)) printf("killed %d\n", WTERMSIG(status));
    else printf("ended %d\n", WEXITSTATUS(status));
    fflush(stdout);
    exit(0);
}

/* Waits for the target; returns the whole status of its next stop. */
static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, __WALL) < 0) if (errno != EINTR) fail("waiting");
    return status;
}

static const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;

static void attach(pid_t pid)
{
    if (trace(PTRACE_SEIZE, pid, NULL, (void *)options) < 0) fail("attaching");
    if (trace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0) fail("stopping");
    int status = wait_for(pid);
    if (WIFEXITED(status) || WIFSIGNALED(status)) say_end(status);
}

/* The next child of PARENT becomes the target, stopped where it would enter the call. */
static void catch_child(pid_t parent, long number)
{
    attach(parent);
    printf("waiting\n");
    fflush(stdout);
    int signal = 0;
    while (target == 0) {
        if (trace(PTRACE_CONT, parent, NULL, (void *)(long)signal) < 0) fail("continuing");
        signal = 0;
        int status = wait_for(parent);
        if (!WIFSTOPPED(status)) say_end(status);
        int event = status >> 16;
        if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_VFORK) {
            unsigned long child;
            trace(PTRACE_GETEVENTMSG, parent, NULL, &child);
            target = (pid_t)child;
        } else if (event == 0 && WSTOPSIG(status) != SIGTRAP) signal = WSTOPSIG(status);
    }
    trace(PTRACE_DETACH, parent, NULL, NULL);
    (void)wait_for(target);
    while (1) {
        if (trace(PTRACE_SYSCALL, target, NULL, NULL) < 0) fail("continuing");
        int status = wait_for(target);
        if (!WIFSTOPPED(status)) say_end(status);
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
        struct __ptrace_syscall_info info;
        if (trace(PTRACE_GET_SYSCALL_INFO, target, (void *)sizeof info, &info) < 0) fail("asking for the call");
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY && (long)info.entry.nr == number) return;
    }
}

/*
 * From the entrance of a call back to just before it: the call is made when the process goes on. What it is entering
 * becomes getpid, since a filter may end who makes a call without a number.
 */
static void step_back(registers *saved)
{
    get(saved);
#if defined(__x86_64__)
    registers skipped = *saved;
    skipped.orig_rax = SYS_getpid;
    set(&skipped);
    saved->rax = saved->orig_rax;
    saved->orig_rax = (unsigned long)-1;
    saved->rip -= 2;
#else
    int harmless = SYS_getpid;
    struct iovec part = { &harmless, sizeof harmless };
    trace(PTRACE_SETREGSET, target, (void *)NT_ARM_SYSTEM_CALL, &part);
    saved->pc -= 4;
#endif
    if (trace(PTRACE_SYSCALL, target, NULL, NULL) < 0) fail("leaving the call");
    int status = wait_for(target);
    if (!WIFSTOPPED(status)) say_end(status);
}

static uint64_t place(uint64_t *top, const void *bytes, size_t length)
{
    *top = (*top - length) & ~(uint64_t)15;
    if (pwrite(memory, bytes, length, (off_t)*top) != (ssize_t)length) fail("writing to the stack");
    return *top;
}

static void obey(char *line, const registers *saved)
{
    uint64_t arguments[6] = { 0 };
    struct { uint64_t address; size_t length; } buffers[6];
    int buffer_count = 0, count = 0;
    /* Below what the compiler may use without moving the stack pointer. */
    uint64_t top = STACK(saved) - 1024;
    char *word = strtok(line, " \n");
    if (word == NULL) return;
    long number = strtol(word, NULL, 0);
    while (count < 6 && (word = strtok(NULL, " \n")) != NULL) {
        static unsigned char bytes[8192];
        memset(bytes, 0, sizeof bytes);
        if (word[0] == '=') {
            size_t length = strlen(word + 1) / 2;
            if (length > sizeof bytes) { errno = E2BIG; fail("placing an argument"); }
            for (size_t i = 0; i < length; i++) {
                char digits[3] = { word[1 + 2 * i], word[2 + 2 * i], 0 };
                bytes[i] = (unsigned char)strtol(digits, NULL, 16);
            }
            arguments[count++] = place(&top, bytes, length);
        } else if (word[0] == '+') {
            size_t length = (size_t)strtol(word + 1, NULL, 0);
            if (length > sizeof bytes) { errno = E2BIG; fail("placing an argument"); }
            arguments[count] = place(&top, bytes, length);
            buffers[buffer_count].address = arguments[count++];
            buffers[buffer_count++].length = length;
        } else {
            arguments[count++] = word[0] == '-' ? (uint64_t)strtoll(word, NULL, 0) : strtoull(word, NULL, 0);
        }
    }
    registers now = *saved;
    prepare(&now, number, arguments);
    set(&now);
    pid_t child = 0;
    while (1) {
        if (trace(PTRACE_SINGLESTEP, target, NULL, NULL) < 0) fail("stepping");
        int status = wait_for(target);
        if (!WIFSTOPPED(status)) say_end(status);
        int event = status >> 16;
        if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
            unsigned long message;
            trace(PTRACE_GETEVENTMSG, target, NULL, &message);
            child = (pid_t)message;
            kill(child, SIGKILL);
            (void)wait_for(child);
            continue;
        }
        if (event == PTRACE_EVENT_EXEC) { printf("exec\n"); fflush(stdout); kill(target, SIGKILL); exit(0); }
        if (event == 0 && WSTOPSIG(status) == SIGTRAP) break;
        if (event == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80)) pending_signal = WSTOPSIG(status);
    }
    get(&now);
    printf("%ld", RESULT(&now));
    for (int i = 0; i < buffer_count; i++) {
        static unsigned char bytes[8192];
        ssize_t got = pread(memory, bytes, buffers[i].length, (off_t)buffers[i].address);
        printf(" ");
        for (ssize_t j = 0; j < got; j++) printf("%02x", bytes[j]);
    }
    if (child != 0) printf(" child %d", child);
    printf("\n");
    fflush(stdout);
}

/* --fail: the processes that are traced. */
static struct { pid_t pid; int calls, failing; } traced[4096];

static int slot_of(pid_t pid)
{
    for (int i = 0; i < 4096; i++) if (traced[i].pid == pid) return i;
    for (int i = 0; i < 4096; i++) if (traced[i].pid == 0) {
        traced[i].pid = pid;
        traced[i].calls = traced[i].failing = 0;
        return i;
    }
    errno = E2BIG;
    fail("tracing one process more");
    return -1;
}

/* A call that is to fail is replaced by getpid, which every filter lets through, and its result by the error. */
static void replace_call(void)
{
#if defined(__x86_64__)
    registers r;
    get(&r);
    r.orig_rax = SYS_getpid;
    set(&r);
#else
    int harmless = SYS_getpid;
    struct iovec part = { &harmless, sizeof harmless };
    if (trace(PTRACE_SETREGSET, target, (void *)NT_ARM_SYSTEM_CALL, &part) < 0) fail("replacing the call");
#endif
}

static void replace_result(long result)
{
    registers r;
    get(&r);
#if defined(__x86_64__)
    r.rax = (unsigned long)result;
#else
    r.regs[0] = (uint64_t)result;
#endif
    set(&r);
}

/* --fail and --kill: what becomes of the call. */
enum { by_error, by_killing_at_entry, by_killing_at_exit };

static void disturb_calls(pid_t pid, long number, int how, int error, int when, int spare_first)
{
    char path[64];
    long child;
    attach(pid);
    (void)slot_of(pid);
    /* It stands still: these are all its children until it goes on. */
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    FILE *children = fopen(path, "r");
    while (children != NULL && fscanf(children, "%ld", &child) == 1) {
        attach((pid_t)child);
        (void)slot_of((pid_t)child);
        trace(PTRACE_SYSCALL, (pid_t)child, NULL, NULL);
    }
    if (children != NULL) fclose(children);
    trace(PTRACE_SYSCALL, pid, NULL, NULL);
    printf("ready %d\n", pid);
    fflush(stdout);
    int has_killed = 0;
    while (1) {
        int status;
        pid_t who = waitpid(-1, &status, __WALL);
        if (who < 0) { if (errno == EINTR) continue; exit(0); }
        int slot = slot_of(who);
        if (!WIFSTOPPED(status)) { traced[slot].pid = 0; continue; }
        int event = status >> 16, signal = 0;
        target = who;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            if (trace(PTRACE_GET_SYSCALL_INFO, who, (void *)sizeof info, &info) < 0) continue;
            int is_due = info.op == PTRACE_SYSCALL_INFO_ENTRY && (long)info.entry.nr == number && ++traced[slot].calls == when
                && !(spare_first && who == pid) && !has_killed;
            int is_over = info.op == PTRACE_SYSCALL_INFO_EXIT && traced[slot].failing;
            if (is_due) {
                traced[slot].failing = 1;
                if (how == by_error) replace_call();
            } else if (is_over) {
                traced[slot].failing = 0;
                if (how == by_error) replace_result(-error);
            }
            if ((is_due && how == by_killing_at_entry) || (is_over && how == by_killing_at_exit)) {
                kill(who, SIGKILL);
                has_killed = 1;
                printf("killed %d\n", who);
                fflush(stdout);
                continue;
            }
        } else if (event == 0) signal = WSTOPSIG(status);
        trace(PTRACE_SYSCALL, who, NULL, (void *)(long)signal);
    }
}

int main(int argc, char **argv)
{
    registers saved;
    if (argc == 6 && strcmp(argv[1], "--fail") == 0)
        disturb_calls((pid_t)atoi(argv[2]), atol(argv[3]), by_error, atoi(argv[4]), atoi(argv[5]), 0);
    if (argc >= 6 && strcmp(argv[1], "--kill") == 0)
        disturb_calls((pid_t)atoi(argv[2]), atol(argv[3]), strcmp(argv[4], "exit") == 0 ? by_killing_at_exit : by_killing_at_entry,
                      0, atoi(argv[5]), argc > 6);
    if (argc == 4 && strcmp(argv[1], "--child") == 0) {
        catch_child((pid_t)atoi(argv[2]), atol(argv[3]));
        step_back(&saved);
    } else if (argc == 2) {
        target = (pid_t)atoi(argv[1]);
        attach(target);
        get(&saved);
    } else {
        fprintf(stderr, "usage: inject PID | inject --child PID NR | inject --fail PID NR ERRNO N | inject --kill PID NR entry|exit N [children]\n");
        return 100;
    }
    open_memory();
    find_call_instruction();
    printf("ready %d\n", target);
    fflush(stdout);
    static char line[65536];
    while (fgets(line, sizeof line, stdin)) obey(line, &saved);
    set(&saved);
    trace(PTRACE_DETACH, target, NULL, (void *)(long)pending_signal);
    return 0;
}
