// Datagrams of one client from any bytes: each begins with its length in two bytes. A reader gives
// a verdict within its bounds, the same every time.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/limits.h"
#include "proto/quic_initial/initial_reader.h"

namespace {

using adit::Bytes;
using adit::quic_initial::InitialReader;

// 0: more is needed; 1: done; 2: an error.
int run(Bytes in, std::string& sni) {
  InitialReader reader;
  adit::Reader r(in);
  std::size_t fed = 0;
  while (r.left() > 2) {
    const Bytes datagram = r.bytes(std::min<std::size_t>(r.u16(), r.left()));
    static_cast<void>(adit::quic_initial::parse_long_header(datagram));
    auto read = reader.feed(datagram);
    ++fed;
    if (!read) return 2;
    CHECK(fed <= adit::limits::kInitialDatagramsMax);
    if (*read == InitialReader::Need::More) continue;
    sni = reader.hello().sni;
    return 1;
  }
  return 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string first, second;
  const Bytes in(data, size);
  CHECK(run(in, first) == run(in, second));
  CHECK(first == second && first.size() <= 253);
  return 0;
}
