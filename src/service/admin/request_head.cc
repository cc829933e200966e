#include "service/admin/request_head.h"

#include <algorithm>

namespace adit::service {
namespace {

// RFC 9110 §5.6.2
bool is_token(std::string_view s) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !s.empty() && std::ranges::all_of(s, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

bool is_visible(std::string_view s) {
  return std::ranges::all_of(s, [](char c) { return c > ' ' && c < 0x7f; });
}

// RFC 9110 §5.5: visible, blank, tab, and bytes over 0x7f.
bool is_field_value(std::string_view s) {
  return std::ranges::all_of(s, [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f);
  });
}

bool is_host(std::string_view name) {
  constexpr std::string_view kHost = "host";
  return std::ranges::equal(name, kHost, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

std::string_view without_cr(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

RequestHead::Verdict RequestHead::feed(Bytes in) {
  // RFC 9112 §2.2: a lone LF may end a line, too.
  for (const std::uint8_t byte : in) {
    if (head_.size() == bytes_max_) return Verdict::TooLong;
    head_ += static_cast<char>(byte);
    // A TLS hello, or a blank: no need to wait for the end of a line that may never come.
    if (head_.size() == 1 && !is_token(head_)) {
      fault_ = "this is not HTTP";
      return Verdict::Malformed;
    }
    if (byte != '\n') continue;
    const std::string_view line = without_cr(
        std::string_view(head_).substr(line_start_, head_.size() - 1 - line_start_));
    line_start_ = head_.size();
    if (line.empty()) return parse();
  }
  return Verdict::More;
}

RequestHead::Verdict RequestHead::parse() {
  std::string_view rest = head_;
  for (bool first = true; !rest.empty(); first = false) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = without_cr(rest.substr(0, end));
    rest.remove_prefix(end + 1);  // the last byte is an LF
    if (line.empty()) break;
    if (!(first ? parse_request_line(line) : parse_field(line))) return Verdict::Malformed;
  }
  // RFC 9112 §3.2
  if (needs_host_ && !has_host_) wrong("a request of HTTP/1.1 has a Host field");
  return fault_.empty() ? Verdict::Done : Verdict::Malformed;
}

// RFC 9112 §3: method SP request-target SP HTTP-version
bool RequestHead::parse_request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return wrong("the first line is not METHOD PATH HTTP/1.1");
  }
  method_ = line.substr(0, first);
  path_ = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method_)) return wrong("the method is not a word");
  if (!path_.starts_with('/') || !is_visible(path_)) return wrong("the path does not begin with /");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return wrong("the version is not HTTP/1.1");
  path_ = path_.substr(0, path_.find('?'));
  needs_host_ = version == "HTTP/1.1";
  return true;
}

bool RequestHead::parse_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  // RFC 9112 §5.1, §5.2: no blank before the colon, no folded lines.
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) ||
      !is_field_value(line.substr(colon + 1))) {
    return wrong("a field is not NAME: VALUE");
  }
  has_host_ = has_host_ || is_host(line.substr(0, colon));
  return true;
}

bool RequestHead::wrong(std::string_view what) {
  fault_ = what;
  return false;
}

}  // namespace adit::service
