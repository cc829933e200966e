// The node's HTTP face: /tunnel, /tunnel/batch, /health. Whoever has no key is answered as by a
// web server that has nothing there, whatever he asks.
#pragma once

#include <memory>
#include <string>

#include "base/limits_node.h"
#include "flow/bulk_queue.h"
#include "flow/http_exchange.h"
#include "proto/codec/zstd.h"
#include "service/edge/owned_list.h"
#include "service/node/node.h"
#include "service/node/squeeze.h"

namespace adit::service {

class NodeExchange;
struct ReadingBody;

class NodeSite {
 public:
  // `node` and `bulk` outlive it.
  NodeSite(Node& node, flow::BulkQueue& bulk);
  ~NodeSite();

  // Whether a relay that has other things to serve leaves this to the node.
  static bool wants(std::string_view target);
  void serve(std::unique_ptr<flow::HttpExchange> exchange);
  std::size_t exchanges() const { return exchanges_.size(); }

 private:
  friend class NodeExchange;

  // Bodies are read while there is room for them; the oldest always is, so that one gets done.
  bool may_read(const NodeExchange& exchange, std::size_t more);
  void give_back(std::size_t n);

  Node& node_;
  flow::BulkQueue& bulk_;
  Squeeze squeeze_;
  codec::ZstdDecoder decoder_;
  std::size_t bodies_bytes_ = 0;
  bool starved_ = false;  // some body waits for room
  List<NodeExchange, ReadingBody> reading_;  // the oldest first
  OwnedList<NodeExchange> exchanges_;
};

}  // namespace adit::service
