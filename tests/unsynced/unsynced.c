/*
 * This library for LD_PRELOAD simulates a disk that forgets everything that was not synced.
 *
 * A process that is killed loses nothing that it has written, because the kernel has it. A machine that loses its power
 * loses everything that no fsync has brought to the disk. This library keeps a copy of a directory that shows what such
 * a machine would find after the loss:
 *
 *   UNSYNCED_DIR      the directory that the program writes to (absolute)
 *   UNSYNCED_DURABLE  a directory on the same file system, for the copy; the tree is in UNSYNCED_DURABLE/tree
 *
 * - The content of a file is copied when the file is synced (fsync, fdatasync), and not before.
 * - The names in a directory are copied when the directory is synced. If a directory was not synced after a file was
 *   created, renamed or deleted in it, the loss undoes that change.
 * POSIX promises no more than this, and most file systems keep more. In one point the copy is like a file system with
 * a journal: a directory that was synced is found, even if its own parent was not synced.
 *
 * Each file of the copy is one file in UNSYNCED_DURABLE/files. Its name is the number and the birth time of the inode.
 * The names in the tree are hard links to it. So the tree is the durable state at any moment, even if the process is
 * killed inside this library. Writes to mapped memory are not seen. (SQLite maps only its -shm file, which it makes
 * anew.)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FD 65536
#define MAX_RANGES 32

/* A file that is or was open, and the parts of it that were written since it was last synced. */
struct file {
    char key[64];
    int users;
    int is_dir;
    int truncated;
    int ranges;
    struct { off_t from, to; } range[MAX_RANGES];
    struct file *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* NULL: the descriptor was not looked at yet. It may be a copy of another one, because `dup` is not seen here. */
static struct file *by_fd[MAX_FD];
static struct file elsewhere;
static struct file *files;
static char dir[PATH_MAX], durable[PATH_MAX];
static size_t dir_length;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        fprintf(stderr, "unsynced: the C library has no function %s\n", name);
        abort();
    }
    return found;
}

