#include "io/seccomp_filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace adit::io {

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "which architecture's system calls are these?"
#endif
// Of the x32 calls, which share the architecture with x86-64's.
constexpr std::uint32_t kX32Bit = 0x40000000;

std::uint32_t returned(CallVerdict verdict) {
  switch (verdict) {
    case CallVerdict::Allow: return SECCOMP_RET_ALLOW;
    case CallVerdict::Refuse: return SECCOMP_RET_ERRNO | EPERM;
    case CallVerdict::Absent: return SECCOMP_RET_ERRNO | ENOSYS;
    case CallVerdict::Kill: return SECCOMP_RET_KILL_PROCESS;
  }
  return SECCOMP_RET_KILL_PROCESS;
}

class Assembler {
 public:
  // Loads a field of seccomp_data.
  void load(std::size_t offset) {
    out_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
  }
  void mask(std::uint32_t bits) { out_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits)); }
  void leave(CallVerdict verdict) {
    out_.push_back(BPF_STMT(BPF_RET | BPF_K, returned(verdict)));
  }
  // The next `count` instructions are for this value only.
  void skip_unless_equal(std::uint32_t value, std::uint8_t count) {
    out_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
  }
  void skip_if_equal(std::uint32_t value, std::uint8_t count) {
    out_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, count, 0));
  }
  void skip_if_below(std::uint32_t value, std::uint8_t count) {
    out_.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, value, 0, count));
  }
  std::vector<sock_filter>& code() { return out_; }

 private:
  std::vector<sock_filter> out_;
};

void add_rule(Assembler& code, const CallRule& rule) {
  const auto number = static_cast<std::uint32_t>(rule.number);
  if (rule.any_of.empty()) {
    code.skip_unless_equal(number, 1);
    return code.leave(rule.verdict);
  }
  // Four instructions an argument, and the number again for the rules behind.
  code.skip_unless_equal(number, static_cast<std::uint8_t>(4 * rule.any_of.size() + 1));
  for (const CallArgument& argument : rule.any_of) {
    // Little-endian: the lower half comes first.
    code.load(offsetof(seccomp_data, args) + 8 * argument.index);
    code.mask(argument.mask);
    code.skip_unless_equal(argument.value, 1);
    code.leave(rule.verdict);
  }
  code.load(offsetof(seccomp_data, nr));
}

}  // namespace

Status install_call_filter(std::span<const CallRule> rules, CallVerdict otherwise) {
  constexpr std::size_t kArgumentsMax = 60;  // what an 8-bit jump reaches
  Assembler code;
  code.load(offsetof(seccomp_data, arch));
  code.skip_if_equal(kArchitecture, 1);
  code.leave(CallVerdict::Kill);
  code.load(offsetof(seccomp_data, nr));
  if (kArchitecture == AUDIT_ARCH_X86_64) {
    code.skip_if_below(kX32Bit, 1);
    code.leave(CallVerdict::Kill);
  }
  for (const CallRule& rule : rules) {
    CHECK(rule.any_of.size() <= kArgumentsMax);
    add_rule(code, rule);
  }
  code.leave(otherwise);
  CHECK(code.code().size() <= BPF_MAXINSNS);
  const sock_fprog program{static_cast<unsigned short>(code.code().size()), code.code().data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
    return errno_error(errno, "seccomp");
  return {};
}

}  // namespace adit::io
