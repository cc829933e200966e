// A request's head in two fragmentations: both must end alike.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "service/admin/request_head.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using adit::service::RequestHead;
  using Verdict = RequestHead::Verdict;
  const adit::Bytes in(data, size);
  constexpr std::size_t kBytesMax = 256;  // so that the bound is found, too
  RequestHead whole(kBytesMax), parts(kBytesMax);
  const Verdict at_once = whole.feed(in);
  Verdict verdict = Verdict::More;
  for (std::size_t i = 0; i < size && verdict == Verdict::More; ++i) {
    verdict = parts.feed(in.subspan(i, 1));
  }
  CHECK(verdict == at_once);
  CHECK(whole.fault() == parts.fault());
  CHECK(whole.fault().empty() == (verdict != Verdict::Malformed));
  if (verdict != Verdict::Done) return 0;
  CHECK(!whole.method().empty() && whole.path().starts_with('/'));
  CHECK(whole.method() == parts.method() && whole.path() == parts.path());
  return 0;
}
