#include "heap.h"

#include <malloc.h>

void tf_share_heap(void) {
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}
