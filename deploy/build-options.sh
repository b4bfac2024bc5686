# How the other scripts build, which read this file: for release, each module compiled once, its interface included (a fifth less
# work where processors are few), and without descriptions for a debugger (a tenth less).
build_options=(-c release -debug-info-format none -Xswiftc -no-emit-module-separately-wmo)
