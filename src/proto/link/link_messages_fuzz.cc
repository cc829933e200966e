// The JSON bodies of control frames from any bytes: what was parsed and is written again parses to
// the same, within the bounds. The first byte says which message.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/limits.h"
#include "proto/link/messages.h"
#include "proto/link/seen_numbers.h"

namespace adit::link {
namespace {

void check_names(const std::vector<std::string>& names) {
  CHECK(names.size() <= limits::kNamesPerServiceMax);
  for (const std::string& n : names) CHECK(n.size() <= 253);
}

void check_offsets(const std::vector<StreamOffset>& streams) {
  CHECK(streams.size() <= kOffsetsMax);
  for (const StreamOffset& s : streams) CHECK(s.stream.value != 0);
}

void check_bounds(const Hello& m) {
  CHECK(m.services.size() <= limits::kServicesPerAgentMax);
  for (const ServiceWanted& s : m.services) check_names(s.names);
  if (!m.resume) return;
  CHECK(m.resume->unseen.size() <= kUnseenMax);
  check_offsets(m.resume->streams);
  // What the agent's numbers do to a relay's memory and time.
  SeenNumbers seen;
  seen.close_gaps(m.resume->seen_next, m.resume->unseen);
  CHECK(seen.unseen().size() <= kUnseenMax);
}

void check_bounds(const Welcome& m) {
  CHECK(m.services.size() <= limits::kServicesPerAgentMax);
  for (const ServiceGranted& s : m.services) check_names(s.names);
  CHECK(m.public_port != 0);
  check_offsets(m.streams);
  std::vector<std::uint64_t> open;
  for (const StreamOffset& s : m.streams) open.push_back(s.stream.value);
  SeenNumbers seen;
  seen.close_gaps(m.next_stream, open);
  CHECK(seen.unseen().size() <= kUnseenMax);
}

void check_bounds(const Refused& m) { CHECK(m.code.size() <= 64 && m.text.size() <= 1024); }
void check_bounds(const Goaway&) {}

template <class Parse>
void check(Bytes in, Parse parse) {
  auto m = parse(in);
  if (!m) return CHECK(!m.error().what.empty());
  check_bounds(*m);
  const ByteVector out = to_json(*m);
  auto again = parse(out);
  CHECK(again);
  CHECK(to_json(*again) == out);
}

}  // namespace
}  // namespace adit::link

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace adit::link;
  if (size == 0) return 0;
  const adit::Bytes in(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0: check(in, parse_hello); break;
    case 1: check(in, parse_welcome); break;
    case 2: check(in, parse_refused); break;
    default: check(in, parse_goaway); break;
  }
  return 0;
}
