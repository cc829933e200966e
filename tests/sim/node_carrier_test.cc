// Clients as they are, through a carrier as it is: batches of pipelined polls and uploads, with
// round trips of 2 s, in any order, some of them lost on either way and sent again. Every byte of
// every transfer is checked.
#include <gtest/gtest.h>
#include <jansson.h>

#include <algorithm>
#include <deque>
#include <map>
#include <functional>

#include "crypto/digest.h"
#include "proto/codec/base64.h"
#include "proto/codec/zstd.h"
#include "sim/node_ops_world.h"
#include "sim/peers.h"

namespace adit::sim {
namespace {

struct JsonFree {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

struct CarrierModel {
  Duration delay = 1s, jitter = 300ms;  // one way
  double lost_requests = 0, lost_responses = 0;
  Duration patience = 30s;  // until a batch is sent again
};

// Brings requests to the node and answers back, late, out of order, or not at all; then once more.
class Carrier {
 public:
  using Answer = std::function<void(std::string body)>;
  Carrier(NodeOpsWorld& w, const CarrierModel& model) : w_(w), model_(model) {}

  void post(std::string body, Answer answer) {
    const std::size_t id = flights_.size();
    flights_.push_back({std::move(body), std::move(answer)});
    launch(id);
  }
  std::size_t under_way() const { return under_way_; }
  std::size_t sent_again = 0, largest = 0;

 private:
  struct Flight {
    std::string body;
    Answer answer;
    bool landed = false;
  };
  Duration way() {
    return model_.delay + Duration(static_cast<std::int64_t>(w_.world.prng().below(
                              static_cast<std::uint64_t>(model_.jitter.count()) + 1)));
  }
  void launch(std::size_t id) {
    if (!w_.world.prng().chance(model_.lost_requests))
      w_.world.after(way(), [this, id] { arrive(id); });
    w_.world.after(model_.patience, [this, id] {
      if (flights_[id].landed) return;
      ++sent_again;
      launch(id);
    });
  }
  void arrive(std::size_t id) {
    Call& call = w_.ask("/tunnel/batch", flights_[id].body);
    watch(id, call);
  }
  void watch(std::size_t id, Call& call) {
    if (!call.over) return w_.world.after(20ms, [this, id, &call] { watch(id, call); });
    EXPECT_EQ(call.status, 200);
    largest = std::max(largest, call.response.size());
    if (w_.world.prng().chance(model_.lost_responses)) return;
    w_.world.after(way(), [this, id, body = std::move(call.response)]() mutable {
      if (std::exchange(flights_[id].landed, true)) return;
      flights_[id].body.clear();
      flights_[id].answer(std::move(body));
    });
  }

  NodeOpsWorld& w_;
  const CarrierModel model_;
  std::deque<Flight> flights_;
  std::size_t under_way_ = 0;
};

// One connection of an application, as the client of generation g2 and later keeps it.
struct Transfer {
  explicit Transfer(std::uint64_t s) : seed(s) {}
  std::uint64_t seed;
  std::uint64_t to_send = 0, sent = 0;        // of Pattern(seed), to an echo
  std::uint64_t expected = 0, received = 0;   // in order, and right
  std::string sid;
  bool opening = false, ended = false, failed = false;
  std::uint64_t next_seq = 0, next_wseq = 0;  // to be used
  std::uint64_t next_written = 0;             // seq whose reply the application gets next
  std::map<std::uint64_t, std::pair<ByteVector, bool>> replies;  // by seq: bytes, end
  std::size_t polls_out = 0;
  std::string why;

  bool done() const { return received == expected && (ended || to_send > 0); }
};

struct ClientModel {
  bool zstd = true;
  bool numbered = true;  // false: a serial client of old, without seq and wseq
  std::size_t depth = 3;
  std::size_t chunk = 64 << 10;
  std::string host = "near.example";
  std::uint16_t port = 7;
};

class Client {
 public:
  Client(NodeOpsWorld& w, Carrier& carrier, const ClientModel& model)
      : w_(w), carrier_(carrier), model_(model) {
    tick();
  }
  Transfer& add(std::uint64_t seed, std::uint64_t bytes, bool echo) {
    transfers_.push_back(std::make_unique<Transfer>(seed));
    transfers_.back()->to_send = echo ? bytes : 0;
    transfers_.back()->expected = bytes;
    return *transfers_.back();
  }
  bool done() const {
    return std::ranges::all_of(transfers_, [](const auto& t) { return t->done() || t->failed; });
  }
  const std::vector<std::unique_ptr<Transfer>>& transfers() const { return transfers_; }
  bool speaks_zstd() const { return zstd_on_; }
  void stop() { stopped_ = true; }

