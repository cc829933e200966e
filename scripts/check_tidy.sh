#!/bin/bash
# House rules that a pattern can see.  Exemptions: tests/tidy/exempt.txt, one a line:
# RULE FILE reason; a line without a reason, or that exempts nothing, is an error.
#
#   scripts/check_tidy.sh [FOLDER]      by default this tree
#   scripts/check_tidy.sh --self-test   proves that violations are caught
set -euo pipefail
export LC_ALL=C.UTF-8 # width counts characters

width=100 # of a line
file_lines=800 header_lines=300 test_lines=2000

# rule | pattern (extended) | files it does not concern (extended) | what to do instead
bans='
fixme       | FIXME|XXX                          | ^$                   | do it, or name the issue
sleep       | \b(sleep_for|sleep_until|usleep)\b | ^$                   | use a timer of the loop
mutex       | std::(recursive_|shared_)?mutex\b  | ^src/io/worker       | pass messages
catch-all   | catch *\(\.\.\.\)                  | ^$                   | name what is caught
strerror    | \bstrerror(_r)?\b                  | ^src/base/result     | make an Error of it
clock       | (steady|system)_clock::now         | ^src/io/             | ask the loop
shared-ptr  | \b(shared_ptr|make_shared)\b       | ^src/(store|crypto)/ | one owner
capture-all | \[=[],]                            | ^$                   | name what is captured
using-std   | ^ *using namespace std *;          | ^$                   | write std::
iostream    | #include <iostream>                | ^$                   | use the log
'

bad=0
used=$'\n'
exemptions=
say() { echo "$*"; bad=1; }

exempt() { # RULE FILE
  grep -qE "^$1[[:space:]]+$2[[:space:]]+[^[:space:]]" <<<"$exemptions" || return 1
  used+="$1 $2"$'\n'
}

hits() { # RULE MESSAGE: reads grep -n lines, complains but for exempt files
  local file rest
  while IFS=: read -r file rest; do
    exempt "$1" "$file" || say "$file:$rest  [$1: $2]"
  done
}

