#!/bin/sh
# Says which commit the sources in DIRECTORY are, with ".modified" behind it when what is built differs from that commit;
# nothing when that is not known. With FILE and SWIFTC it writes that into a Swift file instead, if it is not there already.
#
#     record-commit.sh DIRECTORY [FILE SWIFTC]
#
# Sources of a git clone are asked; an archive made by 'git archive' has the commit in .git_archival.txt.
set -eu
directory=$1

# Owned by somebody else, as in a container, a clone answers only when it is told to.
sources() { git -c safe.directory='*' --no-optional-locks -C "$directory" "$@" 2>/dev/null; }

commit=
# A clone around an unpacked archive is another project's.
if [ -e "$directory/.git" ] && commit=$(sources rev-parse --short=12 HEAD); then
    changes=$(sources status --porcelain -- Package.swift Package.resolved Sources Plugins)
    [ -z "$changes" ] || commit=$commit.modified
elif [ -r "$directory/.git_archival.txt" ]; then
    commit=$(sed -n 's/^commit: \([0-9a-f]\{12\}\)[0-9a-f]*$/\1/p' "$directory/.git_archival.txt")
fi

if [ $# -eq 1 ]; then
    echo "$commit"
    exit
fi
swift=$("$3" --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
text=$(printf 'let commit: StaticString = "%s"\nlet swiftVersion: StaticString = "%s"' "$commit" "$swift")
# Unchanged, it keeps its time, and nothing is compiled.
[ "$(cat "$2" 2>/dev/null)" = "$text" ] || printf '%s\n' "$text" >"$2"
