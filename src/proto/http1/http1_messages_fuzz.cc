// Messages of HTTP/1 from any bytes: what is read of them, and where it ends, does not depend on
// the fragmentation. The first byte says what is read and how it is cut.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "proto/http1/message_reader.h"

namespace adit::http1 {
namespace {

using Step = MessageReader::Step;

// All that came of them, as text.
std::string read(MessageReader::Kind kind, Bytes in, std::size_t piece) {
  MessageReader reader(kind, 1024);
  std::string out;
  std::size_t at = 0, given = 0;
  while (true) {
    given = std::max(given, std::min(in.size(), at + piece));
    const Step step = reader.read(in.subspan(at, given - at));
    if (step == Step::Malformed) return out + "!" + std::to_string(reader.fault_status());
    CHECK(reader.used() <= given - at);
    const std::size_t from = at;
    at += reader.used();
    if (step == Step::TooLong) return out + "long";
    if (step == Step::Head) {
      const Head& head = reader.head();
      CHECK(head.fields.size() <= 128);
      CHECK(!(reader.chunked() && reader.length()));
      out += "[" + head.method + " " + head.target + " " + std::to_string(head.status);
      for (const Field& f : head.fields) out += "," + f.name + ":" + f.value;
      out += "]";
      if (kind == MessageReader::Kind::Request) {
        const auto request = request_of(head, "https");
        CHECK(!request || request->target.empty() == (request->method == "CONNECT"));
      }
    } else if (step == Step::Body) {
      CHECK(!reader.body().empty() && reader.body().size() <= at - from);
      CHECK(reader.body().data() + reader.body().size() == in.data() + at);
      out += as_text(reader.body());
    } else if (step == Step::End) {
      out += "|";
      reader.next();
      if (at == in.size()) return out;
    } else if (at == in.size()) {
      if (!reader.started()) return out;
      return out + (reader.end() == Step::End ? "." : "cut");
    }
  }
}

}  // namespace
}  // namespace adit::http1

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit;
  using Kind = http1::MessageReader::Kind;
  if (size == 0) return 0;
  const Bytes in(data + 1, size - 1);
  const Kind kind = (data[0] & 1) != 0 ? Kind::Response : Kind::Request;
  const std::string whole = http1::read(kind, in, in.size() + 1);
  CHECK(whole == http1::read(kind, in, 1 + data[0] / 4));
  return 0;
}
