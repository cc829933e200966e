// The agents' links on one thread of the relay: how they come in over TCP, how many there may be,
// and which there are. What they say is the Tunnel's business.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "flow/duplex.h"
#include "service/edge/owned_list.h"
#include "service/tunnel/relay_link.h"

namespace adit::service {

class LinkTable {
 public:
  // `tunnel` hears the links; `tls` is for new links over TCP and outlives them.
  LinkTable(Tunnel& tunnel, io::Loop& loop, Log& log, Metrics& metrics,
            const crypto::TlsContext& tls);
  LinkTable(const LinkTable&) = delete;
  LinkTable& operator=(const LinkTable&) = delete;

  void set_tls(const crypto::TlsContext& tls) { tls_ = &tls; }

  RelayLink& add(std::unique_ptr<flow::Carrier> carrier);
  // A link over a stream, which TLS begins; `carrier`: its name, for good. Too many that have not
  // proven who they are, of one address or of all, and it is closed.
  void accept(std::unique_ptr<flow::Duplex> stream, std::string_view carrier, const Address& peer,
              const std::string& sni);
  // The link is past its greeting, or over; once for each.
  void settled(RelayLink& link);
  // An agent that opens link after link replaces its own, not others': all but the newest of a key,
  // of which it may have `links_max`, are closed from the oldest on.
  void bound(const RelayLink& newest, std::size_t links_max);
  // Destroys it.
  void remove(RelayLink& link);

  // Links before their WELCOME.
  std::size_t unauthenticated() const { return unauthenticated_; }
  bool has_room() const { return unauthenticated_ < limits::kUnauthenticatedLinksMax; }
  std::size_t size() const { return links_.size(); }
  // From the oldest on; a copy, since closing one may remove it.
  std::vector<RelayLink*> all() const { return in_order_; }

 private:
  void count();

  Tunnel& tunnel_;
  io::Loop& loop_;
  Log& log_;
  Metrics& metrics_;
  const crypto::TlsContext* tls_;
  std::size_t unauthenticated_ = 0;
  std::unordered_map<IpAddress, std::size_t, AddressHash> unproven_tcp_;  // of those, by address
  OwnedList<RelayLink> links_;
  std::vector<RelayLink*> in_order_;
};

}  // namespace adit::service
