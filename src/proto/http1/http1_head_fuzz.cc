// HTTP/1 heads from any bytes: the verdict, the head and what follows it do not depend on the
// fragmentation. The first byte says what is read and how it is cut.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "proto/http1/head_reader.h"

namespace adit::http1 {
namespace {

struct Outcome {
  HeadReader::Verdict verdict = HeadReader::Verdict::More;
  Head head;
  std::size_t used = 0;
};

Outcome read(HeadReader::Kind kind, Bytes in, std::size_t piece) {
  HeadReader reader(kind, 1024);
  Outcome out;
  std::size_t fed = 0;
  while (fed < in.size() && out.verdict == HeadReader::Verdict::More) {
    const std::size_t n = std::min(piece, in.size() - fed);
    out.verdict = reader.feed(in.subspan(fed, n));
    fed += n;
  }
  if (out.verdict == HeadReader::Verdict::Done) {
    out.head = reader.head();
    out.used = fed - reader.rest().size();
  }
  return out;
}

}  // namespace
}  // namespace adit::http1

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  using namespace adit::http1;
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  const auto kind = (data[0] & 1) != 0 ? HeadReader::Kind::Response : HeadReader::Kind::Request;
  const Outcome whole = read(kind, in, in.size() + 1), cut = read(kind, in, 1 + data[0] / 4);
  CHECK(whole.verdict == cut.verdict);
  CHECK(whole.used == cut.used);
  CHECK(whole.head.method == cut.head.method && whole.head.target == cut.head.target);
  CHECK(whole.head.status == cut.head.status);
  CHECK(whole.head.fields.size() == cut.head.fields.size());
  for (std::size_t i = 0; i < whole.head.fields.size(); ++i) {
    CHECK(whole.head.fields[i].name == cut.head.fields[i].name);
    CHECK(whole.head.fields[i].value == cut.head.fields[i].value);
  }
  return 0;
}
