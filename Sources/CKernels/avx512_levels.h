// The code of LEVEL, a file that builds on level.h, for the two kinds of processors with 512-bit vectors.

#define SUFFIX _avx512
#define LANES 16
#define BLOCK_VECTORS 4
#define PAIRS 0
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"))), apply_to = function)
#include LEVEL
#pragma clang attribute pop

#define SUFFIX _avx512_bf16
#define LANES 16
#define BLOCK_VECTORS 4
#define PAIRS 1
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4,avx512bf16"))), apply_to = function)
#include LEVEL
#pragma clang attribute pop
#undef LEVEL
