// A response in two fragmentations: both must end alike.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/limits_acme.h"
#include "proto/http/response_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using adit::http::ResponseReader;
  using Need = ResponseReader::Need;
  if (size == 0) return 0;
  const bool to_head = (data[0] & 1) != 0;
  const adit::Bytes in(data + 1, size - 1);
  ResponseReader whole(to_head), parts(to_head);
  auto at_once = whole.feed(in);
  adit::Result<Need> verdict = Need::More;
  for (std::size_t i = 0; i < in.size() && verdict && *verdict == Need::More; ++i)
    verdict = parts.feed(in.subspan(i, 1));
  if (at_once && *at_once == Need::More) at_once = whole.end();
  if (verdict && *verdict == Need::More) verdict = parts.end();
  CHECK(static_cast<bool>(at_once) == static_cast<bool>(verdict));
  if (!at_once) {
    CHECK(at_once.error().what == verdict.error().what);
    return 0;
  }
  CHECK(whole.response().status >= 200 && whole.response().status <= 599);
  CHECK(whole.response().body == parts.response().body);
  CHECK(whole.response().fields == parts.response().fields);
  CHECK(whole.response().body.size() <= adit::limits::kHttpBodyBytesMax);
  return 0;
}
