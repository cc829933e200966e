#include "sim/node_client.h"

#include <jansson.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "io/loop.h"
#include "proto/codec/base64.h"
#include "sim/sim_loop.h"

namespace adit::sim {

namespace {

constexpr std::size_t kOpsPerBatch = 50;
constexpr std::size_t kBatchBytes = std::size_t{4} << 20;
constexpr std::size_t kUploadBytes = std::size_t{48} << 10;
constexpr Duration kGather = 200ms;
constexpr Duration kUploadPause = 100ms;
constexpr Duration kPollSpacing = 1s;

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

struct FreeJson {
  void operator()(json_t* j) const { json_decref(j); }
};
using Json = std::unique_ptr<json_t, FreeJson>;

std::string text_of(json_t* object, const char* name) {
  const char* text = json_string_value(json_object_get(object, name));
  return text == nullptr ? std::string() : std::string(text);
}

}  // namespace

// One request and its answer, over a connection of its own.
class NodeClient::Fetch {
 public:
  Fetch(NodeClient& client, std::uint64_t number, std::shared_ptr<Batch> batch, bool drop)
      : client_(client),
        loop_(client.bridge_.loop()),
        number_(number),
        batch_(std::move(batch)),
        drop_(drop),
        request_("POST /tunnel/batch HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n"
                 "Connection: close\r\nContent-Length: " +
                 std::to_string(batch_->body.size()) + "\r\n\r\n" + batch_->body),
        connect_(io::Op::Handler::to<&Fetch::on_connected>(this)),
        writable_(io::Op::Handler::to<&Fetch::on_writable>(this)),
        receive_(io::Op::Handler::to<&Fetch::on_received>(this)) {
    auto socket = loop_.open_tcp(client.node_);
    CHECK(socket);
    socket_ = std::move(*socket);
    loop_.connect(connect_, socket_, client.node_);
  }

 private:
  void on_connected(const io::Completion& c) {
    if (c.result < 0) return end(0);
    loop_.receive(receive_, socket_);
    push();
  }
  void on_writable(const io::Completion& c) {
    if (c.result < 0) return end(0);
    push();
  }
  void push() {
    while (sent_ < request_.size()) {
      const auto n = loop_.send(socket_, as_bytes(request_).subspan(sent_));
      if (!n) return end(0);
      if (*n == 0) return loop_.poll(writable_, socket_.raw(), io::kWritable);
      sent_ += *n;
    }
    if (drop_) end(0);  // whoever asked has gone
  }
  void on_received(const io::Completion& c) {
    if (c.result <= 0) return end(0);
    answer_ += as_text(c.data);
    const std::size_t head = answer_.find("\r\n\r\n");
    if (head == answer_.npos) return;
    const std::size_t length = answer_.find("content-length: ");
    if (length > head || !answer_.starts_with("HTTP/1.1 ")) return end(0);
    const std::size_t body = std::strtoull(answer_.c_str() + length + 16, nullptr, 10);
    if (answer_.size() < head + 4 + body) return;
    const int status = std::atoi(answer_.c_str() + 9);
    answer_ = answer_.substr(head + 4, body);
    end(status);
  }
  // Later, outside of this one's handlers.
  void end(int status) {
    if (std::exchange(ended_, true)) return;
    socket_.reset();
    NodeClient& client = client_;
    client.world_.after(client.travel(), [&client, number = number_, batch = batch_, status,
                                          body = std::move(answer_)] {
      client.fetches_.erase(number);
      client.on_answer(batch, status, body);
    });
  }

