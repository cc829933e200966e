// The doctor's judgements, and the bytes that it asks with.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "app/admin_pages.h"
#include "app/doctor.h"
#include "service/admin/json_writer.h"

namespace adit::app {

namespace {
constexpr std::int64_t kDay = 24 * 3600;
// TLS and its certificates bear minutes; ACME and log lines do not bear hours.
constexpr std::int64_t kSkewMax = 60;
constexpr std::int64_t kExpiresSoon = 7 * kDay;
// RFC 9000 §15: reserved to make peers practise the negotiation.
constexpr std::array<std::uint8_t, 4> kNobodysVersion{0x5a, 0x6a, 0x7a, 0x8a};
// RFC 9000 §14.1: servers drop what is shorter.
constexpr std::size_t kInitialBytes = 1200;
constexpr std::size_t kIdBytes = 8;

std::string date_text(std::int64_t seconds) { return utc_text(WallTime{seconds * 1'000'000'000}); }
}  // namespace

std::string_view name(Verdict verdict) {
  switch (verdict) {
    case Verdict::Pass: return "PASS";
    case Verdict::Fail: return "FAIL";
    case Verdict::Skip: return "SKIP";
  }
  return "SKIP";
}

Answer doctor_answer(const std::vector<Finding>& findings, bool json) {
  Answer out;
  const bool failed = std::any_of(findings.begin(), findings.end(),
                                  [](const Finding& f) { return f.verdict == Verdict::Fail; });
  out.exit_code = failed ? 1 : exit_code::kDone;
  if (json) {
    service::JsonWriter writer;
    writer.begin_object();
    writer.boolean("healthy", !failed);
    writer.begin_array("checks");
    for (const Finding& f : findings) {
      writer.begin_object();
      writer.string("check", f.check);
      writer.string("verdict", name(f.verdict));
      writer.string("what", f.what);
      writer.string("cure", f.cure);
      writer.end();
    }
    writer.end();
    writer.end();
    out.out = std::move(writer).text();
    return out;
  }
  for (const Finding& f : findings) {
    out.out += fmt::format("{}  {}: {}\n", name(f.verdict), f.check, f.what);
    if (!f.cure.empty()) out.out += "      cure: " + f.cure + "\n";
  }
  return out;
}

Finding judge_validity(const std::string& check, std::int64_t now, std::int64_t not_before,
                       std::int64_t not_after) {
  if (now < not_before)
    return {check, Verdict::Fail, "not valid before " + date_text(not_before),
            "set this machine's clock, which says " + date_text(now)};
  if (now > not_after)
    return {check, Verdict::Fail, "has expired on " + date_text(not_after),
            "renew it; or set this machine's clock, which says " + date_text(now)};
  if (not_after - now < kExpiresSoon && not_after - not_before > 2 * kExpiresSoon)
    return {check, Verdict::Fail,
            fmt::format("expires within {} days", (not_after - now) / kDay + 1),
            "find out why it was not renewed"};
  return {check, Verdict::Pass, "valid until " + date_text(not_after), {}};
}

Finding judge_clock(const std::string& check, std::int64_t now, std::int64_t there) {
  const std::int64_t skew = now - there;
  if (std::abs(skew) <= kSkewMax)
    return {check, Verdict::Pass, fmt::format("{} s apart", std::abs(skew)), {}};
  return {check, Verdict::Fail,
          fmt::format("this machine is {} s {} the relay", std::abs(skew),
                      skew > 0 ? "ahead of" : "behind"),
          "let NTP set the clocks (timedatectl set-ntp true)"};
}

Finding judge_buffer(const std::string& key, std::size_t allowed, std::size_t wanted) {
  const std::string what = fmt::format("{} of the {} bytes that a link asks for", allowed, wanted);
  if (allowed >= wanted) return {key, Verdict::Pass, fmt::format("{} bytes", allowed), {}};
  return {key, Verdict::Fail, what, fmt::format("sysctl -w {}={}", key, wanted)};
}

std::optional<std::int64_t> date_of_head(std::string_view head) {
  const std::size_t at = head.find("\r\nDate: ");
  if (at == head.npos) return std::nullopt;
  const std::string line(head.substr(at + 8, 29));
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  int day = 0, year = 0, hour = 0, minute = 0, second = 0;
  char month[4] = {};
  if (std::sscanf(line.c_str(), "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &day, month, &year, &hour,
                  &minute, &second) != 6)
    return std::nullopt;
  const std::size_t index = kMonths.find(month);
  if (index == kMonths.npos || index % 3 != 0 || std::string_view(month).size() != 3)
    return std::nullopt;
  std::tm parts{};
  parts.tm_year = year - 1900;
  parts.tm_mon = static_cast<int>(index / 3);
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  parts.tm_sec = second;
  return ::timegm(&parts);
}

// RFC 9000 §17.2: form, version, destination id, source id.
ByteVector version_question(Bytes id) {
  CHECK(id.size() == kIdBytes);
  ByteVector out;
  Writer w(out);
  w.u8(0xc0);
  w.bytes(kNobodysVersion);
  for (int i = 0; i < 2; ++i) {
    w.u8(kIdBytes);
    w.bytes(id);
  }
  out.resize(kInitialBytes);
  return out;
}

// RFC 9000 §17.2.1: version 0, and our ids.
bool is_version_answer(Bytes answer, Bytes id) {
  if (answer.size() < 7 + 2 * kIdBytes || (answer[0] & 0x80) == 0) return false;
  if (!std::all_of(&answer[1], &answer[5], [](std::uint8_t b) { return b == 0; })) return false;
  return answer[5] == kIdBytes && std::equal(id.begin(), id.end(), &answer[6]);
}

}  // namespace adit::app
