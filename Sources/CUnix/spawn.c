/* Starting programs: fork, spawn, exec, and the signals around them. */
#define _GNU_SOURCE
#include "CUnix.h"
#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

const char *cunix_environment(int index) { return environ[index]; }

pid_t cunix_fork(void) { return _Fork(); }

/* What is freed is joined with its neighbours at once, not by whoever next wants much; then every free piece is taken. */
static void fill_heap(void)
{
    mallopt(M_MXFAST, 0);
    mallopt(M_TOP_PAD, 1 << 20);
    /* Of small pieces malloc keeps each size apart: every 16 octets. */
    for (size_t size = 66048; size >= 24; size = size > 1032 ? size / 2 : size - 16) {
        char *end = (char *)sbrk(0) - mallinfo2().keepcost, *volatile piece;
        do piece = malloc(size); while (piece != NULL && piece < end);
    }
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* A copy of the code, in place of its file's mapping. Package.swift has the linker leave the last huge page to it alone. */
static void gather_code(void)
{
    enum { huge = 2 << 20 };
    const ElfW(Phdr) *segment = (const void *)getauxval(AT_PHDR), *last = segment + getauxval(AT_PHNUM);
    while (segment < last && !(segment->p_type == PT_LOAD && segment->p_flags & PF_X)) segment++;
    if (segment == last || segment->p_vaddr % huge != 0 || segment->p_align % huge != 0) return;
    /* A program that is not static is loaded elsewhere. */
    if ((uintptr_t)gather_code - segment->p_vaddr >= segment->p_memsz) return;
    size_t size = (segment->p_memsz + huge - 1) & -(size_t)huge;
    char *room = mmap(NULL, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return;
    char *copy = (char *)(((uintptr_t)room + huge - 1) & -(uintptr_t)huge);
    memcpy(copy, (const void *)segment->p_vaddr, segment->p_memsz);
    __builtin___clear_cache(copy, copy + size);
    /* Without huge pages the copy would cost more than it saves. */
    if (madvise(copy, size, MADV_COLLAPSE) == 0 && mprotect(copy, size, PROT_READ | PROT_EXEC) == 0)
        mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)segment->p_vaddr);
    /* What was not moved away. */
    munmap(room, size + huge);
}

void cunix_prepare_forks(void)
{
    gather_code();
    fill_heap();
}

void cunix_reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void cunix_ignore_broken_pipes(void) { signal(SIGPIPE, SIG_IGN); }

pid_t cunix_spawn(const char *path, char *const argv[], char *const envp[],
                  const int *descriptors, int count)
{
    /* The child of vfork borrows our memory until exec: its errno reaches us through this variable. */
    volatile int failure = 0;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0) {
        int moved[16];
        if (count > 16) { failure = EINVAL; _exit(127); }
        /* First out of the way of the targets, then each into its place. */
        for (int i = 0; i < count; i++) {
            moved[i] = descriptors[i] < 0 ? -1 : fcntl(descriptors[i], F_DUPFD_CLOEXEC, count);
            if (descriptors[i] >= 0 && moved[i] < 0) { failure = errno; _exit(127); }
        }
        for (int i = 0; i < count; i++) {
            if (moved[i] < 0) close(i);
            else if (dup2(moved[i], i) < 0) { failure = errno; _exit(127); }
        }
        /* Ignored signals survive exec: back to the default for all that this project ignores. */
        signal(SIGPIPE, SIG_DFL);
        cunix_reset_signals();
        execve(path, argv, envp);
        failure = errno;
        _exit(127);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && failure != 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
        errno = failure;
        return -1;
    }
    return pid;
}

int cunix_exec(const char *path, char *const argv[], char *const envp[])
{
    signal(SIGPIPE, SIG_DFL);
    cunix_reset_signals();
    return execve(path, argv, envp);
}

pid_t cunix_reap(int *status)
{
    int raw = 0;
    pid_t pid;
    do pid = waitpid(-1, &raw, WNOHANG); while (pid < 0 && errno == EINTR);
    if (pid > 0) *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 256 + WTERMSIG(raw);
    return pid;
}

int cunix_wait(pid_t pid, int *status)
{
    int raw = 0;
    if (waitpid(pid, &raw, 0) < 0) return -1;
    *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 256 + WTERMSIG(raw);
    return 0;
}

int cunix_signal_descriptor(const int *signals, int count)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cunix_next_signal(int descriptor)
{
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}
