#include "proto/http/fields.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <utility>

namespace adit::http {

namespace {
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
}  // namespace

std::string_view field(const Fields& fields, std::string_view name) {
  const auto at = std::ranges::find_if(fields, [name](const Field& f) { return f.name == name; });
  return at == fields.end() ? std::string_view() : std::string_view(at->value);
}

bool has(const Fields& fields, std::string_view name) {
  return std::ranges::any_of(fields, [name](const Field& f) { return f.name == name; });
}

std::vector<std::string_view> elements(const Fields& fields, std::string_view name) {
  std::vector<std::string_view> out;
  for (const Field& f : fields) {
    if (f.name != name) continue;
    std::string_view left = f.value;
    while (!left.empty()) {
      const std::size_t comma = std::min(left.find(','), left.size());
      if (const std::string_view one = trimmed(left.substr(0, comma)); !one.empty())
        out.push_back(one);
      left.remove_prefix(std::min(comma + 1, left.size()));
    }
  }
  return out;
}

bool lists(const Fields& fields, std::string_view name, std::string_view token) {
  return std::ranges::any_of(elements(fields, name),
                             [token](std::string_view one) { return same_text(one, token); });
}

bool same_text(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::string lower_text(std::string_view s) {
  std::string out(s);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

std::string_view trimmed(std::string_view s) {
  const std::size_t from = s.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return s.substr(from, s.find_last_not_of(" \t") - from + 1);
}

bool is_token(std::string_view s) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !s.empty() && std::ranges::all_of(s, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != kOthers.npos;
  });
}

bool is_field_value(std::string_view s) {
  return std::ranges::all_of(s, [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f);
  });
}

void remove_hop_by_hop(Fields& fields) {
  constexpr std::array<std::string_view, 8> kNames = {
      "connection", "keep-alive", "proxy-connection", "te",
      "trailer",    "upgrade",    "transfer-encoding", "http2-settings"};
  std::vector<std::string> named;
  for (const std::string_view one : elements(fields, "connection"))
    named.push_back(lower_text(one));
  std::erase_if(fields, [&](const Field& f) {
    return std::ranges::find(kNames, f.name) != kNames.end() ||
           std::ranges::find(named, f.name) != named.end();
  });
}

namespace {
// A Host or an authority: visible ASCII without what would end it elsewhere.
bool is_authority(std::string_view s) {
  return std::ranges::all_of(s, [](char c) {
    return c > ' ' && c < 0x7f && std::string_view("/?#@\\\"<>,").find(c) == std::string_view::npos;
  });
}
}  // namespace

std::string_view request_fault(const RequestHead& head) {
  const bool connects = head.method == "CONNECT";
  // HTTP/2's CONNECT has no scheme (RFC 9113 §8.5).
  if (head.scheme != "http" && head.scheme != "https" && !(connects && head.scheme.empty()))
    return "a target of another scheme than http and https";
  if (!is_authority(head.authority)) return "a Host that is none";
  if (!std::ranges::all_of(head.target, [](char c) { return c > ' ' && c < 0x7f && c != '#'; }))
    return "a target with characters that it may not have";
  if (connects) {
    if (!head.target.empty()) return "a target that is no host and port";
    return head.authority.empty() ? "a target without a host" : "";
  }
  if (!head.target.starts_with('/') && !(head.target == "*" && head.method == "OPTIONS"))
    return "a target that is no path";
  return {};
}

bool has_no_body(int status, std::string_view method) {
  return status < 200 || status == 204 || status == 304 || method == "HEAD";
}

std::string_view reason(int status) {
  constexpr std::pair<int, std::string_view> kReasons[] = {
      {100, "Continue"}, {101, "Switching Protocols"}, {103, "Early Hints"},
      {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
      {205, "Reset Content"}, {206, "Partial Content"}, {301, "Moved Permanently"},
      {302, "Found"}, {303, "See Other"}, {304, "Not Modified"}, {307, "Temporary Redirect"},
      {308, "Permanent Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"},
      {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
      {406, "Not Acceptable"}, {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"},
      {411, "Length Required"}, {412, "Precondition Failed"}, {413, "Content Too Large"},
      {414, "URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"},
      {417, "Expectation Failed"}, {421, "Misdirected Request"}, {422, "Unprocessable Content"},
      {426, "Upgrade Required"}, {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
      {501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
      {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"},
  };
  for (const auto& [code, text] : kReasons)
    if (code == status) return text;
  return {};
}

std::string date_text(WallTime at) {
  using namespace std::chrono;
  constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const sys_seconds t{seconds(at.seconds())};
  const auto day = floor<days>(t);
  const year_month_day date(day);
  const hh_mm_ss time(t - day);
  std::array<char, 64> out{};
  const int n = std::snprintf(
      out.data(), out.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT",
      kDays[weekday(day).c_encoding()], static_cast<unsigned>(date.day()),
      kMonths[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
      static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
      static_cast<int>(time.seconds().count()));
  return std::string(out.data(), static_cast<std::size_t>(n));
}

}  // namespace adit::http
