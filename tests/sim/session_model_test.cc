// Sessions over links that die: two Sessions joined by fake carriers (fake_link.h), with readers
// and writers that follow a seed. Whatever is cut and when, every byte arrives once and in order,
// every end of a stream once, nothing is delivered twice, and nothing is left in the end.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "proto/link/frames.h"
#include "proto/link/messages.h"
#include "service/tunnel/session.h"
#include "sim/fake_link.h"
#include "sim/peers.h"
#include "sim/scenario.h"
#include "sim/sim_loop.h"

namespace adit::sim {
namespace {

using service::Role;
using service::Session;
using service::SessionLimits;

// One stream as both ends plan it, and what happened to it. Index 0: relay to agent.
struct Record {
  std::uint64_t seed = 0;
  std::uint64_t total[2] = {0, 0};
  bool may_fail = false;   // somebody has reset it
  unsigned delivered = 0;  // to the agent
};

class Model;

// Reads, checks and writes one end of a stream at its own pace.
class App final : private flow::DuplexListener {
 public:
  App(Model& model, io::Loop& loop, Record& record, int side, std::unique_ptr<flow::Duplex> end);

  void abort_now();
  bool over() const { return end_ == nullptr; }

 private:
  void on_readable() override;
  void on_writable() override;
  void on_failed(const Error& error) override;
  void on_timer();
  void read();
  void write();
  Duration pause();

  Model& model_;
  io::Loop& loop_;
  Record& record_;
  const int side_;
  const Pattern out_, in_;
  std::unique_ptr<flow::Duplex> end_;
  std::uint64_t written_ = 0, read_ = 0;
  bool started_ = false, finished_ = false, ended_ = false, failed_ = false, blocked_ = false;
  io::Timer timer_;
};

struct Plan {
  SessionLimits limits;
  FakeLinkOptions link;
  std::size_t streams = 0;      // that are opened in all
  double cut_chance = 0;        // each tick
  double abort_chance = 0;      // of a stream
  std::uint64_t bytes_max = 0;  // of a direction
  Duration delay_max{};
};

Plan random_plan(Prng& prng) {
  Plan p;
  p.limits.streams_max = 1 + prng.below(20);
  p.limits.retain_stream_bytes = 100 + prng.below(20'000);
  p.limits.retain_session_bytes = p.limits.retain_stream_bytes + 4'000 + prng.below(40'000);
  p.link.delay_max = Duration(1ms) * static_cast<int>(1 + prng.below(30));
  p.link.window_bytes = 1100 + prng.below(prng.chance(0.3) ? 60'000 : 3'000);
  p.link.streams_max = 1 + prng.below(24);
  p.link.segment_bytes_max = 1 + prng.below(2000);
  p.link.control_chunk_max = 1 + prng.below(200);
  p.streams = 1 + prng.below(30);
  p.cut_chance = prng.chance(0.2) ? 0 : 0.001 * static_cast<double>(prng.below(80));
  p.abort_chance = prng.chance(0.5) ? 0 : 0.4;
  p.bytes_max = 1 + prng.below(prng.chance(0.2) ? 60'000 : 3'000);
  p.delay_max = Duration(1ms) * static_cast<int>(1 + prng.below(40));
  return p;
}

// An agent that lets its ends go slowly has more streams than the relay.
SessionLimits agent_limits(SessionLimits limits) {
  limits.streams_max = 500;
  limits.retain_session_bytes += 100'000;
  return limits;
}

class Model final : private service::StreamAcceptor {
 public:
  explicit Model(World& world)
      : world_(world),
        prng_(world.prng()),
        plan_(random_plan(prng_)),
        relay_loop_(world.add_host("relay", {IpAddress::v4(192, 0, 2, 1)}).loop()),
        agent_loop_(world.add_host("agent", {IpAddress::v4(192, 0, 2, 2)}).loop()),
        relay_(relay_loop_, Role::Relay, plan_.limits, nullptr),
        agent_(agent_loop_, Role::Agent, agent_limits(plan_.limits), this),
        ticker_(relay_loop_, Delegate<void()>::to<&Model::tick>(this)) {
    connect();
    ticker_.set(relay_loop_.now());
  }
  ~Model() {
    apps_.clear();
    relay_.detach();
    agent_.detach();
  }

