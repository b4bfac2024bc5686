// What a program was built from and by.
#ifndef TRANSFUSION_VERSION_H
#define TRANSFUSION_VERSION_H

// The commit of the sources, with ".modified" behind it when they differed from it; empty when that is not known.
const char *tf_commit(void);

// The version of the Swift compiler; empty when that is not known.
const char *tf_swift_version(void);

// The C compiler and its version.
const char *tf_c_compiler(void);

#endif
