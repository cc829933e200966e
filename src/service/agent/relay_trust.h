// Whether a relay is the one it should be: a pinned key, a certificate of the public web (WebPKI),
// or the key remembered from the first time. Decides what each attempt verifies and what its
// outcome means; pure but for the file of remembered keys.
#pragma once

#include <optional>
#include <string>

#include "base/log.h"
#include "service/agent/known_relays.h"

namespace adit::service {

class RelayTrust {
 public:
  enum class Mode : std::uint8_t {
    WebPki,    // the handshake verifies chain and name
    ByKey,     // the handshake proves the key; accept() judges it
  };

  // `relay`: "HOST:PORT", the entry's name in the file. `pin`: "sha256/…" or empty.
  RelayTrust(std::string relay, std::string pin, const KnownRelaysFile& file, Log& log)
      : relay_(std::move(relay)), pin_(std::move(pin)), file_(file), log_(log) {}

  // For the next attempt.
  Mode mode();
  // A handshake is done; `pin_seen` is the relay's key, `used` what this handshake has verified:
  // several links race, and what one of them found out must not count for another. An error: not
  // our relay, close.
  Status accept(const std::string& pin_seen, Mode used);
  // The last attempt failed on the relay's certificate. True: another mode may be tried at once.
  bool certificate_failed();

 private:
  std::string relay_;
  std::string pin_;
  const KnownRelaysFile& file_;
  Log& log_;
  bool web_pki_failed_ = false;  // since the last success
};

}  // namespace adit::service
