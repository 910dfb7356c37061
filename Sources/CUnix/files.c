/* File systems. */
#define _GNU_SOURCE
#include "CUnix.h"
#include <fcntl.h>
#include <sys/statvfs.h>

void cunix_begin_writing(int descriptor) { sync_file_range(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE); }

int cunix_space(const char *path, struct cunix_space *space)
{
    struct statvfs fs;
    if (statvfs(path, &fs) < 0) return -1;
    space->free_octets = (uint64_t)fs.f_bavail * fs.f_frsize;
    space->total_octets = (uint64_t)fs.f_blocks * fs.f_frsize;
    /* File systems that make inodes as needed count none at all. */
    space->free_inodes = fs.f_files == 0 ? UINT64_MAX : (uint64_t)fs.f_favail;
    space->is_read_only = (fs.f_flag & ST_RDONLY) != 0;
    return 0;
}