static void fail(const char *what) {
    fprintf(stderr, "unsynced: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *tracked = getenv("UNSYNCED_DIR"), *copy = getenv("UNSYNCED_DURABLE");
    if (!tracked || !copy) return;
    snprintf(dir, sizeof dir, "%s", tracked);
    snprintf(durable, sizeof durable, "%s", copy);
    dir_length = strlen(dir);
    char path[PATH_MAX];
    for (int at = 0; at < 2; at++) {
        snprintf(path, sizeof path, "%.*s/%s", PATH_MAX - 8, durable, at ? "tree" : "files");
        if (mkdir(path, 0700) && errno != EEXIST) fail(path);
    }
}

/* The name of a file in UNSYNCED_DURABLE/files. It has the birth time, because an inode's number is used again. */
static int key_of(int fd, const char *name, int flags, char *key, size_t size, mode_t *mode) {
    struct statx found;
    if (statx(fd, name, flags, STATX_TYPE | STATX_INO | STATX_BTIME, &found)) return -1;
    snprintf(key, size, "%llu-%lld-%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec,
             found.stx_btime.tv_nsec);
    *mode = found.stx_mode;
    return 0;
}

static void path_of_file(const char *key, char *path) { snprintf(path, PATH_MAX, "%.3000s/files/%s", durable, key); }

/* The path of a descriptor below the tracked directory: "" for the directory itself, NULL for any other place. */
static const char *below(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    if (strncmp(path, dir, dir_length)) return NULL;
    return path[dir_length] == 0 || path[dir_length] == '/' ? path + dir_length : NULL;
}

static void opened(int fd, int flags) {
    char path[PATH_MAX], key[64];
    mode_t mode;
    if (!dir_length || fd < 0 || fd >= MAX_FD) return;
    int here = below(fd, path) && !key_of(fd, "", AT_EMPTY_PATH, key, sizeof key, &mode);
    if (!here || (!S_ISREG(mode) && !S_ISDIR(mode))) {
        by_fd[fd] = &elsewhere;
        return;
    }
    pthread_mutex_lock(&lock);
    if (by_fd[fd]) {
        pthread_mutex_unlock(&lock);
        return;
    }
    struct file *file = files;
    while (file && strcmp(file->key, key)) file = file->next;
    if (!file) {
        file = calloc(1, sizeof *file);
        if (!file) fail("memory");
        strcpy(file->key, key);
        file->is_dir = S_ISDIR(mode);
        /* The copy may not have the content of a file from before this process, so all of it counts as written. */
        struct stat now, copy;
        path_of_file(key, path);
        int is_copied = !stat(path, &copy) && copy.st_size;
        if (S_ISREG(mode) && !is_copied && !fstat(fd, &now) && now.st_size) {
            file->ranges = 1;
            file->range[0].to = now.st_size;
        }
        file->next = files;
        files = file;
    }
    if (flags & O_TRUNC) file->truncated = 1;
    file->users++;
    by_fd[fd] = file;
    pthread_mutex_unlock(&lock);
}

/* A file without descriptors is kept while it has unsynced parts, because another descriptor may sync them. */
static void closed(int fd) {
    if (fd < 0 || fd >= MAX_FD || !by_fd[fd]) return;
    pthread_mutex_lock(&lock);
    struct file *file = by_fd[fd];
    by_fd[fd] = NULL;
    if (file && file != &elsewhere && --file->users == 0 && !file->ranges && !file->truncated) {
        struct file **at = &files;
        while (*at != file) at = &(*at)->next;
        *at = file->next;
        free(file);
    }
    pthread_mutex_unlock(&lock);
}

static void wrote(int fd, off_t from, off_t to) {
    pthread_mutex_lock(&lock);
    struct file *file = by_fd[fd];
    if (file) {
        int at = 0;
        while (at < file->ranges && (from > file->range[at].to || to < file->range[at].from)) at++;
        if (at == file->ranges) {
            if (file->ranges < MAX_RANGES) {
                file->range[file->ranges].from = from;
                file->range[file->ranges++].to = to;
            } else {
                at = 0; /* there are too many, so the first grows until it covers this one too */
            }
        }
        if (at < file->ranges) {
            if (from < file->range[at].from) file->range[at].from = from;
            if (to > file->range[at].to) file->range[at].to = to;
        }
    }
    pthread_mutex_unlock(&lock);
}

static void sync_file(int fd, struct file *file) {
    char path[PATH_MAX], buffer[65536];
    path_of_file(file->key, path);
    int copy = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat now;
    if (copy < 0 || fstat(fd, &now)) fail(path);
    /* The descriptor may be for writing alone, so the file is opened again for reading. */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int source = REAL(open)(link, O_RDONLY | O_CLOEXEC);
    if (source < 0) fail(link);
    for (int at = 0; at < file->ranges; at++) {
        off_t from = file->range[at].from, to = file->range[at].to;
        while (from < to) {
            size_t wanted = (size_t)(to - from) < sizeof buffer ? (size_t)(to - from) : sizeof buffer;
            ssize_t got = pread(source, buffer, wanted, from);
            if (got < 0) fail("pread");
            if (got == 0) break; /* the file was truncated after this part was written */
            if (REAL(pwrite)(copy, buffer, got, from) != got) fail("pwrite");
            from += got;
        }
    }
    if (REAL(ftruncate)(copy, now.st_size)) fail("ftruncate");
    file->ranges = file->truncated = 0;
    REAL(close)(source);
    REAL(close)(copy);
}

/* Gives the copy of a directory the names that the directory has now. */
static void sync_dir(int fd) {
    char path[PATH_MAX], copy[PATH_MAX], from[PATH_MAX], to[PATH_MAX], fresh[PATH_MAX], key[64];
    const char *rest = below(fd, path);
    mode_t mode;
    if (!rest) return;
    snprintf(copy, sizeof copy, "%.3000s/tree%.1000s", durable, rest);
    if (mkdir(copy, 0700) && errno != EEXIST) return; /* no directory above it was ever synced */
    DIR *names = opendir(path);
    if (!names) fail(path);
    for (struct dirent *entry; (entry = readdir(names));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (key_of(fd, entry->d_name, AT_SYMLINK_NOFOLLOW, key, sizeof key, &mode)) continue; /* just deleted */
        snprintf(to, sizeof to, "%.3000s/%.1000s", copy, entry->d_name);
        if (S_ISDIR(mode)) {
            if (mkdir(to, 0700) && errno != EEXIST) fail(to);
            continue;
        }
        if (!S_ISREG(mode)) continue;
        path_of_file(key, from);
        int file = REAL(open)(from, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0) fail(from);
        REAL(close)(file);
        snprintf(fresh, sizeof fresh, "%.3000s/fresh", durable);
        unlink(fresh);
        if (link(from, fresh) || rename(fresh, to)) fail(to);
        unlink(fresh); /* rename does nothing if both names are the same file */
    }
    closedir(names);
    names = opendir(copy);
    if (!names) fail(copy);
    for (struct dirent *entry; (entry = readdir(names));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (!key_of(fd, entry->d_name, AT_SYMLINK_NOFOLLOW, key, sizeof key, &mode)) continue;
        snprintf(to, sizeof to, "%.3000s/%.1000s", copy, entry->d_name);
        if (unlink(to) && errno == EISDIR) rmdir(to);
    }
    closedir(names);
}

/* Whether the descriptor is a file or a directory below the tracked directory. */
static int tracked(int fd) {
    if (fd < 0 || fd >= MAX_FD) return 0;
    if (!by_fd[fd]) opened(fd, 0);
    return by_fd[fd] && by_fd[fd] != &elsewhere;
}

static void synced(int fd) {
    if (!tracked(fd)) return;
    pthread_mutex_lock(&lock);
    struct file *file = by_fd[fd];
    if (file && file->is_dir) sync_dir(fd);
    else if (file) sync_file(fd, file);
    pthread_mutex_unlock(&lock);
}

/* The functions that replace those of the C library. */

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    int fd = REAL(open)(path, flags, mode);
    opened(fd, flags);
    return fd;
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    int fd = REAL(open64)(path, flags, mode);
    opened(fd, flags);
    return fd;
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    int fd = REAL(openat)(at, path, flags, mode);
    opened(fd, flags);
    return fd;
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    int fd = REAL(openat64)(at, path, flags, mode);
    opened(fd, flags);
    return fd;
}

