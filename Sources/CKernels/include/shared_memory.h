#pragma once
#include <stddef.h>
#include <stdint.h>

// What ranks that share memory need and Swift does not import.

/// A file descriptor of new anonymous memory that other processes can open under /proc, or -1 with errno set.
int tf_memory_file(void);

// Counters in memory that several processes see. Swift's atomics own their storage, so they cannot live there.

static inline uint64_t tf_counter_read(const uint64_t *counter) { return __atomic_load_n(counter, __ATOMIC_ACQUIRE); }
static inline void tf_counter_publish(uint64_t *counter, uint64_t value) {
    __atomic_store_n(counter, value, __ATOMIC_RELEASE);
}
/// Sets `counter` to `value` if it holds 0; tells whether it did.
static inline int tf_counter_claim(uint64_t *counter, uint64_t value) {
    uint64_t expected = 0;
    return __atomic_compare_exchange_n(counter, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