  Prng& prng() { return prng_; }
  const Plan& plan() const { return plan_; }
  const Session& session(int side) const { return side == 0 ? relay_ : agent_; }
  bool done() const {
    return opened_ == plan_.streams && resting() && relay_.stream_count() == 0 &&
           agent_.stream_count() == 0;
  }
  void explain() const;
  void check_limits() const;
  void abort_another();
  std::size_t opened() const { return opened_; }
  unsigned cuts() const { return cuts_; }
  unsigned resumptions() const { return resumptions_; }

 private:
  // What RelayLink and UplinkLink do between a carrier and a session.
  struct RelayEnd final : flow::CarrierListener {
    RelayEnd(Model& m, FakeWire& w) : model(m), wire(w), carrier(w, 0, m.relay_loop_) {
      carrier.set_listener(this);
    }
    void on_up() override {}
    void on_control(Bytes bytes) override;
    void on_stream_opened(flow::CarrierStream) override { ADD_FAILURE(); }
    void on_stream_readable(flow::CarrierStream id) override {
      if (session != nullptr) session->on_stream_readable(id);
    }
    void on_stream_reset(flow::CarrierStream id, std::uint64_t code) override {
      if (session != nullptr) session->on_stream_reset(id, code);
    }
    void on_stream_closed(flow::CarrierStream id) override {
      if (session != nullptr) session->on_stream_closed(id);
    }
    void on_path_changed(const Address&) override {}
    void on_down(const flow::CarrierDown&) override { model.relay_down(*this); }
    void on_hello(const link::Hello& hello);

    Model& model;
    FakeWire& wire;
    FakeCarrier carrier;
    link::FrameReader frames;
    Session* session = nullptr;
  };
  struct AgentEnd final : flow::CarrierListener {
    AgentEnd(Model& m, FakeWire& wire) : model(m), carrier(wire, 1, m.agent_loop_) {
      carrier.set_listener(this);
    }
    void on_up() override;
    void on_control(Bytes bytes) override;
    void on_stream_opened(flow::CarrierStream id) override {
      if (session != nullptr) return session->on_stream_opened(id);
      early.push_back(id);
    }
    void on_stream_readable(flow::CarrierStream id) override {
      if (session != nullptr) session->on_stream_readable(id);
    }
    void on_stream_reset(flow::CarrierStream id, std::uint64_t code) override {
      std::erase(early, id);
      if (session != nullptr) session->on_stream_reset(id, code);
    }
    void on_stream_closed(flow::CarrierStream id) override {
      if (session != nullptr) session->on_stream_closed(id);
    }
    void on_path_changed(const Address&) override {}
    void on_down(const flow::CarrierDown&) override { model.agent_down(); }
    void on_welcome(const link::Welcome& welcome);

    Model& model;
    FakeCarrier carrier;
    link::FrameReader frames;
    Session* session = nullptr;
    std::vector<flow::CarrierStream> early;
  };

  void on_strained(std::uint64_t) override {}
  void on_stream(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end) override;
  void tick();
  void open_one();
  void connect();
  void cut();
  void relay_down(RelayEnd& end);
  void agent_down();
  bool resting() const {
    return std::all_of(apps_.begin(), apps_.end(), [](const auto& a) { return a->over(); });
  }

