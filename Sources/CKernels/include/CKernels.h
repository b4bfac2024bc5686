#pragma once
// Vector kernels of transfusion. Each header is one family; each function is one loop nest without policy: it splits
// nothing, allocates nothing, and lets NaN and infinity through.
#include "gemm.h"
#include "random.h"
#include "thread_wait.h"
