#include "sim/node_ops_world.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/digest.h"

namespace adit::sim {

namespace {

service::NodeSettings with_key(service::NodeSettings settings) {
  if (settings.keys.empty()) {
    service::NodeKeySettings key;
    key.name = "test";
    key.secret = NodeOpsWorld::kKey;
    // The servers' addresses are for documentation, and closed by default.
    for (const char* open : {"203.0.113.0/24", "2001:db8::/32"})
      key.egress.allow.push_back(*route::parse_egress_rule(open));
    settings.keys.push_back(std::move(key));
  }
  return settings;
}

constexpr std::size_t kPiece = 16384;  // of a body, at a time

}  // namespace

class NodeOpsWorld::Exchange final : public flow::HttpExchange {
 public:
  Exchange(NodeOpsWorld& owner, Call& call, http::RequestHead head)
      : HttpExchange(std::move(head)),
        owner_(owner),
        call_(call),
        task_(Delegate<void()>::to<&Exchange::on_task>(this)) {
    owner_.exchanges_.push_back(this);
  }
  ~Exchange() override { std::erase(owner_.exchanges_, this); }

  Call& call() { return call_; }
  void gone() {
    if (listener_ != nullptr) listener_->on_gone(Error{ECONNRESET, "the client is gone"});
  }
  void writable() {
    if (listener_ != nullptr) listener_->on_writable();
  }

  Bytes readable() override {
    return as_bytes(std::string_view(call_.body).substr(read_, kPiece));
  }
  void consume(std::size_t n) override {
    read_ += n;
    owner_.host.loop().run_later(task_);
  }
  bool at_end() override { return read_ == call_.body.size(); }
  void inform(const http::ResponseHead&) override {}
  void respond(const http::ResponseHead& head) override {
    EXPECT_EQ(call_.status, 0);
    call_.status = head.status;
    call_.fields = head.fields;
    call_.length = head.length;
  }
  std::size_t write(Bytes bytes) override {
    if (call_.stalled) return 0;
    call_.longest_write = std::max(call_.longest_write, bytes.size());
    call_.response += as_text(bytes);
    return bytes.size();
  }
  void finish() override {
    call_.over = true;
    call_.answered = owner_.host.loop().now();
    if (call_.length) {
      EXPECT_EQ(call_.response.size(), *call_.length);
    }
  }
  void abort() override {}
  std::unique_ptr<flow::Duplex> switch_protocol(const http::ResponseHead&) override {
    return nullptr;
  }

 private:
  void on_task() {
    if (!told_end_ && listener_ != nullptr) {
      told_end_ = at_end();
      listener_->on_body();
    }
  }

  NodeOpsWorld& owner_;
  Call& call_;
  std::size_t read_ = 0;
  bool told_end_ = false;
  io::Task task_;
};

NodeOpsWorld::NodeOpsWorld(World& w, service::NodeSettings settings)
    : world(w),
      host(w.add_host("node", {IpAddress::v4(192, 0, 2, 1), *IpAddress::parse("2001:db8::1")})),
      near(w.add_host("near", {IpAddress::v4(203, 0, 113, 1), *IpAddress::parse("2001:db8::2")})),
      far(w.add_host("far", {IpAddress::v4(203, 0, 113, 2)})),
      hole(w.add_host("hole", {IpAddress::v4(203, 0, 113, 3), *IpAddress::parse("2001:db8::3")})),
      log(host),
      resolver(host.loop(), names),
      bulk(host.loop()),
      node(host.loop(), resolver, log, metrics, with_key(std::move(settings))),
      site(node, bulk) {
  world.set_link(host, near, {.delay = 5ms});
  world.set_link(host, far, {.delay = 50ms});
  world.cut(host, hole);
  names.set("near.example", {near.address()});
  names.set("far.example", {far.address()});
  names.set("hole.example", {hole.address()});
  names.set("inside.example", {IpAddress::v4(10, 0, 0, 1)});
}

NodeOpsWorld::~NodeOpsWorld() {
  while (!exchanges_.empty()) exchanges_.front()->gone();
}

Call& NodeOpsWorld::ask(std::string path, std::string body, std::string method,
                     std::string content_type) {
  calls_.push_back(std::make_unique<Call>());
  Call& call = *calls_.back();
  call.path = std::move(path);
  call.body = std::move(body);
  call.method = std::move(method);
  call.asked = host.loop().now();
  http::RequestHead head;
  head.method = call.method;
  head.target = call.path;
  if (!content_type.empty()) head.fields.push_back({"content-type", std::move(content_type)});
  site.serve(std::make_unique<Exchange>(*this, call, std::move(head)));
  return call;
}

Call& NodeOpsWorld::batch(const std::string& ops, const std::string& more) {
  return ask("/tunnel/batch",
             "{\"k\":\"" + std::string(kKey) + "\",\"ops\":[" + ops + "]" + more + "}");
}

Call& NodeOpsWorld::single(const std::string& members) {
  return ask("/tunnel", "{\"k\":\"" + std::string(kKey) + "\"," + members + "}");
}

void NodeOpsWorld::hang_up(Call& call) {
  for (Exchange* e : exchanges_)
    if (&e->call() == &call) return e->gone();
}

const std::string& NodeOpsWorld::batch_now(const std::string& ops) {
  Call& call = batch(ops);
  EXPECT_TRUE(until([&] { return call.over; }));
  EXPECT_EQ(call.status, 200);
  return call.response;
}

const std::string& NodeOpsWorld::single_now(const std::string& members) {
  Call& call = single(members);
  EXPECT_TRUE(until([&] { return call.over; }));
  EXPECT_EQ(call.status, 200);
  return call.response;
}

std::string NodeOpsWorld::connect(const std::string& to, std::uint16_t port) {
  const std::string& out = single_now(R"("op":"connect","host":")" + to + R"(","port":)" +
                                      std::to_string(port));
  return text_member(out, "sid");
}

std::string text_member(const std::string& json, const std::string& name, std::size_t n) {
  const std::string key = "\"" + name + "\":\"";
  std::size_t at = json.find(key);
  while (n-- > 0 && at != json.npos) at = json.find(key, at + 1);
  if (at == json.npos) return {};
  at += key.size();
  return json.substr(at, json.find('"', at) - at);
}

std::string base64(std::string_view text) { return crypto::base64_encode(as_bytes(text)); }

}  // namespace adit::sim
