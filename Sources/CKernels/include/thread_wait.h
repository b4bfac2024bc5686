#pragma once
#include <stdint.h>

// What a waiting thread needs and Swift cannot say: the pause instruction and the futex.

#if defined(__x86_64__)
static inline void tf_pause(void) { __builtin_ia32_pause(); }
#else
static inline void tf_pause(void) { __asm__ volatile("" ::: "memory"); }
#endif

/// Sleeps until somebody wakes `word`, or returns at once when it no longer holds `expected`. May return for no reason.
void tf_futex_wait(void *word, uint32_t expected);

/// Wakes every thread that sleeps on `word`.
void tf_futex_wake_all(void *word);

/// How many CPUs this process may run on by its affinity mask; 1 at least.
int tf_available_cpus(void);
