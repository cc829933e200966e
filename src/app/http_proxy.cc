#include "app/http_proxy.h"

#include <algorithm>
#include <optional>

#include "base/address.h"
#include "crypto/digest.h"

namespace adit::app {

namespace {

constexpr std::string_view kScheme = "http://";
constexpr std::uint16_t kHttpPort = 80;

std::optional<std::string> percent_decoded(std::string_view in) {
  std::string out;
  while (!in.empty()) {
    if (in.front() != '%') {
      out += in.front();
      in.remove_prefix(1);
      continue;
    }
    const auto byte = crypto::hex_decode(in.substr(1, 2));
    if (in.size() < 3 || !byte) return std::nullopt;
    out += static_cast<char>(byte->front());
    in.remove_prefix(3);
  }
  return out;
}

std::string lower(std::string_view in) {
  std::string out(in);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

}  // namespace

Result<flow::HttpProxy> parse_http_proxy(std::string_view url) {
  if (lower(url.substr(0, kScheme.size())) == kScheme) url.remove_prefix(kScheme.size());
  if (url.find("://") != std::string_view::npos)
    return Error{0, "the proxy has to be named by an http:// URL"};
  flow::HttpProxy out;
  if (const std::size_t at = url.rfind('@'); at != std::string_view::npos) {
    const auto credentials = percent_decoded(url.substr(0, at));
    if (!credentials || credentials->find_first_of("\r\n") != std::string::npos)
      return Error{0, "user and password of the proxy are not percent-encoded as they should be"};
    out.authorization = "Basic " + crypto::base64_encode(as_bytes(*credentials));
    url.remove_prefix(at + 1);
  }
  if (url.ends_with('/')) url.remove_suffix(1);
  auto address = HostPort::parse(url, kHttpPort);
  if (!address) return std::move(address).error().with("proxy");
  out.address = std::move(*address);
  return out;
}

std::string without_password(std::string_view url) {
  const std::size_t at = url.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  const std::size_t scheme = url.find("://");
  const std::size_t from = scheme == std::string_view::npos ? 0 : scheme + 3;
  return std::string(url.substr(0, from)) + "..." + std::string(url.substr(at));
}

bool bypasses_proxy(std::string_view no_proxy, std::string_view host) {
  const std::string name = lower(host);
  const auto ip = IpAddress::parse(host);
  while (!no_proxy.empty()) {
    const std::size_t n = std::min(no_proxy.find_first_of(", "), no_proxy.size());
    std::string entry = lower(no_proxy.substr(0, n));
    no_proxy.remove_prefix(std::min(n + 1, no_proxy.size()));
    if (entry == "*") return true;
    if (ip) {
      const auto prefix = IpPrefix::parse(entry);
      if (prefix && prefix->contains(*ip)) return true;
      continue;
    }
    if (entry.starts_with('.')) entry.erase(0, 1);
    if (!entry.empty() && (name == entry || name.ends_with("." + entry))) return true;
  }
  return false;
}

}  // namespace adit::app
