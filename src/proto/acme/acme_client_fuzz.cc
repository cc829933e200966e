// An order against a server that answers as the input says: it must end, and never send to what is
// no https URL.
//
// The input: answers, each a byte of flags, two of length, and the body. Flags: bits 0 to 3 choose
// the status, 4 a nonce, 5 a Location, 6 a Retry-After, 7 no answer at all.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "proto/acme/client.h"
#include "proto/http/url.h"

namespace {

using namespace adit;

http::Response answer_of(std::uint8_t flags, Bytes body) {
  constexpr int kStatus[] = {200, 200, 200, 201, 400, 403, 404, 409, 429, 500, 503, 301, 204, 200,
                             200, 200};
  http::Response out;
  out.status = kStatus[flags & 15];
  if (flags & 16) out.fields.emplace_back("replay-nonce", "abc");
  if (flags & 32) out.fields.emplace_back("location", "https://ca.test/x");
  if (flags & 64) out.fields.emplace_back("retry-after", "3");
  out.body = as_text(body);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const crypto::PrivateKey key = crypto::PrivateKey::generate();
  acme::OrderOptions options;
  options.directory = "https://ca.test/directory";
  options.account_key = &key;
  options.certificate_key = &key;
  options.names = {"a.test", "*.a.test"};
  options.challenge = acme::ChallengeKind::Dns;
  acme::Client client(options);
  Reader in(Bytes(data, size));
  Instant now{1};
  acme::Step step = client.start(now);
  for (int turns = 0; turns < 400; ++turns) {
    if (const auto* send = std::get_if<acme::Send>(&step)) {
      CHECK(http::parse_https_url(send->request.url));
      const std::uint8_t flags = in.u8();
      if (!in.ok()) return 0;
      if (flags & 128) {
        step = client.on_unreachable(now, Error{ETIMEDOUT, "silence"});
        continue;
      }
      const std::size_t length = std::min<std::size_t>(in.u16(), in.left());
      step = client.on_response(now, WallTime{}, answer_of(flags, in.bytes(length)));
    } else if (const auto* wait = std::get_if<acme::Wait>(&step)) {
      CHECK(wait->until > now);
      now = wait->until;
      step = client.on_time(now);
    } else if (std::holds_alternative<acme::Prove>(step)) {
      step = client.on_proven(now);
    } else {
      return 0;
    }
  }
  return 0;
}
