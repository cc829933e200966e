#include "service/node/destination.h"

#include <algorithm>
#include <cerrno>

#include "proto/node/reply.h"

namespace adit::service {

namespace {

// The kernel sends packets to one of its own addresses from that address. Asked each time, because
// addresses come and go; nothing is sent by that.
bool is_own(io::Loop& loop, const Address& to) {
  const IpAddress any = to.ip.is_v4() ? IpAddress::any4() : IpAddress::any6();
  auto socket = loop.open_udp(Address{any, 0}, {});
  if (!socket || !loop.connect_udp(*socket, to)) return false;
  return loop.local_address(*socket).ip == to.ip;
}

}  // namespace

Result<Destination> Destination::make(NodeContext& context, NodeKey& key, const std::string& host,
                                      std::uint16_t port) {
  auto parsed = route::parse_egress_host(host);
  if (!parsed) return Error{ENOENT, parsed.error().what};
  Destination out(context, key, std::move(*parsed), port);
  if (const auto refusal = key.egress().check_name(out.host_, port)) return out.refused(*refusal);
  return out;
}

Error Destination::refused(const route::EgressRefusal& refusal) const {
  const std::string label = "reason=\"" + std::string(code(refusal)) + "\"";
  context_->metrics.counter("adit_node_egress_refused_total", label).add();
  context_->log.debug("node.egress_refused", {{"key", key_->name()}, {"what", refusal.text}});
  return {EACCES, refusal.text};
}

Result<std::vector<Address>> Destination::select(const std::vector<Address>& found) {
  auto selected = key_->egress().select(host_, found);
  std::vector<Address>& allowed = selected.allowed;
  const std::size_t before = allowed.size();
  std::erase_if(allowed, [&](const Address& to) {
    return route::use_of(to.ip) == route::AddressUse::Ordinary && is_own(context_->loop, to);
  });
  if (!allowed.empty()) return std::move(allowed);
  if (selected.refusal) return refused(*selected.refusal);
  if (before > 0)
    return refused({route::EgressRefusal::Reason::Own, {}, host_.text() + " is the node itself"});
  return Error{ENOENT, "no address"};
}

std::string failure_text(std::string_view prefix, const Error& error, bool resolving,
                         bool out_of_time) {
  std::string out(prefix);
  if (error.code == EACCES) return out + node::os_error_text(EACCES);
  if (out_of_time || (resolving && error.code == ETIMEDOUT)) return out + "connect timeout";
  if (resolving) {
    const bool again = error.code == EAGAIN;
    return out + "failed to lookup address information: " +
           (again ? "Temporary failure in name resolution" : "Name or service not known");
  }
  if (error.code == ENOENT) return out + "could not resolve to any address";
  return out + node::os_error_text(error.code);
}

}  // namespace adit::service
