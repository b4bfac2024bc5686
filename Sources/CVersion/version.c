#include "version.h"

#define TEXT_(value) #value
#define TEXT(value) TEXT_(value)

// Of the module RecordedCommit, which programs are linked with; a library alone may do without.
__attribute__((weak)) const char *tf_recorded_commit(void);
__attribute__((weak)) const char *tf_recorded_swift_version(void);

const char *tf_commit(void) { return tf_recorded_commit ? tf_recorded_commit() : ""; }

const char *tf_swift_version(void) { return tf_recorded_swift_version ? tf_recorded_swift_version() : ""; }

const char *tf_c_compiler(void) {
    return "Clang " TEXT(__clang_major__) "." TEXT(__clang_minor__) "." TEXT(__clang_patchlevel__);
}
