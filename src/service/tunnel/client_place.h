// Where a client of QUIC that passes through is, as its datagrams show it: a NAT on its way may
// move it at any time, the network may hold datagrams back, and whoever only waits for answers
// sends nothing that would mend a wrong guess.
#pragma once

#include <optional>

#include "base/address.h"
#include "base/time.h"

namespace adit::service {

class ClientPlace {
 public:
  // What comes from an address that was left within kSettled is no way back by itself: it may have
  // been on its way since.
  static constexpr Duration kSettled = 1s;
  // Nor does a NAT never give a port twice within that. Where for so long only the address that was
  // left has been heard from, answers go to both; when it is heard again, to it alone.
  static constexpr Duration kInDoubt = 200ms;

  explicit ClientPlace(const Address& at = {}) : at_(at) {}

  const Address& at() const { return at_; }

  // A datagram from `from`. `known`: the client has been there before. `moves`: it is of the kind
  // that nobody could write who has not seen the connection's packets. Whether the client is
  // somewhere else now.
  bool hear(const Address& from, bool known, bool moves, Instant now) {
    if (from == at_) {
      doubt_.reset();
      return false;
    }
    if (!moves) return false;
    if (known && now < moved_ + kSettled && !doubted(from, now)) return false;
    at_ = from;
    moved_ = now;
    doubt_.reset();
    return true;
  }

  // Where an answer has to go besides, if anywhere.
  std::optional<Address> also(Instant now) const {
    if (!doubt_ || now < doubt_->since + kInDoubt) return std::nullopt;
    return doubt_->at;
  }

 private:
  struct Doubt {
    Address at;
    Instant since;
  };

  // Another left address than before begins the doubt anew.
  bool doubted(const Address& from, Instant now) {
    if (!doubt_ || doubt_->at != from) doubt_ = Doubt{from, now};
    return now >= doubt_->since + kInDoubt;
  }

  Address at_;
  Instant moved_;
  std::optional<Doubt> doubt_;
};

}  // namespace adit::service
