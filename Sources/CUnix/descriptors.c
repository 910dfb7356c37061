/* Descriptors: opening, linking, passing from process to process. */
#define _GNU_SOURCE
#include "CUnix.h"
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

int cunix_openat(int directory, const char *name, int flags, mode_t mode)
{
    int descriptor;
    do descriptor = openat(directory, name, flags | O_CLOEXEC, mode); while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

int cunix_open_for_searching(const char *path) { return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); }

int cunix_open_unnamed(int directory, mode_t mode)
{
    return openat(directory, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
}

int cunix_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int cunix_link_open_file(int descriptor, int directory, const char *name)
{
    /* Written by hand: the C library's formatting would touch more pages than all the rest of a session. */
    static const char prefix[] = "/proc/self/fd/";
    char path[32], digits[12];
    int length = 0, count = 0;
    for (; prefix[length] != 0; length++) path[length] = prefix[length];
    do digits[count++] = (char)('0' + descriptor % 10); while ((descriptor /= 10) > 0);
    while (count > 0) path[length++] = digits[--count];
    path[length] = 0;
    return linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW);
}

int cunix_rename_new(int directory, const char *name, int target, const char *new_name)
{
    if (syscall(SYS_renameat2, directory, name, target, new_name, 1 /* RENAME_NOREPLACE */) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    /* File systems without it: a second name, then the first one goes. */
    if (linkat(directory, name, target, new_name, 0) < 0) return -1;
    return unlinkat(directory, name, 0);
}

int cunix_set_nonblocking(int descriptor, int on)
{
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -1;
    return fcntl(descriptor, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

int cunix_bytes_waiting(int descriptor)
{
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) < 0 ? -1 : count;
}

int cunix_set_pipe_size(int descriptor, int octets) { return fcntl(descriptor, F_SETPIPE_SZ, octets); }

int cunix_seqpacket_pair(int pair[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

enum { most_descriptors = 250 };

ssize_t cunix_send(int socket, const void *bytes, size_t length, const int *descriptors, int count)
{
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * most_descriptors)]; } control;
    struct iovec part = { (void *)bytes, length };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (count < 0 || count > most_descriptors) { errno = EINVAL; return -1; }
    if (count > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * (size_t)count);
    }
    ssize_t sent;
    do sent = sendmsg(socket, &message, MSG_NOSIGNAL); while (sent < 0 && errno == EINTR);
    return sent;
}

ssize_t cunix_receive(int socket, void *bytes, size_t length, int *descriptors, int *count)
{
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * most_descriptors)]; } control;
    struct iovec part = { bytes, length };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
                              .msg_control = control.room, .msg_controllen = sizeof control.room };
    int room = *count;
    *count = 0;
    ssize_t got;
    do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC); while (got < 0 && errno == EINTR);
    if (got < 0) return -1;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h != NULL; h = CMSG_NXTHDR(&message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
        int received = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        const unsigned char *data = CMSG_DATA(h);
        for (int i = 0; i < received; i++) {
            int descriptor;
            memcpy(&descriptor, data + sizeof(int) * (size_t)i, sizeof descriptor);
            if (*count < room) descriptors[(*count)++] = descriptor;
            else close(descriptor);
        }
    }
    return got;
}
