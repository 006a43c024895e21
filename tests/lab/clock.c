/* A host's own clock, loaded by /etc/ld.so.preload: OFFSET seconds fast, its microseconds rounded down to STEPS values
   (0: left alone). Rounding makes the first half of a short Postfix queue ID, which is the microseconds, come again. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifndef OFFSET
#define OFFSET 0
#endif
#ifndef STEPS
#define STEPS 0
#endif

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int) syscall(SYS_clock_gettime, clock, now);
    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += OFFSET;
#if STEPS
        now->tv_nsec -= now->tv_nsec % (1000000000L / STEPS);
#endif
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void) zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return (time_t) -1;
    if (out)
        *out = precise.tv_sec;
    return precise.tv_sec;
}