check() { # FOLDER
  local file lines limit rule pattern except instead ours=() sources=()
  cd "$1"
  [[ ! -f tests/tidy/exempt.txt ]] ||
    exemptions=$(grep -vE '^[[:space:]]*(#|$)' tests/tidy/exempt.txt || true)

  mapfile -t sources < <(find src -name '*.h' -o -name '*.cc' 2>/dev/null | sort)
  mapfile -t ours < <(find src tests scripts Makefile CMakeLists.txt .ci \
    \( -path tests/corpus -o -name __pycache__ \) -prune -o -type f \
    \( -name '*.h' -o -name '*.cc' -o -name '*.py' -o -name '*.sh' -o -name '*.cmake' \
    -o -name Makefile -o -name CMakeLists.txt -o -name 't_*' -o -path 'scripts/*' \
    -o -path '.ci/*' \) -print 2>/dev/null | sort)
  (( ${#ours[@]} )) || return 0

  hits width "over $width characters" < <(grep -nHE "^.{$((width + 1)),}" "${ours[@]}" || true)
  hits blanks "blank at the end of the line" < <(grep -nHE '[[:space:]]$' "${ours[@]}" || true)
  hits tabs "tab" < <(grep -nHP '\t' "${sources[@]:-/dev/null}" || true)

  for file in "${sources[@]}"; do
    lines=$(wc -l <"$file")
    case $file in
      *_test.cc) limit=$test_lines ;;
      *.h) limit=$header_lines ;;
      *) limit=$file_lines ;;
    esac
    (( lines <= limit )) || exempt length "$file" ||
      say "$file: $lines lines, over $limit  [length: split it]"
    # A .cc file includes its own header first, which proves that it stands alone.
    if [[ $file == *.cc && -f ${file%.cc}.h ]]; then
      [[ $(grep -m1 -E '^#include' "$file") == "#include \"${file:4:-3}.h\"" ]] ||
        exempt own-header "$file" ||
        say "$file: ${file:4:-3}.h is not its first include  [own-header]"
    fi
    if [[ $file == *.h ]]; then
      grep -qE '^#pragma once' "$file" || exempt pragma-once "$file" ||
        say "$file: no #pragma once  [pragma-once]"
    fi
  done

  (( ! ${#sources[@]} )) || while IFS=$'\x1f' read -r rule pattern except instead; do
    [[ -n $rule ]] || continue
    # Comments may name what the code may not.
    hits "$rule" "$instead" < <(grep -nHE "$pattern" "${sources[@]}" |
      grep -vE "$except" | grep -vE '^[^:]*:[0-9]+:[[:space:]]*//' || true)
  done < <(sed -E 's/ +\| +/\x1f/g; s/ +$//' <<<"$bans")

  while read -r rule file reason; do
    [[ -n $rule ]] || continue
    if [[ -z ${reason:-} ]]; then
      say "tests/tidy/exempt.txt: $rule ${file:-}: no reason given"
    elif [[ $used != *$'\n'"$rule $file"$'\n'* ]]; then
      say "tests/tidy/exempt.txt: $rule $file exempts nothing, take it out"
    fi
  done <<<"$exemptions"
  return "$bad"
}

self_test() {
  local dir out n=0 wide
  dir=$(mktemp -d)
  # shellcheck disable=SC2064  # the name as it is now
  trap "rm -rf '$dir'" EXIT
  expect() { # DESCRIPTION FILE TEXT good|bad [EXEMPTION]
    rm -rf "$dir/src" "$dir/tests"
    mkdir -p "$dir/$(dirname "$2")" "$dir/tests/tidy"
    printf '%s\n' "$3" >"$dir/$2"
    printf '%s\n' "${5:-}" >"$dir/tests/tidy/exempt.txt"
    local got=good
    out=$( (check "$dir") 2>&1) || got=bad
    [[ $got == "$4" ]] || { echo "check_tidy self-test: $1: $got, not $4: $out"; exit 1; }
    n=$((n + 1))
  }
  wide=$(printf 'x%.0s' {1..101})
  expect "a plain file" src/io/a.cc 'int x;' good
  expect "100 characters" src/io/a.cc "${wide:1}" good
  expect "101 characters" src/io/a.cc "$wide" bad
  expect "100 characters of two bytes" src/io/a.cc "// ${wide//x/ü}" bad
  expect "the same, shorter" src/io/a.cc "// $(printf 'ü%.0s' {1..97})" good
  expect "blank at the end" src/io/a.cc 'int x; ' bad
  expect "801 lines" src/io/a.cc "$(printf 'x;\n%.0s' {1..801})" bad
  expect "801 lines of test" src/io/a_test.cc "$(printf 'x;\n%.0s' {1..801})" good
  expect "301 lines of header" src/io/a.h "#pragma once
$(printf 'x;\n%.0s' {1..300})" bad
  expect "no pragma once" src/io/a.h 'int x;' bad
  expect "sleep_for" src/io/a.cc 'std::this_thread::sleep_for(1s);' bad
  expect "sleep_for in a comment" src/io/a.cc '  // no sleep_for here' good
  expect "mutex" src/flow/a.cc 'std::mutex m;' bad
  expect "mutex in the worker" src/io/worker.cc 'std::mutex m;' good
  expect "clock" src/flow/a.cc 'auto t = std::chrono::steady_clock::now();' bad
  expect "clock in io" src/io/a.cc 'auto t = std::chrono::steady_clock::now();' good
  expect "catch-all" src/io/a.cc '} catch (...) {' bad
  expect "strerror" src/io/a.cc 'puts(strerror(errno));' bad
  expect "shared_ptr" src/io/a.cc 'std::shared_ptr<int> p;' bad
  expect "capture-all" src/io/a.cc 'auto f = [=] { return x; };' bad
  expect "capture-all and more" src/io/a.cc 'auto f = [=, &y] { return x; };' bad
  expect "using namespace std" src/io/a.cc 'using namespace std;' bad
  expect "literals" src/io/a.cc 'using namespace std::chrono_literals;' good
  expect "iostream" src/io/a.cc '#include <iostream>' bad
  expect "an exemption" src/io/a.cc 'puts(strerror(1));' good 'strerror src/io/a.cc for humans'
  expect "no reason" src/io/a.cc 'puts(strerror(1));' bad 'strerror src/io/a.cc'
  expect "a stale exemption" src/io/a.cc 'int x;' bad 'strerror src/io/a.cc for humans'
  echo "check_tidy: $n cases of the self-test hold"
}

if [[ ${1:-} == --self-test ]]; then
  self_test
else
  check "${1:-$(dirname "$0")/..}" || exit 1
  echo "check_tidy: ok"
fi
