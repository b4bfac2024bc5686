#pragma once
// Vector kernels of transfusion. Each header is one family; each function is one loop nest without policy: it splits
// nothing, allocates nothing, and lets NaN and infinity through.
#include "activation.h"
#include "attention.h"
#include "elementwise.h"
#include "gemm.h"
#include "heap.h"
#include "loss.h"
#include "normalization.h"
#include "optimizer.h"
#include "random.h"
#include "reduction.h"
#include "rows.h"
#include "shared_memory.h"
#include "thread_wait.h"
#include "vocabulary.h"
