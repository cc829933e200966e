// Where a session of the node goes: checked before the name is looked up, and again by address when
// it was; what is connected to is what was checked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/node/node_key.h"

namespace adit::service {

// What every session works with; outlives them all.
struct NodeContext {
  io::Loop& loop;
  io::Resolver& resolver;
  Log& log;
  Metrics& metrics;
  class BufferBudget& budget;
};

class Destination {
 public:
  // EACCES: the key may not go there. ENOENT: it is neither a name nor an address.
  static Result<Destination> make(NodeContext& context, NodeKey& key, const std::string& host,
                                  std::uint16_t port);

  std::string host() const { return host_.text(); }  // for the resolver
  std::uint16_t port() const { return port_; }
  // Of what the host turned out to be. EACCES as above.
  Result<std::vector<Address>> select(const std::vector<Address>& found);

 private:
  Destination(NodeContext& context, NodeKey& key, route::EgressHost host, std::uint16_t port)
      : context_(&context), key_(&key), host_(std::move(host)), port_(port) {}
  Error refused(const route::EgressRefusal& refusal) const;

  NodeContext* context_;
  NodeKey* key_;
  route::EgressHost host_;
  std::uint16_t port_;
};

// "connect failed: Connection refused (os error 111)": `prefix`, and the cause as clients know it.
std::string failure_text(std::string_view prefix, const Error& error, bool resolving,
                         bool out_of_time);

}  // namespace adit::service
