/*
 * This library for LD_PRELOAD puts the wall clock of a process ahead by AHEAD_SECONDS. So a test finds messages that
 * are minutes old without waiting for minutes. Timers and the monotonic clock stay as they are.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    const char *seconds = getenv("AHEAD_SECONDS");
    if (result == 0 && clock == CLOCK_REALTIME && seconds)
        now->tv_sec += atol(seconds);
    return result;
}
