/* Loaded before the C library (LD_PRELOAD): the n-th call on files fails as a test wants it.
 *
 * From the environment, for a whole process:
 *     SHIM_HOW=short:N      each write takes at most N bytes
 *     SHIM_HOW=lie          fsync and fdatasync say yes and do nothing
 *     SHIM_HOW=nolock       flock always says yes
 *     SHIM_HOW=half:N       the N-th write (from 0) writes half and the process dies
 *     SHIM_HOW=error:N:E    the N-th write fails with errno E, the next ones succeed
 * or by shim_arm(hit, n, how, value): call n (from 0) of all those below
 *     kill, killed          dies before it, or after it
 *     half                  as `kill`, but a write has written its first half
 *     errno                 fails with errno `value`
 * and the file `hit` is made, so that a sweep knows when there is no further call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum how { NONE, SHORT, LIE, NOLOCK, HALF_WRITE, ERROR_WRITE, KILL, KILLED, HALF, ERRNO };

static enum how how = NONE;
static long left = -1; /* Calls until the one that fails; -1: none does. */
static long value = 0;
static char hit_path[4096];

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static void hit(void) {
    int (*real_open)(const char *, int, ...) = real("open");
    int fd = real_open(hit_path, O_CREAT | O_WRONLY, 0600);
    if (fd >= 0) close(fd);
}

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

void shim_arm(const char *path, long n, const char *what, long with) {
    strncpy(hit_path, path, sizeof hit_path - 1);
    how = !strcmp(what, "kill") ? KILL : !strcmp(what, "killed") ? KILLED
        : !strcmp(what, "half") ? HALF : ERRNO;
    value = with;
    left = n;
}

__attribute__((constructor)) static void from_environment(void) {
    const char *text = getenv("SHIM_HOW");
    if (text == NULL) return;
    if (!strncmp(text, "short:", 6)) { how = SHORT; value = atol(text + 6); }
    if (!strncmp(text, "half:", 5)) { how = HALF_WRITE; left = atol(text + 5); }
    if (sscanf(text, "error:%ld:%ld", &left, &value) == 2) how = ERROR_WRITE;
    if (!strcmp(text, "lie")) how = LIE;
    if (!strcmp(text, "nolock")) how = NOLOCK;
}

/* 1: this is the call that fails. */
static int is_mine(void) {
    if (how < KILL || left < 0) return 0;
    if (left-- > 0) return 0;
    hit();
    return 1;
}

#define AROUND(type, call)                                \
    int mine = is_mine();                                 \
    if (mine && (how == KILL || how == HALF)) die();      \
    if (mine && how == ERRNO) { errno = value; return -1; } \
    type done = call;                                     \
    if (mine) die();                                      \
    return done;

static ssize_t write_at(int fd, const void *data, size_t size, off_t at) {
    ssize_t (*real_write)(int, const void *, size_t, off_t) = real("pwrite64");
    if (how == SHORT && size > (size_t)value) size = value;
    if (how == HALF_WRITE && left-- == 0) { real_write(fd, data, size / 2, at); die(); }
    if (how == ERROR_WRITE && left-- == 0) { errno = value; return -1; }
    int mine = is_mine();
    if (mine && how == HALF) { real_write(fd, data, size / 2, at); die(); }
    if (mine && how == KILL) die();
    if (mine && how == ERRNO) { errno = value; return -1; }
    ssize_t done = real_write(fd, data, size, at);
    if (mine) die();
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return write_at(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return write_at(fd, data, size, at); }

static int sync_of(const char *name, int fd) {
    int (*real_sync)(int) = real(name);
    if (how == LIE) return 0;
    AROUND(int, real_sync(fd))
}
int fsync(int fd) { return sync_of("fsync", fd); }
int fdatasync(int fd) { return sync_of("fdatasync", fd); }

int flock(int fd, int operation) {
    int (*real_flock)(int, int) = real("flock");
    if (how == NOLOCK) return 0;
    AROUND(int, real_flock(fd, operation))
}
int rename(const char *from, const char *to) {
    int (*real_rename)(const char *, const char *) = real("rename");
    AROUND(int, real_rename(from, to))
}
int unlink(const char *path) {
    int (*real_unlink)(const char *) = real("unlink");
    AROUND(int, real_unlink(path))
}
int mkdir(const char *path, mode_t mode) {
    int (*real_mkdir)(const char *, mode_t) = real("mkdir");
    AROUND(int, real_mkdir(path, mode))
}
static int cut(int fd, off_t size) {
    int (*real_cut)(int, off_t) = real("ftruncate64");
    AROUND(int, real_cut(fd, size))
}
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }

static int open_of(const char *path, int flags, mode_t mode) {
    int (*real_open)(const char *, int, ...) = real("open64");
    AROUND(int, real_open(path, flags, mode))
}
int open(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);
    return open_of(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);
    return open_of(path, flags, mode);
}
