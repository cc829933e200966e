#include "proto/http/url.h"

#include <algorithm>
#include <cerrno>

namespace adit::http {

namespace {
constexpr std::string_view kScheme = "https://";
constexpr std::uint16_t kHttpsPort = 443;
}  // namespace

std::string Url::authority() const {
  if (to.port != kHttpsPort) return to.text();
  return to.host.find(':') == to.host.npos ? to.host : "[" + to.host + "]";
}

Result<Url> parse_https_url(std::string_view text) {
  const Error bad{EINVAL, "\"" + std::string(text.substr(0, 120)) + "\" is not an https URL"};
  const bool visible = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
  if (!visible || text.size() > kUrlBytesMax || text.size() < kScheme.size()) return bad;
  // RFC 3986 §3.1: a scheme is the same in either case.
  const auto same = [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  };
  const bool https = std::ranges::equal(text.substr(0, kScheme.size()), kScheme, same);
  if (!https) return bad;
  text.remove_prefix(kScheme.size());
  text = text.substr(0, text.find('#'));
  const std::size_t end = std::min(text.find_first_of("/?"), text.size());
  const std::string_view authority = text.substr(0, end);
  if (authority.empty() || authority.find('@') != authority.npos) return bad;
  // What HostPort takes for a port of this machine.
  if (authority.find_first_not_of(":0123456789") == authority.npos) return bad;
  auto to = HostPort::parse(authority, kHttpsPort);
  if (!to || to->port == 0) return bad;
  std::string target(text.substr(end));
  if (!target.starts_with('/')) target.insert(0, "/");
  return Url{std::move(*to), std::move(target)};
}

}  // namespace adit::http
