#include "service/node/node_site.h"

#include "service/node/node_exchange.h"

namespace adit::service {

NodeSite::NodeSite(Node& node, flow::BulkQueue& bulk)
    : node_(node), bulk_(bulk), squeeze_(bulk) {}

NodeSite::~NodeSite() = default;

bool NodeSite::wants(std::string_view target) {
  return NodeExchange::route_of(target) >= NodeExchange::Route::Single;
}

void NodeSite::serve(std::unique_ptr<flow::HttpExchange> exchange) {
  exchanges_.add(std::make_unique<NodeExchange>(*this, std::move(exchange))).start();
}

bool NodeSite::may_read(const NodeExchange& exchange, std::size_t more) {
  if (bodies_bytes_ + more > limits::kNodeBodiesBytesMax && reading_.front() != &exchange) {
    starved_ = true;
    return false;
  }
  bodies_bytes_ += more;
  return true;
}

void NodeSite::give_back(std::size_t n) {
  bodies_bytes_ -= n;
  if (!std::exchange(starved_, false)) return;
  List<NodeExchange, ReadingBody> all;
  all.take_all(reading_);
  while (NodeExchange* e = all.pop_front()) {
    reading_.push_back(*e);
    e->read_later();
  }
}

}  // namespace adit::service
