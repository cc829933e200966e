// The flow stream from any bytes, fed in pieces: what is read and written again reads as the same,
// and how it was cut makes no difference. The first byte says where.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/limits.h"
#include "proto/link/flow_record.h"

namespace adit::link {
namespace {

struct Outcome {
  bool ok = true;
  std::vector<FlowRecord> records;
};

Outcome read(Bytes in, std::size_t piece) {
  FlowRecordReader reader;
  Outcome out;
  for (std::size_t at = 0; at < in.size(); at += piece) {
    auto records = reader.feed(in.subspan(at, std::min(piece, in.size() - at)));
    if (!records) {
      out.ok = false;
      return out;
    }
    for (FlowRecord& r : *records) out.records.push_back(std::move(r));
  }
  return out;
}

}  // namespace
}  // namespace adit::link

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  using namespace adit::link;
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  const Outcome whole = read(in, std::max<std::size_t>(in.size(), 1));
  const Outcome pieces = read(in, data[0] % 32 + std::size_t{1});
  CHECK(whole.ok == pieces.ok);
  if (whole.ok) CHECK(whole.records == pieces.records);
  ByteVector again;
  for (const FlowRecord& r : whole.records) {
    CHECK(r.payload.size() <= limits::kDatagramPayloadMax);
    write_flow_record(again, r);
  }
  CHECK(read(again, std::max<std::size_t>(again.size(), 1)).records == whole.records);
  if (auto datagram = parse_flow_datagram(in)) {
    ByteVector out;
    write_flow_datagram(out, datagram->flow, datagram->payload);
    auto back = parse_flow_datagram(out);
    CHECK(back && *back == *datagram);
  }
  return 0;
}
