#!/bin/bash
# No instruction of arm64's optional cryptography extensions in a program, outside
# functions that a run-time check guards: a Raspberry Pi 4 has none of them, and
# qemu's model of its CPU does, so that running it there proves nothing.
#
#   scripts/check_arm64_crypto.sh PROGRAM
#   scripts/check_arm64_crypto.sh --self-test    proves that one is caught
set -euo pipefail

# Functions that may use them because their callers look at HWCAP first: none.
allowed=''

objdump=aarch64-linux-gnu-objdump
skip() { echo "check_arm64_crypto: skipped, no $1 (scripts/packages arm64)"; exit 77; }

# Symbols may be stripped; then every hit counts.
check() { # PROGRAM
  "$objdump" -d --no-show-raw-insn "$1" | awk -v allowed=" $allowed " '
    /^[0-9a-f]+ <.*>:$/ { name = $2; gsub(/[<>:]/, "", name); next }
    { total++ }
    $2 ~ /^(aese|aesd|aesmc|aesimc|pmull2?|sha(1|256|512)[a-z0-9]*)$/ ||
    $2 ~ /^(rax1|eor3|bcax|xar|sm[34][a-z0-9]*)$/ {
      # pmull on bytes is base NEON; on a doubleword it is the extension.
      if ($2 ~ /^pmull/ && $0 !~ /\.1q/) next
      if (index(allowed, " " name " ")) next
      if (++bad <= 10) print "  " name ": " $0
    }
    END {
      if (total < 1) { print "no instructions found"; exit 1 }
      if (bad) { print bad " instructions of the cryptography extensions"; exit 1 }
    }'
}

if [[ ${1:-} == --self-test ]]; then
  command -v "$objdump" >/dev/null || skip "$objdump"
  command -v aarch64-linux-gnu-as >/dev/null || skip aarch64-linux-gnu-as
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  n=0
  expect() { # INSTRUCTION good|bad
    printf '.arch armv8.4-a+crypto+sha3\n.text\nf:\n  add x0, x0, x1\n  %s\n  ret\n' "$1" \
      >"$dir/t.s"
    aarch64-linux-gnu-as -o "$dir/t.o" "$dir/t.s"
    got=good
    out=$(check "$dir/t.o") || got=bad
    [[ $got == "$2" ]] || { echo "check_arm64_crypto self-test: $1: $got, not $2: $out"; exit 1; }
    n=$((n + 1))
  }
  expect "nop" good
  expect "aese v0.16b, v1.16b" bad
  expect "aesmc v0.16b, v1.16b" bad
  expect "pmull v0.1q, v1.1d, v2.1d" bad
  expect "pmull v0.8h, v1.8b, v2.8b" good
  expect "sha1h s0, s1" bad
  expect "sha256h q0, q1, v2.4s" bad
  expect "sha512h q0, q1, v2.2d" bad
  echo "check_arm64_crypto: $n cases of the self-test hold"
  exit 0
fi

program=${1:?usage: scripts/check_arm64_crypto.sh PROGRAM | --self-test}
command -v "$objdump" >/dev/null || { echo "no $objdump; run: scripts/packages arm64" >&2; exit 1; }
[[ -f $program ]] || { echo "check_arm64_crypto: no $program" >&2; exit 1; }
check "$program" || {
  echo "check_arm64_crypto: $program would die on a CPU without them" >&2
  exit 1
}
echo "check_arm64_crypto: ok"
