// The relay's own HTTPS, on its own name: the door for links inside a WebSocket, and a word to
// whoever else comes by.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "flow/duplex.h"
#include "service/edge/edge.h"
#include "service/edge/owned_list.h"

namespace adit::service {

class SiteVisit;

// Where the site's services are.
class SiteDoor {
 public:
  // An agent's link, whose TLS is inside `stream`. `thread`: where its session is, by its own word.
  virtual void link_inside(std::unique_ptr<flow::Duplex> stream, const Address& peer,
                           const std::string& sni, std::optional<std::uint32_t> thread) = 0;

 protected:
  ~SiteDoor() = default;
};

class Site {
 public:
  // All outlive it. `tls`: the relay's certificate, ALPN http/1.1.
  Site(io::Loop& loop, Log& log, Metrics& metrics, Edge& edge, SiteDoor& door,
       const crypto::TlsContext& tls);
  ~Site();

  // Takes the visitor, who has entered at the edge.
  void visit(Visitor visitor);
  void abort_all();

 private:
  friend class SiteVisit;

  io::Loop& loop_;
  Log& log_;
  Metrics& metrics_;
  Edge& edge_;
  SiteDoor& door_;
  const crypto::TlsContext& tls_;
  OwnedList<SiteVisit> visits_;
};

}  // namespace adit::service
