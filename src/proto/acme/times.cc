// The forms of time that ACME servers use: of documents.h.
#include <algorithm>
#include <array>
#include <chrono>

#include "proto/acme/documents.h"

namespace adit::acme {
namespace {

constexpr std::int64_t kYearSeconds = 365 * 24 * 3600;

// Exactly `count` digits at `at`; -1 where there are none.
int digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return -1;
  int out = 0;
  for (const char c : text.substr(at, count)) {
    if (c < '0' || c > '9') return -1;
    out = out * 10 + (c - '0');
  }
  return out;
}

struct Fields {
  int year, month, day, hour, minute, second;
};

std::optional<std::int64_t> seconds_of(const Fields& f) {
  using namespace std::chrono;
  if (f.year < 1970 || f.month < 1 || f.day < 1 || f.hour < 0 || f.hour > 23 || f.minute < 0 ||
      f.minute > 59 || f.second < 0 || f.second > 60)
    return std::nullopt;
  const year_month_day date{year(f.year), month(static_cast<unsigned>(f.month)),
                            day(static_cast<unsigned>(f.day))};
  if (!date.ok()) return std::nullopt;
  const std::int64_t at = sys_days(date).time_since_epoch().count();
  return at * 86400 + f.hour * 3600 + f.minute * 60 + f.second;
}

}  // namespace

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<std::int64_t> parse_http_date(std::string_view t) {
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (t.size() != 29 || !t.ends_with(" GMT")) return std::nullopt;
  const auto month = std::ranges::find(kMonths, t.substr(8, 3));
  if (month == kMonths.end()) return std::nullopt;
  return seconds_of({digits(t, 12, 4), static_cast<int>(month - kMonths.begin()) + 1,
                     digits(t, 5, 2), digits(t, 17, 2), digits(t, 20, 2), digits(t, 23, 2)});
}

std::optional<std::int64_t> parse_rfc3339(std::string_view t) {
  if (t.size() < 20 || t[4] != '-' || t[7] != '-' || (t[10] != 'T' && t[10] != 't') ||
      t[13] != ':' || t[16] != ':')
    return std::nullopt;
  const auto at = seconds_of({digits(t, 0, 4), digits(t, 5, 2), digits(t, 8, 2), digits(t, 11, 2),
                              digits(t, 14, 2), digits(t, 17, 2)});
  if (!at) return std::nullopt;
  std::string_view rest = t.substr(19);
  if (rest.starts_with('.')) {
    const std::size_t end = rest.find_first_not_of("0123456789", 1);
    if (end == 1 || end == rest.npos) return std::nullopt;
    rest.remove_prefix(end);
  }
  if (rest == "Z" || rest == "z") return at;
  const int hours = digits(rest, 1, 2), minutes = digits(rest, 4, 2);
  if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-') || rest[3] != ':' || hours < 0 ||
      hours > 23 || minutes < 0 || minutes > 59)
    return std::nullopt;
  const std::int64_t offset = hours * 3600 + minutes * 60;
  return rest[0] == '+' ? *at - offset : *at + offset;
}

std::optional<Duration> parse_retry_after(std::string_view text, WallTime now) {
  if (text.empty()) return std::nullopt;
  std::int64_t seconds = 0;
  if (text.find_first_not_of("0123456789") == text.npos) {
    seconds = text.size() > 9 ? kYearSeconds : digits(text, 0, text.size());
  } else {
    const auto at = parse_http_date(text);
    if (!at) return std::nullopt;
    seconds = *at - now.seconds();
  }
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kYearSeconds));
}

}  // namespace adit::acme
