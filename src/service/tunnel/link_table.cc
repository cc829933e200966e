#include "service/tunnel/link_table.h"

#include <utility>

#include "flow/h2_pool.h"
#include "flow/tls_stream.h"
#include "service/tunnel/tunnel.h"

namespace adit::service {

LinkTable::LinkTable(Tunnel& tunnel, io::Loop& loop, Log& log, Metrics& metrics,
                     const crypto::TlsContext& tls)
    : tunnel_(tunnel), loop_(loop), log_(log), metrics_(metrics), tls_(&tls) {}

void LinkTable::count() {
  metrics_.gauge("adit_links").set(static_cast<std::int64_t>(links_.size()));
}

RelayLink& LinkTable::add(std::unique_ptr<flow::Carrier> carrier) {
  metrics_.counter("adit_links_total").add();
  ++unauthenticated_;
  RelayLink& link = links_.add(std::make_unique<RelayLink>(
      tunnel_, std::move(carrier), loop_.now() + limits::kLinkHandshakeDeadline));
  in_order_.push_back(&link);
  count();
  return link;
}

void LinkTable::accept(std::unique_ptr<flow::Duplex> stream, std::string_view carrier,
                       const Address& peer, const std::string& sni) {
  const auto unproven = unproven_tcp_.find(peer.ip);
  const bool too_many = unproven != unproven_tcp_.end() &&
                        unproven->second >= limits::kUnauthenticatedLinksPerAddressMax;
  if (!has_room() || too_many) {
    metrics_.counter("adit_links_refused_total", "code=\"busy\"").add();
    return;  // closes it
  }
  auto session = crypto::TlsSession::server(*tls_);
  if (!session) return log_.error("tunnel.tls", {{"what", session.error().what}});
  ++unproven_tcp_[peer.ip];
  h2::Settings settings;
  settings.stream_window_bytes = limits::kStreamWindowBytes;
  settings.connection_window_bytes = limits::kLinkWindowBytes;
  auto tls = std::make_unique<flow::TlsStream>(loop_, std::move(stream), std::move(*session));
  auto connection = std::make_unique<flow::H2Link>(loop_, std::move(tls), carrier, peer,
                                                   h2::Connection::Role::Client, settings,
                                                   sni.empty() ? "adit" : sni);
  add(std::make_unique<flow::H2Pool>(std::move(connection)));
}

void LinkTable::settled(RelayLink& link) {
  --unauthenticated_;
  const auto found = unproven_tcp_.find(link.carrier().stats().peer.ip);
  if (link.carrier().stats().name == "quic" || found == unproven_tcp_.end()) return;
  if (--found->second == 0) unproven_tcp_.erase(found);
}

void LinkTable::bound(const RelayLink& newest, std::size_t links_max) {
  std::vector<RelayLink*> same;
  for (RelayLink* l : in_order_) {
    // One that has not said what it wants may be a further connection of another.
    const bool said = l->state() == link::LinkState::Granting ||
                      l->state() == link::LinkState::Live ||
                      l->state() == link::LinkState::Draining;
    if (l != &newest && l->key() == newest.key() && said && !l->join()) same.push_back(l);
  }
  for (std::size_t i = 0; same.size() - i >= links_max; ++i) {
    metrics_.counter("adit_links_replaced_total").add();
    log_.info("tunnel.links_per_key", {{"agent", newest.key().text}, {"closed", "oldest"}});
    same[i]->close(link::CloseCode::Superseded, "more links than one key may have");
  }
}

void LinkTable::remove(RelayLink& link) {
  std::erase(in_order_, &link);
  links_.erase(link);
  count();
}

}  // namespace adit::service
