// PROXY headers from any bytes: the verdict does not depend on the fragmentation, and a connection
// that was read is read again from what is written for it. The first byte says how the input is
// cut.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "proto/proxy_header/proxy_header.h"

namespace adit {
namespace {

struct Outcome {
  bool error = false, done = false;
  std::optional<ProxiedConnection> connection;
  std::size_t header = 0;
};

Outcome read(Bytes in, std::size_t piece) {
  ProxyHeaderReader reader;
  Outcome out;
  std::size_t fed = 0;
  while (fed < in.size() && !out.done && !out.error) {
    const std::size_t n = std::min(piece, in.size() - fed);
    auto r = reader.feed(in.subspan(fed, n));
    fed += n;
    out.error = !r;
    out.done = r && *r;
  }
  if (out.done) {
    out.connection = reader.connection();
    out.header = fed - reader.rest().size();
  }
  return out;
}

}  // namespace
}  // namespace adit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  const Outcome whole = read(in, in.size() + 1), cut = read(in, 1 + data[0] % 64);
  CHECK(whole.done == cut.done);
  CHECK(whole.error == cut.error);
  CHECK(whole.header == cut.header);
  if (!whole.connection) return 0;
  CHECK(whole.connection->source == cut.connection->source);
  for (const ByteVector& again :
       {proxy_header_v1(*whole.connection), proxy_header_v2(*whole.connection)}) {
    const Outcome o = read(again, again.size());
    CHECK(o.done && o.connection);
    CHECK(o.connection->source == whole.connection->source);
    CHECK(o.connection->destination == whole.connection->destination);
  }
  return 0;
}
