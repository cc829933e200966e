// The HTTP tunnel node in the simulator: the program's own node and its HTTP face, asked without
// HTTP's bytes (those are the business of flow/http_connection), and the servers that it tunnels
// to.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "flow/http_exchange.h"
#include "service/node/node_site.h"
#include "sim/scenario.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_resolver.h"
#include "sim/sim_world.h"

namespace adit::sim {

// One request and what became of it.
struct Call {
  std::string method = "POST", path, content_type = "application/json", body;
  Instant asked, answered;
  bool over = false;  // the whole response is there
  int status = 0;
  http::Fields fields;
  std::optional<std::uint64_t> length;
  std::string response;
  std::size_t longest_write = 0;
  // The client takes nothing of the response while this is set.
  bool stalled = false;

  Duration took() const { return answered - asked; }
};

class NodeOpsWorld {
 public:
  static constexpr std::string_view kKey = "a key for tests only";

  // `settings`: without keys it gets one.
  explicit NodeOpsWorld(World& world, service::NodeSettings settings = {});
  ~NodeOpsWorld();

  // Of the node's host; asks at once. Calls stay as long as the world.
  Call& ask(std::string path, std::string body, std::string method = "POST",
            std::string content_type = "application/json");
  Call& batch(const std::string& ops, const std::string& more = {});
  Call& single(const std::string& members);
  // The client goes away.
  void hang_up(Call& call);
  // Asks and waits.
  const std::string& batch_now(const std::string& ops);
  const std::string& single_now(const std::string& members);
  // Connects to `host`:`port` and gives the session's id.
  std::string connect(const std::string& host, std::uint16_t port);
  bool until(const World::Predicate& done, Duration limit = 60s) {
    return world.run_until(done, limit);
  }

  World& world;
  Host &host, &near, &far, &hole;  // near: 5 ms away; far: 100 ms; hole: drops everything
  SimNames names;
  SimLog log;
  Metrics metrics;
  SimResolver resolver;
  flow::BulkQueue bulk;
  service::Node node;
  service::NodeSite site;

 private:
  class Exchange;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Exchange*> exchanges_;
};

// The value of "name":"…" behind the `n`-th occurrence; empty if there is none.
std::string text_member(const std::string& json, const std::string& name, std::size_t n = 0);
std::string base64(std::string_view text);

}  // namespace adit::sim