  World& world_;
  Prng& prng_;
  const Plan plan_;
  io::Loop& relay_loop_;
  io::Loop& agent_loop_;
  Session relay_, agent_;
  bool agent_knows_ = false;  // it had a WELCOME
  std::vector<std::unique_ptr<FakeWire>> wires_;
  std::vector<std::unique_ptr<RelayEnd>> relay_ends_;  // old ones may not know yet
  RelayEnd* relay_live_ = nullptr;
  std::unique_ptr<AgentEnd> agent_end_;
  std::map<std::uint64_t, Record> records_;
  std::vector<std::unique_ptr<App>> apps_;
  std::size_t opened_ = 0;
  unsigned cuts_ = 0, resumptions_ = 0;
  io::Timer ticker_;
};

// --- the ends of streams -------------------------------------------------------------------------

App::App(Model& model, io::Loop& loop, Record& record, int side, std::unique_ptr<flow::Duplex> end)
    : model_(model),
      loop_(loop),
      record_(record),
      side_(side),
      out_(record.seed + static_cast<std::uint64_t>(side)),
      in_(record.seed + static_cast<std::uint64_t>(side ^ 1)),
      end_(std::move(end)),
      timer_(loop, Delegate<void()>::to<&App::on_timer>(this)) {
  timer_.set(loop.now() + pause());
}

Duration App::pause() {
  return Duration{static_cast<std::int64_t>(
      model_.prng().below(static_cast<std::uint64_t>(model_.plan().delay_max.count())))};
}

void App::on_timer() {
  if (end_ == nullptr) return;
  if (failed_ || (finished_ && ended_)) return end_.reset();
  if (model_.prng().chance(model_.plan().abort_chance * 0.05)) return abort_now();
  if (!std::exchange(started_, true)) {
    end_->set_listener(this);
    end_->start();
  }
  read();
  if (end_ == nullptr) return;
  write();
  timer_.set(loop_.now() + pause());
}

void App::abort_now() {
  if (end_ == nullptr || failed_) return;
  // Who goes after he said all he had to say loses his peer nothing.
  const bool in_order = finished_ && model_.prng().chance(0.5);
  if (!in_order) {
    record_.may_fail = true;
    if (model_.prng().chance(0.5)) end_->abort();
  }
  end_.reset();
}

void App::on_readable() {
  EXPECT_TRUE(end_ != nullptr && !failed_ && started_);
  if (end_ != nullptr && model_.prng().chance(0.7)) read();
}

void App::on_writable() {
  EXPECT_TRUE(end_ != nullptr && !failed_ && started_);
  EXPECT_TRUE(blocked_) << "told of room that was not asked for";
  blocked_ = false;
  write();
}

void App::on_failed(const Error& error) {
  EXPECT_TRUE(end_ != nullptr && !failed_ && started_);
  EXPECT_TRUE(record_.may_fail) << "a stream was lost that nobody had reset: " << error.what;
  failed_ = true;
  if (model_.prng().chance(0.3)) model_.abort_another();
  if (model_.prng().chance(0.5)) end_.reset();
}

void App::read() {
  for (;;) {
    const Bytes bytes = end_->readable();
    if (bytes.empty()) break;
    EXPECT_FALSE(ended_);
    const Bytes some = bytes.first(1 + model_.prng().below(bytes.size()));
    EXPECT_EQ(in_.match(read_, some), some.size()) << "at " << read_;
    read_ += some.size();
    end_->consume(some.size());
    if (model_.prng().chance(0.3)) break;  // a slow reader
  }
  EXPECT_LE(read_, record_.total[side_ ^ 1]);
  if (end_->at_end()) {
    EXPECT_EQ(read_, record_.total[side_ ^ 1]) << "the end came too early";
    ended_ = true;
  } else {
    EXPECT_FALSE(ended_ && !failed_) << "the end was taken back";
  }
}

void App::write() {
  if (finished_ || failed_ || blocked_) return;
  const std::uint64_t left = record_.total[side_] - written_;
  if (left > 0) {
    ByteVector chunk(1 + model_.prng().below(left));
    out_.fill(written_, chunk);
    const std::size_t n = end_->write(chunk);
    written_ += n;
    blocked_ = n < chunk.size();
    model_.check_limits();
  }
  if (written_ < record_.total[side_]) return;
  finished_ = true;
  end_->finish();
}

// --- links ---------------------------------------------------------------------------------------

void pass(Session* session, const link::Frame& frame) {
  if (session == nullptr) return;
  const auto type = static_cast<link::FrameType>(frame.type);
  ASSERT_TRUE(type == link::FrameType::Ack || type == link::FrameType::Reset);
  const Status ok = type == link::FrameType::Ack ? session->on_ack(frame.body)
                                                 : session->on_reset(frame.body);
  EXPECT_TRUE(ok) << ok.error().what;
}

void Model::RelayEnd::on_control(Bytes bytes) {
  auto in = frames.feed(bytes);
  ASSERT_TRUE(in);
  for (const link::Frame& frame : *in) {
    if (carrier.closed()) return;
    switch (static_cast<link::FrameType>(frame.type)) {
      case link::FrameType::Hello: {
        auto hello = link::parse_hello(frame.body);
        ASSERT_TRUE(hello) << hello.error().what;
        on_hello(*hello);
        break;
      }
      default: pass(session, frame);
    }
  }
}

void Model::RelayEnd::on_hello(const link::Hello& hello) {
  if (RelayEnd* old = std::exchange(model.relay_live_, this)) {
    old->session = nullptr;
    old->carrier.close(3, "superseded");
  }
  const link::ResumeRequest* resume = hello.resume ? &*hello.resume : nullptr;
  if (resume != nullptr) ++model.resumptions_;
  Status ok = model.relay_.attach_relay(carrier, resume);
  ASSERT_TRUE(ok) << ok.error().what;
  session = &model.relay_;
  link::Welcome welcome;
  welcome.session = "s";
  welcome.resumed = resume != nullptr;
  welcome.next_stream = model.relay_.next_stream();
  welcome.streams = model.relay_.offsets();
  ByteVector frame;
  link::write_frame(frame, link::FrameType::Welcome, link::to_json(welcome));
  EXPECT_TRUE(carrier.send_control(frame));
}

void Model::AgentEnd::on_up() {
  link::Hello hello;
  if (model.agent_knows_) {
    hello.resume = link::ResumeRequest{"s", {}, model.agent_.seen().next(),
                                       model.agent_.seen().unseen(), model.agent_.offsets()};
  }
  ByteVector frame;
  link::write_frame(frame, link::FrameType::Hello, link::to_json(hello));
  EXPECT_TRUE(carrier.send_control(frame));
}

void Model::AgentEnd::on_control(Bytes bytes) {
  auto in = frames.feed(bytes);
  ASSERT_TRUE(in);
  for (const link::Frame& frame : *in) {
    if (carrier.closed()) return;
    switch (static_cast<link::FrameType>(frame.type)) {
      case link::FrameType::Welcome: {
        auto welcome = link::parse_welcome(frame.body);
        ASSERT_TRUE(welcome) << welcome.error().what;
        on_welcome(*welcome);
        break;
      }
      default: pass(session, frame);
    }
  }
}

void Model::AgentEnd::on_welcome(const link::Welcome& welcome) {
  Status ok = model.agent_.attach_agent(carrier, welcome);
  ASSERT_TRUE(ok) << ok.error().what;
  session = &model.agent_;
  model.agent_knows_ = true;
  for (flow::CarrierStream id : std::exchange(early, {})) {
    on_stream_opened(id);
    on_stream_readable(id);
  }
}

void Model::connect() {
  wires_.push_back(std::make_unique<FakeWire>(prng_, plan_.link));
  relay_ends_.push_back(std::make_unique<RelayEnd>(*this, *wires_.back()));
  agent_end_ = std::make_unique<AgentEnd>(*this, *wires_.back());
}

// The wire dies; each side notices when it does. The relay may learn of the new link first.
void Model::cut() {
  if (agent_end_ == nullptr || !agent_knows_ || relay_ends_.empty()) return;
  FakeWire& wire = *wires_.back();
  RelayEnd& relay_end = *relay_ends_.back();
  if (&relay_end.wire != &wire) return;  // the last wire is dead already
  ++cuts_;
  const auto soon = [this] { return Duration(1ms) * static_cast<int>(prng_.below(300)); };
  switch (prng_.below(4)) {
    case 0: return agent_end_->carrier.close(0, "the agent's");
    case 1: return relay_end.carrier.close(0, "the relay's");
    default:
      wire.cut();
      relay_end.carrier.lose(relay_loop_.now() + soon());
      agent_end_->carrier.lose(relay_loop_.now() + soon());
  }
}

void Model::relay_down(RelayEnd& end) {
  if (end.session != nullptr) {
    relay_live_ = nullptr;
    relay_.detach();
  }
  std::erase_if(relay_ends_, [&end](const auto& e) { return e.get() == &end; });
}

void Model::agent_down() {
  const std::unique_ptr<AgentEnd> gone = std::move(agent_end_);
  agent_.detach();
  const auto wait = Duration(1ms) * static_cast<int>(prng_.below(100));
  world_.after(wait, [this] { connect(); });
}

// --- what happens --------------------------------------------------------------------------------

void Model::tick() {
  check_limits();
  if (opened_ < plan_.streams && prng_.chance(0.3)) open_one();
  if (prng_.chance(plan_.cut_chance)) cut();
  ticker_.set(relay_loop_.now() + 3ms);
}

void Model::open_one() {
  const std::uint64_t number = relay_.next_stream();
  link::Preamble preamble;
  preamble.sni = "name.test";
  auto end = relay_.open_stream(preamble);
  if (end == nullptr) {
    EXPECT_EQ(relay_.stream_count(), plan_.limits.streams_max);
    return;
  }
  ++opened_;
  Record& record = records_[number];
  record.seed = prng_.next();
  for (std::uint64_t& total : record.total) total = prng_.below(plan_.bytes_max);
  if (prng_.chance(0.1)) record.total[0] = 0;
  apps_.push_back(std::make_unique<App>(*this, relay_loop_, record, 0, std::move(end)));
}

void Model::on_stream(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end) {
  Record& record = records_.at(preamble.stream.value);
  EXPECT_EQ(++record.delivered, 1u) << "stream " << preamble.stream.value << " came twice";
  EXPECT_EQ(preamble.sni, "name.test");
  apps_.push_back(std::make_unique<App>(*this, agent_loop_, record, 1, std::move(end)));
  if (prng_.chance(plan_.abort_chance * 0.1)) apps_.back()->abort_now();
}

void Model::abort_another() {
  if (plan_.abort_chance > 0) apps_[prng_.below(apps_.size())]->abort_now();
}

void Model::check_limits() const {
  EXPECT_LE(relay_.retained_bytes(), plan_.limits.retain_session_bytes);
  EXPECT_LE(agent_.retained_bytes(), agent_limits(plan_.limits).retain_session_bytes);
  EXPECT_LE(relay_.stream_count(), plan_.limits.streams_max);
}

void Model::explain() const {
  ADD_FAILURE() << "not done: " << opened_ << " of " << plan_.streams << " opened, relay has "
                << relay_.stream_count() << " streams, agent " << agent_.stream_count() << ", apps "
                << (resting() ? "are" : "are not") << " over, " << cuts_ << " cuts";
}

TEST(SessionModel, NothingLostNothingTwice) {
  unsigned cuts = 0, resumptions = 0;
  std::size_t streams = 0;
  for_each_seed(300, [&cuts, &resumptions, &streams](World& world) {
    Model model(world);
    if (!world.run_until([&model] { return model.done() || testing::Test::HasFailure(); }, 1h))
      model.explain();
    if (!testing::Test::HasFailure()) {
      EXPECT_EQ(model.session(0).retained_bytes(), 0u);
      EXPECT_EQ(model.session(1).retained_bytes(), 0u);
    }
    cuts += model.cuts();
    resumptions += model.resumptions();
    streams += model.opened();
  });
  testing::Test::RecordProperty("cuts", static_cast<int>(cuts));
  testing::Test::RecordProperty("resumptions", static_cast<int>(resumptions));
  testing::Test::RecordProperty("streams", static_cast<int>(streams));
}

}  // namespace
}  // namespace adit::sim
