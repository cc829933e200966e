// The HTTP proxy that agents go through, as HTTPS_PROXY and NO_PROXY name it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "flow/proxied_dialer.h"

namespace adit::app {

// "http://[USER:PASSWORD@]HOST[:PORT][/]" or "HOST:PORT"; the port is 80 by default, user and
// password may be percent-encoded. Errors name what is wrong and repeat no password.
Result<flow::HttpProxy> parse_http_proxy(std::string_view url);

// The URL as it may be shown.
std::string without_password(std::string_view url);

// Whether `no_proxy` (names, which stand for those below them too, addresses and prefixes, with
// commas or blanks between them; "*" is all) says that `host` is reached directly.
bool bypasses_proxy(std::string_view no_proxy, std::string_view host);

}  // namespace adit::app
