/*
 * Room for webmail in a mailbox that is full. SqWebMail keeps a session's state and lists of what is in folders in the Maildir, and writes
 * them anew for each page; with no octet left there it would show no page at all, and nobody who has but a browser could delete anything.
 *
 * So each page begins with a look at what is left: a file, sqwebmail-room, holds some space while there is enough, and gives up a piece of
 * it when there is none. While that file is not whole, no message is written, neither a draft nor a copy of one sent, and a page
 * (full.html beside the templates) says so: what is given up is for looking and deleting alone. It grows again as soon as something was
 * deleted.
 *
 * It runs as the mailbox's user, whose file that is; for whoever removes it, it is made again. Built by install.sh, and loaded into
 * SqWebMail's daemon alone (LD_PRELOAD).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int is_full = 0;

/* What SqWebMail starts has no need of this. */
__attribute__((constructor)) static void forget(void) { unsetenv("LD_PRELOAD"); }

/* How much the lists of what is in folders have; a fresh one stands beside the old one for a moment. */
static long long lists(void)
{
    DIR *directory = opendir("sqwebmail-curcache");
    struct dirent *entry;
    struct stat status;
    long long sum = 0;

    if (!directory)
        return 0;
    while ((entry = readdir(directory)))
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode))
            sum += status.st_size;
    closedir(directory);
    return sum;
}

static void keep_room(void)
{
    struct statvfs space;
    struct stat status;
    long long left, held, piece, whole;
    int fd = open("sqwebmail-room", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && fstatvfs(fd, &space) == 0) {
        left = (long long)space.f_bavail * (long long)space.f_frsize;
        held = status.st_size;
        /* What one page needs; more in a large mailbox, whose lists may have grown by many messages since they were written. */
        piece = (long long)space.f_blocks * (long long)space.f_frsize / 4096;
        piece = (piece < 64 << 10 ? 64 << 10 : piece) + lists();
        whole = 16 * piece;
        if (left < piece && held > 0) {
            held = held > piece ? held - piece : 0;
            if (ftruncate(fd, held) < 0)
                held = status.st_size;
        } else if (held < whole && left >= 2 * piece) {
            held = held + left - piece < whole ? held + left - piece : whole;
            if (posix_fallocate(fd, 0, held) != 0)
                held = status.st_size;
        }
        /* It may be somewhat less, for a list that has just grown. */
        is_full = held < whole / 2 || (left < piece && held < whole);
    }
    close(fd);
}

/* In place of the page that was asked for, of which nothing was sent yet. */
static void say_full(void)
{
    static const char head[] = "Status: 507 Insufficient Storage\nCache-Control: no-store\nContent-Type: text/html; charset=utf-8\n\n";
    const char *directory = getenv("SQWEBMAIL_TEMPLATEDIR");
    char text[8192];
    ssize_t length;
    int fd;

    if (!directory || strlen(directory) > 4000)
        return;
    fd = openat(AT_FDCWD, strcat(strcpy(text, directory), "/full.html"), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    length = read(fd, text, sizeof text);
    if (length > 0 && write(STDOUT_FILENO, head, sizeof head - 1) > 0 && write(STDOUT_FILENO, text, length) > 0)
        _exit(0);
    close(fd);
}

/* Each page has a process of its own, which becomes the mailbox's user and then goes to the Maildir. */
int chdir(const char *path)
{
    static int (*next)(const char *);
    const char *query = getenv("QUERY_STRING");

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "chdir");
    if (next(path) < 0)
        return -1;
    if (geteuid() != 0 && access("new", F_OK) == 0 && access("cur", F_OK) == 0) {
        keep_room();
        /* Before somebody writes in vain. */
        if (is_full && query && strstr(query, "form=newmsg"))
            say_full();
    }
    return 0;
}

/* Messages are written in the tmp of a folder, and lists of what is in it, which have a "_" in their names. All else is in that of the inbox. */
int open(const char *path, int flags, ...)
{
    static int (*next)(const char *, int, ...);
    const char *name = strrchr(path, '/');
    mode_t mode = 0;
    va_list arguments;

    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "open");
    if (is_full && flags & O_CREAT && strncmp(path, "./.", 3) == 0 && name - path > 7 && memcmp(name - 4, "/tmp", 4) == 0 && !strchr(name, '_')) {
        say_full();
        errno = ENOSPC;
        return -1;
    }
    return next(path, flags, mode);
}
