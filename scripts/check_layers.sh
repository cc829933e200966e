#!/bin/bash
# Includes point one way (src/README.md has the table with words):
#   1. a room includes only itself and the rooms of its row;
#   2. our includes name the room ("base/result.h"), so that rule 1 sees them;
#   3. a C library, CLI11 and toml++ are included by .cc files only, and only in the
#      rooms that own them.
#
#   scripts/check_layers.sh [FOLDER]      FOLDER holds src/, by default this tree
#   scripts/check_layers.sh --self-test   proves that violations are caught
set -euo pipefail

# The same table as in CMakeLists.txt.
declare -A rooms=([base]="" [io]="base" [crypto]="base" [store]="base" [route]="base"
  [proto]="base crypto" [flow]="base io crypto proto"
  [service]="base io crypto store route proto flow"
  [app]="base io crypto store route proto flow service")
# include prefix -> rooms that may have it, in .cc files
declare -A libraries=([wolfssl/]="crypto proto" [ngtcp2/]="proto" [nghttp2/]="proto"
  [jansson.h]="proto" [zlib.h]="proto" [zstd.h]="proto" [zstd_errors.h]="proto"
  [liburing.h]="io" [ares.h]="io" [sqlite3.h]="store"
  [toml++/]="app" [CLI/]="app" [sys/capability.h]="app")

check() { # FOLDER
  local bad=0 file line include from to prefix
  # Only what can be wrong: our includes, and the libraries.
  local names='wolfssl|ngtcp2|nghttp2|jansson|zlib|zstd|liburing|ares|sqlite3|toml\+\+|CLI'
  names+='|sys/capability'
  local pattern="^[[:space:]]*#[[:space:]]*include[[:space:]]*(\"|<($names))"
  cd "$1"
  while IFS=: read -r file line; do
    include=$(sed -E 's/^[^<"]*[<"]([^>"]*)[>"].*/\1/' <<<"$line")
    from=$(cut -d/ -f2 <<<"$file")
    if [[ ! -v rooms[$from] ]]; then
      echo "$file: no such room: $from"; bad=1; continue
    fi
    if [[ $line == *'"'* ]]; then
      to=${include%%/*}
      if [[ $include != */* || ! -v rooms[$to] ]]; then
        echo "$file: \"$include\" does not begin with a room (or should be <$include>)"; bad=1
      elif [[ $to != "$from" && " ${rooms[$from]} " != *" $to "* ]]; then
        echo "$file: $from may not include $to/ ($include)"; bad=1
      fi
    fi
    for prefix in "${!libraries[@]}"; do
      [[ $include == "$prefix"* ]] || continue
      if [[ $file == *.h ]]; then
        echo "$file: <$include> belongs in a .cc file, not in a header"; bad=1
      elif [[ " ${libraries[$prefix]} " != *" $from "* ]]; then
        echo "$file: $from may not include <$include> (only: ${libraries[$prefix]})"; bad=1
      fi
    done
  done < <(grep -rE "$pattern" src --include='*.h' --include='*.cc' | sort)
  return "$bad"
}

self_test() {
  local dir out n=0
  dir=$(mktemp -d)
  # shellcheck disable=SC2064  # the name as it is now
  trap "rm -rf '$dir'" EXIT
  expect() { # DESCRIPTION FILE LINE good|bad
    rm -rf "$dir/src"
    mkdir -p "$dir/$(dirname "$2")"
    printf '%s\n' "$3" >"$dir/$2"
    local got=good
    out=$( (check "$dir") 2>&1) || got=bad
    [[ $got == "$4" ]] || { echo "check_layers self-test: $1: $got, not $4: $out"; exit 1; }
    n=$((n + 1))
  }
  expect "a room of its row" src/io/a.cc '#include "base/result.h"' good
  expect "itself" src/io/a.h '#include "io/loop.h"' good
  expect "upwards" src/base/a.h '#include "io/loop.h"' bad
  expect "sideways" src/proto/h2/a.cc '#include "io/loop.h"' bad
  expect "indented" src/proto/a.cc '  #  include "io/loop.h"' bad
  expect "an unknown room" src/misc/a.cc '#include "base/result.h"' bad
  expect "no room in the name" src/io/a.cc '#include "loop.h"' bad
  expect "relative" src/io/a.cc '#include "../base/result.h"' bad
  expect "C library in a header" src/crypto/a.h '#include <wolfssl/ssl.h>' bad
  expect "C library in its room" src/crypto/a.cc '#include <wolfssl/ssl.h>' good
  expect "C library elsewhere" src/flow/a.cc '#include <nghttp2/nghttp2.h>' bad
  expect "C library in quotes" src/base/a.h '#include "sqlite3.h"' bad
  expect "toml++ in a header" src/app/a.h '#include <toml++/toml.h>' bad
  expect "the standard library" src/base/a.h '#include <vector>' good
  echo "check_layers: $n cases of the self-test hold"
}

if [[ ${1:-} == --self-test ]]; then
  self_test
else
  check "${1:-$(dirname "$0")/..}" || exit 1
  echo "check_layers: ok"
fi