  NodeClient& client_;
  io::Loop& loop_;
  const std::uint64_t number_;
  std::shared_ptr<Batch> batch_;
  const bool drop_;
  const std::string request_;
  std::size_t sent_ = 0;
  bool ended_ = false;
  std::string answer_;
  io::Socket socket_;
  io::Op connect_, writable_, receive_;
};

NodeClient::NodeClient(World& world, Host& bridge, const Address& node, std::string key, bool zstd,
                       const CarrierModel& carrier)
    : world_(world),
      bridge_(bridge),
      node_(node),
      key_(std::move(key)),
      zstd_(zstd),
      carrier_(carrier) {}

NodeClient::~NodeClient() = default;

Duration NodeClient::travel() {
  const auto most = static_cast<std::uint64_t>(carrier_.jitter.count()) + 1;
  return carrier_.each_way + Duration(world_.prng().below(most));
}

NodeSession& NodeClient::open(const std::string& host, std::uint16_t port, std::uint64_t seed,
                              std::uint64_t bytes) {
  sessions_.push_back(std::make_unique<NodeSession>(*this, host, port, seed, bytes));
  sessions_.back()->start();
  return *sessions_.back();
}

bool NodeClient::done() const {
  return !error_.empty() || std::all_of(sessions_.begin(), sessions_.end(),
                                        [](const auto& s) { return s->done(); });
}

void NodeClient::fail(std::string why) {
  if (error_.empty()) error_ = std::move(why);
}

void NodeClient::submit(Op op) {
  pending_.push_back(std::move(op));
  if (std::exchange(gathering_, true)) return;
  world_.after(kGather, [this] {
    gathering_ = false;
    gather();
  });
}

void NodeClient::gather() {
  while (!pending_.empty() && in_flight_ < carrier_.batches_max && error_.empty()) {
    auto batch = std::make_shared<Batch>();
    std::size_t bytes = 0;
    while (!pending_.empty() && batch->ops.size() < kOpsPerBatch && bytes < kBatchBytes) {
      bytes += pending_.front().json.size();
      batch->repeatable = batch->repeatable && pending_.front().repeatable;
      batch->ops.push_back(std::move(pending_.front()));
      pending_.pop_front();
    }
    batch->body = body_of(*batch);
    ++in_flight_;
    send(std::move(batch));
  }
}

std::string NodeClient::body_of(const Batch& batch) {
  std::string ops = "[";
  for (const Op& op : batch.ops) ops += (ops.size() > 1 ? "," : "") + op.json;
  ops += "]";
  const std::string head = "{\"k\":" + quoted(key_);
  if (!zstd_) return head + ",\"ops\":" + ops + "}";
  if (!offered_) return head + ",\"ops\":" + ops + ",\"zc\":1}";
  ByteVector packed;
  CHECK(encoder_.encode(as_bytes(ops), packed));
  return head + ",\"zops\":" + quoted(codec::base64_encode(packed)) + ",\"zc\":1}";
}

void NodeClient::send(std::shared_ptr<Batch> batch) {
  world_.after(travel(), [this, batch = std::move(batch)] { begin(batch); });
}

void NodeClient::begin(std::shared_ptr<Batch> batch) {
  ++stats_.batches;
  const bool drop = batch->repeatable && world_.prng().chance(carrier_.lose / 2);
  const std::uint64_t number = next_fetch_++;
  fetches_.emplace(number, std::make_unique<Fetch>(*this, number, std::move(batch), drop));
}

void NodeClient::on_answer(std::shared_ptr<Batch> batch, int status, const std::string& body) {
  if (status == 0 || (batch->repeatable && world_.prng().chance(carrier_.lose / 2))) {
    ++stats_.lost;
    if (!batch->repeatable) return fail("a batch that opens sessions got no answer");
    return send(std::move(batch));
  }
  --in_flight_;
  if (status != 200) return fail("status " + std::to_string(status) + ": " + body.substr(0, 200));
  take(*batch, body);
  gather();
}

void NodeClient::take(const Batch& batch, const std::string& body) {
  Json reply(json_loadb(body.data(), body.size(), 0, nullptr));
  if (!reply) return fail("no JSON");
  if (json_object_get(reply.get(), "zc") != nullptr) offered_ = true;
  Json unpacked;
  json_t* results = json_object_get(reply.get(), "r");
  if (json_t* packed = json_object_get(reply.get(), "zr")) {
    ++stats_.compressed;
    ByteVector frame, text;
    if (codec::base64_decode(json_string_value(packed), frame)) return fail("zr is no base64");
    if (!decoder_.decode(frame, std::size_t{64} << 20, text)) return fail("zr is no zstd");
    unpacked.reset(json_loadb(reinterpret_cast<const char*>(text.data()), text.size(), 0, nullptr));
    results = unpacked.get();
  }
  if (json_array_size(results) != batch.ops.size())
    return fail("not one result for each op: " + body.substr(0, 200));
  for (std::size_t i = 0; i < batch.ops.size(); ++i) {
    json_t* result = json_array_get(results, i);
    const Op& op = batch.ops[i];
    if (op.session == nullptr) continue;  // close
    if (json_object_get(result, "e") != nullptr) return fail(text_of(result, "e"));
    NodeSession::Reply got;
    const std::string data = text_of(result, "d");
    if (codec::base64_decode(data, got.bytes)) return fail("d is no base64");
    got.eof = json_is_true(json_object_get(result, "eof"));
    const std::string sid = text_of(result, "sid");
    json_t* seq = json_object_get(result, "seq");
    if (op.session->sid_.empty()) {
      op.session->on_opened(sid, std::move(got));
    } else if (sid != op.session->sid_ || !json_is_integer(seq) ||
               json_integer_value(seq) != static_cast<json_int_t>(op.number)) {
      return fail("an answer is not this op's");
    } else {
      op.session->on_reply(op.number, std::move(got));
    }
  }
}

// --- a session ---

NodeSession::NodeSession(NodeClient& client, std::string host, std::uint16_t port,
                         std::uint64_t seed, std::uint64_t bytes)
    : client_(client), host_(std::move(host)), port_(port), pattern_(seed), total_(bytes) {}

void NodeSession::start() {
  ByteVector first(static_cast<std::size_t>(std::min<std::uint64_t>(total_, 500)));
  pattern_.fill(0, first);
  sent_ = first.size();
  client_.submit({this,
                  "{\"op\":\"connect_data\",\"host\":" + quoted(host_) + ",\"port\":" +
                      std::to_string(port_) + ",\"d\":" + quoted(codec::base64_encode(first)) + "}",
                  0, false});
}

void NodeSession::on_opened(const std::string& sid, Reply reply) {
  sid_ = sid;
  take(reply);
  upload();
  fill();
}

void NodeSession::upload() {
  if (sent_ == total_) return;
  ByteVector chunk(static_cast<std::size_t>(std::min<std::uint64_t>(total_ - sent_, kUploadBytes)));
  pattern_.fill(sent_, chunk);
  sent_ += chunk.size();
  const std::uint64_t number = seq_++;
  client_.submit({this,
                  "{\"op\":\"data\",\"sid\":" + quoted(sid_) + ",\"seq\":" +
                      std::to_string(number) + ",\"wseq\":" + std::to_string(wseq_++) +
                      ",\"d\":" + quoted(codec::base64_encode(chunk)) + "}",
                  number, true});
  client_.world_.after(kUploadPause, [this] { upload(); });
}

void NodeSession::poll() {
  if (closed_) return;
  const std::uint64_t number = seq_++;
  polls_out_[number] = true;
  client_.submit({this,
                  "{\"op\":\"data\",\"sid\":" + quoted(sid_) + ",\"seq\":" +
                      std::to_string(number) + "}",
                  number, true});
}

// Polls beyond the first come later, so that they land in other batches.
void NodeSession::fill() {
  for (Duration wait{}; polls_ < depth_ && !closed_; wait += kPollSpacing) {
    ++polls_;
    client_.world_.after(wait, [this] { poll(); });
  }
}

void NodeSession::on_reply(std::uint64_t number, Reply reply) {
  if (polls_out_.erase(number) > 0) --polls_;
  empty_ = reply.bytes.empty() ? empty_ + 1 : 0;
  full_ = reply.bytes.empty() ? 0 : full_ + 1;
  if (empty_ >= 2) depth_ = 1;
  if (full_ > 0) depth_ = std::max<std::size_t>(depth_, 2);
  if (full_ >= 2 && received_ >= (32u << 10)) depth_ = std::min<std::size_t>(depth_ + 1, 4);
  if (number != next_) ++client_.stats_.late;
  if (number < next_ || !replies_.emplace(number, std::move(reply)).second)
    return client_.fail("two answers to one op");
  for (auto next = replies_.find(next_); next != replies_.end(); next = replies_.find(++next_)) {
    take(next->second);
    replies_.erase(next);
  }
  fill();
}

void NodeSession::take(const Reply& reply) {
  if (pattern_.match(received_, reply.bytes) != reply.bytes.size())
    return client_.fail("a wrong byte behind " + std::to_string(received_));
  received_ += reply.bytes.size();
  if (received_ > total_) return client_.fail("more came back than was sent");
  if (reply.eof) return client_.fail("the end before the last byte");
  if (received_ < total_ || std::exchange(closed_, true)) return;
  client_.submit({nullptr, "{\"op\":\"close\",\"sid\":" + quoted(sid_) + "}", 0, true});
}

}  // namespace adit::sim
