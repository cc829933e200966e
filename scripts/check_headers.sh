#!/bin/bash
# Every header of src/ compiles alone.  Cached in build/headers: a header is compiled
# again only when it, something that it includes, or the compiler changes.
set -euo pipefail
cd "$(dirname "$0")/.."
cxx=${CXX:-g++}
out=build/headers
flags="-std=c++23 -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Werror -Isrc"
flags+=" -isystem build/deps/$(dpkg --print-architecture)/include"
flags+=" -isystem build/deps/common/include -DFMT_HEADER_ONLY=1 -DTOML_HEADER_ONLY=1"

mkdir -p "$out"
key=$("$cxx" --version | head -n 1; echo "$flags")
if [[ ! -f $out/key || $(<"$out/key") != "$key" ]]; then
  rm -rf "$out"
  mkdir -p "$out"
  echo "$key" >"$out/key"
fi

mapfile -t headers < <(find src -name '*.h' | sort)
(( ${#headers[@]} )) || { echo "check_headers: no headers"; exit 0; }

# make knows what is out of date; each stamp comes with a list of what it was made of.
{
  echo "all: ${headers[*]/%/.ok}" | sed "s| src/| $out/src/|g"
  printf '%s/%%.h.ok: %%.h\n\t@mkdir -p $(@D)\n' "$out"
  printf '\t@%s %s -MD -MP -MF $@.d -MT $@ -include $< -x c++ /dev/null && touch $@\n' \
    "$cxx" "$flags"
  printf -- '-include $(shell find %s -name "*.d")\n' "$out"
} >"$out/Makefile"
# A header that is gone must not stay a prerequisite: -MP makes empty rules for it.
env -u MAKEFLAGS -u MAKELEVEL make -f "$out/Makefile" -s -k -j "${ADIT_JOBS:-$(nproc)}" all || {
  echo "check_headers: a header does not compile alone" >&2
  exit 1
}
echo "check_headers: ${#headers[@]} headers compile alone"
