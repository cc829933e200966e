// The resolver of the real loops: DNS by c-ares on the loop's own thread, /etc/hosts first, servers
// and search list from /etc/resolv.conf, read again when that file changes.
#pragma once

#include <memory>
#include <string>

#include "io/loop.h"
#include "io/resolver.h"

namespace adit::io {

struct CaresOptions {
  // "192.0.2.1:53,[2001:db8::1]:53"; empty: those of /etc/resolv.conf.
  std::string servers;
};

// Must die before the loop; a handler may destroy it.
Result<std::unique_ptr<Resolver>> make_cares_resolver(Loop& loop, const CaresOptions& options);

}  // namespace adit::io
