// A host is an address, a name, or refused; what the C library would read as an IPv4 address is
// never a name, and where both read one it is the same. Rules print what they are read from.

#include <arpa/inet.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/check.h"
#include "route/egress.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  using namespace adit::route;
  const std::string text(as_text({data, size}));
  if (const auto host = parse_egress_host(text)) {
    CHECK(host->ip.has_value() != !host->name.empty());
    in_addr read{};
    if (inet_aton(text.c_str(), &read) != 0) {
      const auto* b = reinterpret_cast<const std::uint8_t*>(&read);
      CHECK(host->ip && *host->ip == IpAddress::v4(b[0], b[1], b[2], b[3]));
    }
    const EgressPolicy rules({}, {});
    if (host->ip && !rules.check(*host, Address{*host->ip, 80})) {
      CHECK(use_of(*host->ip) == AddressUse::Ordinary);
      const auto inner = embedded_v4(*host->ip);
      CHECK(!inner || use_of(*inner) == AddressUse::Ordinary);
    }
  }
  if (const auto rule = parse_egress_rule(text)) {
    const auto again = parse_egress_rule(rule->text());
    CHECK(again && *again == *rule);
  }
  return 0;
}
