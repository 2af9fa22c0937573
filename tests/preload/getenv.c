/*
 * This library for LD_PRELOAD writes the name of each environment variable that a program asks for to the file
 * GETENV_LOG, one on a line. So a test knows which settings a program has, whatever its code looks like.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

char *getenv(const char *name)
{
    static char *(*next)(const char *);
    if (!next)
        next = (char *(*)(const char *))dlsym(RTLD_NEXT, "getenv");
    const char *log = next("GETENV_LOG");
    int file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (file >= 0) {
        char line[256];
        int length = snprintf(line, sizeof line, "%s\n", name);
        /* One write, so that the lines of threads do not mix. */
        if (length > 0 && length < (int)sizeof line && write(file, line, (size_t)length) != length)
            _exit(99);
        close(file);
    }
    return next(name);
}
