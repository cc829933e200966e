// `adit doctor`: looks at everything that a tunnel needs from where it is run, and says what is
// wrong and how to mend it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/command_line.h"
#include "base/bytes.h"

namespace adit::app {

enum class Verdict : std::uint8_t { Pass, Fail, Skip };
std::string_view name(Verdict verdict);  // "PASS"

struct Finding {
  std::string check;  // "udp t.example.com:443"
  Verdict verdict = Verdict::Pass;
  std::string what;
  std::string cure;   // of a failure
  bool operator==(const Finding&) const = default;
};

// 0 where nothing failed, else 1.
Answer doctor_answer(const std::vector<Finding>& findings, bool json);

Answer run(const DoctorCommand& command, const Environment& environment);

// --- the checks that need nothing but what is given ---

// `now`, `not_before`, `not_after`: seconds since 1970. Of a certificate that a peer just showed:
// one that is not valid yet points at this machine's clock.
Finding judge_validity(const std::string& check, std::int64_t now, std::int64_t not_before,
                       std::int64_t not_after);
// `there`: the peer's clock.
Finding judge_clock(const std::string& check, std::int64_t now, std::int64_t there);
// Bytes that net.core.rmem_max or wmem_max allow, against what a socket for links asks for.
Finding judge_buffer(const std::string& key, std::size_t allowed, std::size_t wanted);
// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7) of the head's Date field.
std::optional<std::int64_t> date_of_head(std::string_view head);
// A QUIC packet of a version that nobody speaks, long enough to be answered (RFC 9000 §6.1, §14.1),
// and whether `answer` is the Version Negotiation packet for it.
ByteVector version_question(Bytes id);
bool is_version_answer(Bytes answer, Bytes id);

}  // namespace adit::app
