/* faults: preloaded into a host, it fails or slows syncs on demand and notes how much of each log is synced.
 *
 * The host runs as it is; this stands where the kernel would. What a sync covered is what a power cut may not take, so
 * the note of it says where a log may be torn. A sync that fails leaves the log as a kernel does that drops the pages it
 * could not write: the next sync of that process returns success, and what it covered is not noted.
 *
 * The file named by TENURE_FAULTS holds `struct table`, shared with tools/crash/faults.py, which has the same layout.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLOTS = 8192 };

struct slot {
    _Atomic uint64_t path; /* FNV-1a of the log's path; 0: free */
    _Atomic uint64_t bytes;
};

struct table {
    _Atomic uint32_t attached; /* processes that have loaded this */
    _Atomic int32_t victim;    /* the process whose sync is to fail; 0: none */
    _Atomic int32_t left;      /* syncs that still succeed there */
    _Atomic uint32_t failed;   /* 1 once it has failed */
    _Atomic uint32_t slow_us;  /* what each sync takes longer, everywhere */
    uint32_t unused;
    struct slot slots[SLOTS];
};

static struct table *table;

__attribute__((constructor)) static void attach(void) {
    const char *name = getenv("TENURE_FAULTS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return;
    table = at;
    atomic_fetch_add(&table->attached, 1);
}

/* The path's hash, or 0 when `fd` is no write-ahead log. */
static uint64_t log_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (length < 4 || memcmp(path + length - 4, ".log", 4)) return 0;
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (ssize_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)path[i]) * 0x100000001b3ULL;
    return hash;
}

static void note(uint64_t path, uint64_t bytes) {
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &table->slots[(path + i) % SLOTS];
        uint64_t owner = 0;
        if (!atomic_compare_exchange_strong(&slot->path, &owner, path) && owner != path) continue;
        uint64_t known = atomic_load(&slot->bytes);
        while (known < bytes && !atomic_compare_exchange_weak(&slot->bytes, &known, bytes)) {}
        return;
    }
    abort(); /* a log that is not noted could be torn where it must not */
}

static int sync_of(long call, int fd) {
    uint64_t path = table ? log_of(fd) : 0;
    if (!path) return (int)syscall(call, fd);
    struct stat before; /* what is written meanwhile may be left out */
    bool known = fstat(fd, &before) == 0;
    if (atomic_load(&table->victim) == getpid()) {
        if (atomic_load(&table->failed)) return 0;
        if (atomic_fetch_sub(&table->left, 1) <= 0) {
            atomic_store(&table->failed, 1);
            errno = EIO;
            return -1;
        }
    }
    uint32_t slow_us = atomic_load(&table->slow_us);
    if (slow_us) usleep(slow_us); /* before it: what is not noted may be lost for so long */
    int done = (int)syscall(call, fd);
    if (done == 0 && known) note(path, (uint64_t)before.st_size);
    return done;
}

int fdatasync(int fd) { return sync_of(SYS_fdatasync, fd); }

int fsync(int fd) { return sync_of(SYS_fsync, fd); }
