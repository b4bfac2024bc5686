#define _GNU_SOURCE
#include "include/thread_wait.h"
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

void tf_futex_wait(void *word, uint32_t expected) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

void tf_futex_wake_all(void *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

int tf_available_cpus(void) {
    for (int most = 1024; most <= 1 << 20; most *= 2) {
        cpu_set_t *mask = CPU_ALLOC(most);
        if (mask == NULL) break;
        const size_t size = CPU_ALLOC_SIZE(most);
        CPU_ZERO_S(size, mask);
        const int status = sched_getaffinity(0, size, mask);
        const int count = CPU_COUNT_S(size, mask);
        CPU_FREE(mask);
        if (status == 0) return count > 0 ? count : 1;
        // EINVAL: the machine has more CPUs than the mask has room for.
    }
    return 1;
}
