// https URLs, as far as a client of one kind of server needs them (RFC 3986, RFC 9110 §4.2.2).
#pragma once

#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace adit::http {

struct Url {
  HostPort to;
  std::string target;  // of the request line: "/path?query", never empty

  // For the Host field: the port only where it is not 443; an IPv6 literal in brackets.
  std::string authority() const;
};

// "https" only, no user information; a fragment is cut off. At most kUrlBytesMax visible ASCII
// characters, so that a URL from a peer cannot break out of a request line.
inline constexpr std::size_t kUrlBytesMax = 2048;
Result<Url> parse_https_url(std::string_view text);

}  // namespace adit::http
