/*
 * A wall clock that a test may set, for one process and its children: loaded with LD_PRELOAD, the machine's is not touched.
 *
 * CLOCK_SHIM names a file with the schedule: what this process takes for the wall clock is a function of the machine's,
 * wall(t) = t + offset_ns + rate_ppb * (t - at_ns) / 1e9, by the last change whose at_ns is not after t. The same
 * function is applied to what the clock says now and to the stamps that the kernel has put on packets: a packet that
 * passed before the step keeps the time of the old clock, however late it is read. That is what a real step does.
 *
 * Every function by which a program of ours learns the wall clock is here. Not here: times of files, adjtimex(2).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define CHANGES 64

struct change {
    int64_t at_ns, offset_ns, rate_ppb;
};

struct schedule { /* tests/lab/wall.py writes it */
    int64_t count;  /* of changes, ascending in at_ns; written after them */
    int64_t stamps; /* 0: a seeded fault, the stamps of packets are left as they are */
    struct change changes[CHANGES];
};

static const struct schedule *schedule;
static int (*next_gettime)(clockid_t, struct timespec *);
static ssize_t (*next_recvmsg)(int, struct msghdr *, int);
static int (*next_recvmmsg)(int, struct mmsghdr *, unsigned int, int, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    next_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    next_recvmsg = dlsym(RTLD_NEXT, "recvmsg");
    next_recvmmsg = dlsym(RTLD_NEXT, "recvmmsg");
    const char *path = getenv("CLOCK_SHIM");
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *found = mmap(NULL, sizeof *schedule, PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (found != MAP_FAILED)
        schedule = found;
}

/* What the clock of this process says at t ns of the machine's. */
static int64_t wall(int64_t t)
{
    if (!schedule)
        return t;
    int64_t count = __atomic_load_n(&schedule->count, __ATOMIC_ACQUIRE);
    for (int64_t i = count < CHANGES ? count : CHANGES; i-- > 0;) {
        const struct change *change = &schedule->changes[i];
        if (change->at_ns <= t)
            return t + change->offset_ns + (int64_t)((__int128)change->rate_ppb * (t - change->at_ns) / SECOND);
    }
    return t;
}

static void set(struct timespec *time)
{
    int64_t ns = wall(time->tv_sec * SECOND + time->tv_nsec);
    time->tv_sec = ns / SECOND;
    time->tv_nsec = ns % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!next_gettime) /* another library's constructor came first */
        next_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = next_gettime(clock, time);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        set(time);
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *time, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

/* A zero time is a stamp that was not taken. Control data need not be aligned. */
static void set_timespec(unsigned char *at)
{
    struct timespec time;
    memcpy(&time, at, sizeof time);
    if (!time.tv_sec && !time.tv_nsec)
        return;
    set(&time);
    memcpy(at, &time, sizeof time);
}

static void set_timeval(unsigned char *at)
{
    struct timeval time;
    memcpy(&time, at, sizeof time);
    struct timespec finer = {time.tv_sec, time.tv_usec * 1000};
    set(&finer);
    time.tv_sec = finer.tv_sec;
    time.tv_usec = finer.tv_nsec / 1000;
    memcpy(at, &time, sizeof time);
}

/* Stamps by software; the third time of SCM_TIMESTAMPING is a clock of the card. */
static void set_stamps(struct msghdr *message)
{
    if (!schedule || !schedule->stamps || !message->msg_control)
        return;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        size_t length = part->cmsg_len - CMSG_LEN(0);
        if (part->cmsg_level != SOL_SOCKET)
            continue;
        int precise = part->cmsg_type == SO_TIMESTAMPING || part->cmsg_type == SO_TIMESTAMPNS;
        if (precise && length >= sizeof(struct timespec))
            set_timespec(CMSG_DATA(part));
        else if (part->cmsg_type == SO_TIMESTAMP && length >= sizeof(struct timeval))
            set_timeval(CMSG_DATA(part));
    }
}

ssize_t recvmsg(int descriptor, struct msghdr *message, int flags)
{
    ssize_t length = next_recvmsg(descriptor, message, flags);
    if (length >= 0)
        set_stamps(message);
    return length;
}

int recvmmsg(int descriptor, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
    int received = next_recvmmsg(descriptor, messages, count, flags, timeout);
    for (int i = 0; i < received; i++)
        set_stamps(&messages[i].msg_hdr);
    return received;
}
