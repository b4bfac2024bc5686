#pragma once

/// Makes all threads take memory from one heap, where malloc would give each one of its own (glibc's arenas).
void tf_share_heap(void);
