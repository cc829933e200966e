// The relay's own HTTPS, on its own name: the door for links inside a WebSocket, and a word to
// whoever else comes by.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "flow/bulk_queue.h"
#include "flow/duplex.h"
#include "flow/pump.h"
#include "service/edge/edge.h"
#include "service/edge/owned_list.h"

namespace adit::service {

class NodeSite;
class SiteBridge;
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
  // All outlive it. `tls`: the relay's certificate, ALPN h2 and http/1.1.
  Site(io::Loop& loop, Log& log, Metrics& metrics, Edge& edge, SiteDoor& door,
       const crypto::TlsContext& tls);
  ~Site();

  // For visitors from now on; outlives the site or the next.
  void set_tls(const crypto::TlsContext& tls) { tls_ = &tls; }
  // What is the node's goes there; outlives the site.
  void set_node(NodeSite* node) { node_ = node; }
  // Takes the visitor, who has entered at the edge.
  void visit(Visitor visitor);
  // A link whose session is on another thread: `near` leads there. Not a visitor: it lasts as long
  // as the link, and nobody waits for it to end.
  void bridge(io::Socket near, std::unique_ptr<flow::Duplex> far);
  // Visits; a link may still have to say goodbye through a bridge.
  void abort_all();

 private:
  friend class SiteBridge;
  friend class SiteVisit;

  io::Loop& loop_;
  Log& log_;
  Metrics& metrics_;
  Edge& edge_;
  SiteDoor& door_;
  const crypto::TlsContext* tls_;
  NodeSite* node_ = nullptr;
  OwnedList<SiteVisit> visits_;
  flow::BulkQueue bulk_;
  const flow::PumpLimits bridge_limits_{2 * limits::kLinkIdleTimeout, limits::kLinkIdleTimeout};
  OwnedList<SiteBridge> bridges_;
};

}  // namespace adit::service