 private:
  struct Op {
    Transfer* transfer;
    std::string json;
    bool opens = false;
    std::uint64_t seq = 0;
  };

  // Ops of all connections, gathered for a moment.
  void tick() {
    if (stopped_) return;
    std::vector<Op> ops;
    for (auto& t : transfers_) {
      if (ops.size() >= 50) break;
      gather(*t, ops);
    }
    if (!ops.empty()) send(std::move(ops));
    w_.world.after(200ms, [this] { tick(); });
  }
  void gather(Transfer& t, std::vector<Op>& ops) {
    if (t.failed || t.ended || t.done()) return;
    if (t.sid.empty()) {
      if (std::exchange(t.opening, true)) return;
      std::string json = R"({"op":"connect_data","host":")" + model_.host + R"(","port":)" +
                         std::to_string(model_.port);
      const ByteVector first = take(t, 1000);
      if (!first.empty()) json += R"(,"d":")" + crypto::base64_encode(first) + "\"";
      ops.push_back({&t, json + "}", true});
      return;
    }
    const std::size_t depth = model_.numbered ? model_.depth : 1;
    if (t.polls_out >= depth) return;
    std::string json = R"({"op":"data","sid":")" + t.sid + "\"";
    if (model_.numbered) json += ",\"seq\":" + std::to_string(t.next_seq);
    const ByteVector up = take(t, model_.chunk);
    if (!up.empty()) {
      if (model_.numbered) json += ",\"wseq\":" + std::to_string(t.next_wseq++);
      json += R"(,"d":")" + crypto::base64_encode(up) + "\"";
    }
    ++t.polls_out;
    ops.push_back({&t, json + "}", false, t.next_seq++});
  }
  static ByteVector take(Transfer& t, std::size_t most) {
    ByteVector out(std::min<std::uint64_t>(most, t.to_send - t.sent));
    Pattern(t.seed).fill(t.sent, out);
    t.sent += out.size();
    return out;
  }

  void send(std::vector<Op> ops) {
    std::string list;
    for (const Op& op : ops) list += (list.empty() ? "" : ",") + op.json;
    std::string body = R"({"k":")" + std::string(NodeOpsWorld::kKey) + "\"";
    if (zstd_on_) {
      ByteVector packed;
      codec::ZstdEncoder encoder;
      EXPECT_TRUE(encoder.encode(as_bytes("[" + list + "]"), packed));
      body += R"(,"zops":")" + codec::base64_encode(packed) + "\"}";
    } else {
      body += ",\"ops\":[" + list + "]" + (model_.zstd ? ",\"zc\":1}" : "}");
    }
    carrier_.post(std::move(body), [this, ops = std::move(ops)](std::string reply) {
      on_reply(ops, std::move(reply));
    });
  }

  // Results are matched by position, as the real client does.
  void on_reply(const std::vector<Op>& ops, std::string reply) {
    Json root(json_loadb(reply.data(), reply.size(), 0, nullptr));
    ASSERT_TRUE(root) << reply.substr(0, 200);
    Json unpacked;
    const json_t* results = json_object_get(root.get(), "r");
    if (const json_t* zr = json_object_get(root.get(), "zr")) {
      ByteVector packed, text;
      ASSERT_FALSE(codec::base64_decode(json_string_value(zr), packed));
      codec::ZstdDecoder decoder;
      ASSERT_TRUE(decoder.decode(packed, std::size_t{64} << 20, text));
      unpacked.reset(json_loadb(reinterpret_cast<const char*>(text.data()), text.size(), 0,
                                nullptr));
      results = unpacked.get();
    }
    if (json_object_get(root.get(), "zc") != nullptr) zstd_on_ = model_.zstd;
    ASSERT_EQ(json_array_size(results), ops.size());
    for (std::size_t i = 0; i < ops.size(); ++i) on_result(ops[i], json_array_get(results, i));
  }
  static std::string_view text(const json_t* j, const char* name) {
    const json_t* v = json_object_get(j, name);
    return json_is_string(v) ? std::string_view(json_string_value(v), json_string_length(v))
                             : std::string_view();
  }
  void on_result(const Op& op, const json_t* result) {
    Transfer& t = *op.transfer;
    if (!text(result, "e").empty()) {
      t.failed = true;
      t.why = text(result, "e");
      return;
    }
    if (op.opens) t.sid = text(result, "sid");
    EXPECT_EQ(text(result, "sid"), t.sid);
    ByteVector bytes;
    EXPECT_FALSE(codec::base64_decode(text(result, "d"), bytes));
    const bool eof = json_is_true(json_object_get(result, "eof"));
    if (op.opens) return deliver(t, bytes, eof);
    --t.polls_out;
    const json_t* seq = json_object_get(result, "seq");
    ASSERT_EQ(seq != nullptr, model_.numbered);
    if (seq == nullptr) return deliver(t, bytes, eof);
    EXPECT_EQ(static_cast<std::uint64_t>(json_integer_value(seq)), op.seq);
    t.replies.emplace(op.seq, std::pair(std::move(bytes), eof));
    for (auto next = t.replies.find(t.next_written); next != t.replies.end();
         next = t.replies.find(t.next_written)) {
      deliver(t, next->second.first, next->second.second);
      t.replies.erase(next);
      ++t.next_written;
    }
  }
  void deliver(Transfer& t, const ByteVector& bytes, bool eof) {
    if (t.ended && !bytes.empty()) {
      t.failed = true;
      t.why = "bytes behind the end";
    }
    const std::size_t right = Pattern(t.seed).match(t.received, bytes);
    if (right != bytes.size()) {
      t.failed = true;
      t.why = "wrong at " + std::to_string(t.received + right);
    }
    t.received += right;
    t.ended = t.ended || eof;
  }

  NodeOpsWorld& w_;
  Carrier& carrier_;
  const ClientModel model_;
  bool zstd_on_ = false, stopped_ = false;
  std::vector<std::unique_ptr<Transfer>> transfers_;
};

