#define _GNU_SOURCE
#include "shared_memory.h"

#include <sys/mman.h>

int tf_memory_file(void) { return memfd_create("transfusion", MFD_CLOEXEC); }
