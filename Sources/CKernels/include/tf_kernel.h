#pragma once
#include <stddef.h>
#include <stdint.h>

// Compiles a function for AVX-512, AVX2 and baseline x86-64; the loader picks one when the program starts.
#if defined(__x86_64__) && !defined(TF_NO_CLONES)
#define TF_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TF_KERNEL
#endif

// What kernels share. Always inlined, so that each clone gets its own copy.
#define TF_INLINE static inline __attribute__((always_inline))