int close(int fd) {
    closed(fd);
    return REAL(close)(fd);
}

int dup2(int from, int to) {
    if (from != to) closed(to);
    return REAL(dup2)(from, to);
}

int dup3(int from, int to, int flags) {
    closed(to);
    return REAL(dup3)(from, to, flags);
}

/* Notes a write at the descriptor's own position. */
static void wrote_here(int fd, ssize_t bytes) {
    if (bytes <= 0 || !tracked(fd)) return;
    off_t to = lseek(fd, 0, SEEK_CUR);
    wrote(fd, to - bytes, to);
}

static void wrote_at(int fd, off_t from, ssize_t bytes) {
    if (bytes > 0 && tracked(fd)) wrote(fd, from, from + bytes);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t written = REAL(write)(fd, bytes, count);
    wrote_here(fd, written);
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t written = REAL(writev)(fd, parts, count);
    wrote_here(fd, written);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t from) {
    ssize_t written = REAL(pwrite)(fd, bytes, count, from);
    wrote_at(fd, from, written);
    return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t from) {
    ssize_t written = REAL(pwrite64)(fd, bytes, count, from);
    wrote_at(fd, from, written);
    return written;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t from) {
    ssize_t written = REAL(pwritev)(fd, parts, count, from);
    wrote_at(fd, from, written);
    return written;
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t count, unsigned flags) {
    off64_t at = to_at ? *to_at : 0;
    ssize_t written = REAL(copy_file_range)(from, from_at, to, to_at, count, flags);
    if (to_at) wrote_at(to, at, written);
    else wrote_here(to, written);
    return written;
}

ssize_t sendfile64(int to, int from, off64_t *from_at, size_t count) {
    ssize_t (*sent)(int, int, off64_t *, size_t) = real("sendfile64");
    ssize_t written = sent(to, from, from_at, count);
    wrote_here(to, written);
    return written;
}

static void truncated(int fd) {
    if (!tracked(fd)) return;
    pthread_mutex_lock(&lock);
    if (by_fd[fd]) by_fd[fd]->truncated = 1;
    pthread_mutex_unlock(&lock);
}

int ftruncate(int fd, off_t length) {
    int result = REAL(ftruncate)(fd, length);
    truncated(fd);
    return result;
}

int ftruncate64(int fd, off64_t length) {
    int result = REAL(ftruncate64)(fd, length);
    truncated(fd);
    return result;
}

/* A sync covers what was written before it. What other threads write during it does not count, so the copy is first. */
int fsync(int fd) {
    synced(fd);
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    synced(fd);
    return REAL(fdatasync)(fd);
}