void expect_all(const Client& client) {
  for (const auto& t : client.transfers()) {
    EXPECT_FALSE(t->failed) << t->seed << ": " << t->why;
    EXPECT_EQ(t->received, t->expected) << t->seed;
  }
}

// 100 connections at a time, upload and download of each checked to the byte.
TEST(NodeCarrier, AHundredTransfersArriveWhole) {
  World world(1);
  world.set_trace_contents(false);
  NodeOpsWorld w(world);
  EchoServer echo(w.near.loop(), Address{w.near.address(), 7});
  Carrier carrier(w, {});
  Client client(w, carrier, {});
  for (std::uint64_t i = 0; i < 100; ++i)
    client.add(i, 100'000 + world.prng().below(400'000), true);
  EXPECT_TRUE(world.run_until([&] { return client.done(); }, 30min));
  client.stop();
  expect_all(client);
  EXPECT_TRUE(client.speaks_zstd());
  EXPECT_EQ(carrier.sent_again, 0u);
}

// The same where a fifth of all batches is lost, on one way or the other, and sent again.
TEST(NodeCarrier, AHundredTransfersArriveWholeWhereBatchesGetLost) {
  World world(2);
  world.set_trace_contents(false);
  NodeOpsWorld w(world);
  EchoServer echo(w.near.loop(), Address{w.near.address(), 7});
  Carrier carrier(w, {.jitter = 3s, .lost_requests = 0.1, .lost_responses = 0.1,
                      .patience = 15s});
  // A lost opening has no number: it would open another.
  Client client(w, carrier, {.zstd = false, .chunk = 16 << 10});
  for (std::uint64_t i = 0; i < 100; ++i)
    client.add(i, 50'000 + world.prng().below(200'000), true);
  EXPECT_TRUE(world.run_until([&] { return client.done(); }, 60min));
  client.stop();
  expect_all(client);
  EXPECT_GT(carrier.sent_again, 10u);
}

// Downloads that end: the end comes behind the last byte.
TEST(NodeCarrier, DownloadsEndWhereTheyEnd) {
  World world(3);
  world.set_trace_contents(false);
  NodeOpsWorld w(world);
  PatternServer server(w.far.loop(), Address{w.far.address(), 80},
                       {.send_seed = 0, .send_bytes = 3'000'000});
  Carrier carrier(w, {.jitter = 2s});
  Client client(w, carrier, {.depth = 4, .host = "far.example", .port = 80});
  client.add(0, 3'000'000, false);
  EXPECT_TRUE(world.run_until([&] { return client.done(); }, 30min));
  client.stop();
  expect_all(client);
  EXPECT_TRUE(client.transfers().front()->ended);
}

// Clients without numbers, one op at a time.
TEST(NodeCarrier, SerialClientsOfOld) {
  World world(4);
  world.set_trace_contents(false);
  NodeOpsWorld w(world);
  EchoServer echo(w.near.loop(), Address{w.near.address(), 7});
  Carrier carrier(w, {});
  Client client(w, carrier, {.zstd = false, .numbered = false});
  for (std::uint64_t i = 0; i < 20; ++i) client.add(i, 300'000, true);
  EXPECT_TRUE(world.run_until([&] { return client.done(); }, 30min));
  client.stop();
  expect_all(client);
}

}  // namespace
}  // namespace adit::sim
