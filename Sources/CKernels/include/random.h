#pragma once
#include "tf_kernel.h"

// Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

/// One block: four 32-bit words from a 128-bit counter and a 64-bit key.
void tf_philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/// Standard normal numbers by Box-Muller: element i is lane i % 4 of the block whose 64-bit number is
/// `first_block + i / 4`, in counter words 0 and 1. `first_element` may lie anywhere; `count` elements follow it.
void tf_philox_normal(float *out, size_t count, uint64_t first_element, uint64_t counter_low, uint32_t counter2,
                      uint32_t counter3, uint64_t key, float standard_deviation);
