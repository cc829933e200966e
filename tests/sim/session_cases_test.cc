// One session against a carrier that does what the test says: the peer's faults, and orders of
// events that chance seldom makes (session_model_test.cc has the rest).
#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "proto/link/frames.h"
#include "proto/link/messages.h"
#include "service/tunnel/join_export.h"
#include "service/tunnel/session.h"
#include "sim/sim_host.h"
#include "sim/sim_loop.h"
#include "sim/sim_world.h"

namespace adit::sim {
namespace {

using flow::CarrierStream;
using link::ResetCode;
using service::Role;
using service::Session;
using service::SessionLimits;

class ScriptedCarrier final : public flow::Carrier {
 public:
  struct Stream {
    flow::StreamSource* source = nullptr;
    ByteVector received;
    bool ended = false;
  };
  std::map<CarrierStream, Stream> streams;
  std::map<CarrierStream, std::uint64_t> resets;
  std::vector<link::Frame> control;
  std::size_t may_open = 100;
  bool closed = false;

  // What the source has to send from `offset` on, all of it.
  ByteVector sent(CarrierStream id, std::uint64_t offset = 0) const {
    ByteVector out;
    const flow::StreamSource* source = streams.at(id).source;
    for (Bytes b = source->peek(offset); !b.empty(); b = source->peek(offset + out.size()))
      out.insert(out.end(), b.begin(), b.end());
    return out;
  }
  std::size_t acks_of(StreamNumber number) const {
    std::size_t n = 0;
    for (const link::Frame& f : control) {
      if (f.type != static_cast<std::uint64_t>(link::FrameType::Ack)) continue;
      auto entries = link::parse_ack(f.body);
      if (!entries) ADD_FAILURE() << "a malformed ACK";
      for (const link::AckEntry& e : *entries)
        if (e.stream == number) n = e.handed;
    }
    return n;
  }

  Status send_control(Bytes bytes) override {
    auto frames = reader_.feed(bytes);
    CHECK(frames);
    for (link::Frame& f : *frames) control.push_back(std::move(f));
    return {};
  }
  Result<CarrierStream> open_stream() override {
    if (streams.size() >= may_open) return Error{EAGAIN, "limit"};
    streams[next_];
    return next_++;
  }
  void attach(CarrierStream id, flow::StreamSource* source) override {
    streams[id].source = source;
  }
  void detach(CarrierStream id) override { streams[id].source = nullptr; }
  void wake(CarrierStream) override {}
  Bytes readable(CarrierStream id) const override {
    const auto found = streams.find(id);
    return found == streams.end() ? Bytes{} : Bytes(found->second.received);
  }
  void consume(CarrierStream id, std::size_t n) override {
    ByteVector& r = streams.at(id).received;
    CHECK(n <= r.size());
    r.erase(r.begin(), r.begin() + static_cast<std::ptrdiff_t>(n));
  }
  bool at_end(CarrierStream id) const override {
    const auto found = streams.find(id);
    return found != streams.end() && found->second.ended && found->second.received.empty();
  }
  void reset(CarrierStream id, std::uint64_t code) override {
    resets[id] = code;
    streams[id].source = nullptr;
  }
  ByteVector peer_spki_der() const override { return {}; }
  Result<ByteVector> export_keying_material(std::string_view, std::size_t n) const override {
    return ByteVector(n, exported);
  }
  std::uint8_t exported = 0;
  flow::CarrierStats stats() const override { return {}; }
  void close(std::uint64_t, std::string_view) override { closed = true; }

 private:
  link::FrameReader reader_;
  CarrierStream next_ = 1;
};

struct Listener final : flow::DuplexListener {
  int readable = 0, writable = 0, failed = 0;
  void on_readable() override { ++readable; }
  void on_writable() override { ++writable; }
  void on_failed(const Error&) override { ++failed; }
};

class SessionCase : public testing::Test, protected service::StreamAcceptor {
 protected:
  SessionCase()
      : world_(1), loop_(world_.add_host("host", {IpAddress::v4(192, 0, 2, 1)}).loop()) {}

  void on_strained(std::uint64_t) override {}
  void on_stream(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end) override {
    came_.push_back(preamble.stream.value);
    ends_.push_back(std::move(end));
  }
  Session relay() { return Session(loop_, Role::Relay, limits_, nullptr); }
  Session agent() { return Session(loop_, Role::Agent, limits_, this); }
  void settle(Duration d = 100ms) { world_.run_for(d); }

  ScriptedCarrier& another() { return others_.emplace_back(); }

  // The peer opens `id` with a preamble and `bytes` behind it.
  void opens(Session& session, CarrierStream id, std::uint64_t number,
             std::uint64_t resume_offset = 0, std::string_view bytes = {}, bool ended = false) {
    link::Preamble p;
    p.stream = StreamNumber{number};
    p.resume_offset = resume_offset;
    ScriptedCarrier::Stream& s = carrier_.streams[id];
    link::write_preamble(s.received, p);
    s.received.insert(s.received.end(), bytes.begin(), bytes.end());
    s.ended = ended;
    session.on_stream_opened(id);
    session.on_stream_readable(id);
  }
  static ByteVector ack(std::uint64_t number, std::uint64_t handed) {
    ByteVector body;
    Writer w(body);
    w.varint(number);
    w.varint(handed);
    return body;
  }
  static link::Welcome welcome(std::uint64_t next, std::vector<link::StreamOffset> streams) {
    link::Welcome m;
    m.next_stream = next;
    m.streams = std::move(streams);
    return m;
  }
  static link::ResumeRequest request(std::uint64_t next, std::vector<link::StreamOffset> streams) {
    link::ResumeRequest r;
    r.seen_next = next;
    r.streams = std::move(streams);
    return r;
  }
  static ByteVector data(std::size_t n) { return ByteVector(n, 'x'); }

  World world_;
  io::Loop& loop_;
  SessionLimits limits_{100, 1000, 100'000};
  ScriptedCarrier carrier_;
  std::deque<ScriptedCarrier> others_;
  std::vector<std::uint64_t> came_;
  std::vector<std::unique_ptr<flow::Duplex>> ends_;
};

TEST_F(SessionCase, AckBeforeTheCarriersOwnReleasesNothing) {
  Session s = relay();
  ASSERT_TRUE(s.attach_relay(carrier_, nullptr));
  auto end = s.open_stream({});
  EXPECT_EQ(end->write(data(500)), 500u);
  EXPECT_TRUE(s.on_ack(ack(1, 500)));
  EXPECT_EQ(s.retained_bytes(), 500u) << "the carrier may have to send it again";
  const std::size_t all = carrier_.sent(1).size();
  carrier_.streams[1].source->acked(all);
  EXPECT_EQ(s.retained_bytes(), 0u);
  EXPECT_EQ(end->write(data(5000)), 1000u);
  end->abort();
  EXPECT_EQ(s.retained_bytes(), 0u);
}

TEST_F(SessionCase, AckOfWhatWasNeverSent) {
  Session s = relay();
  ASSERT_TRUE(s.attach_relay(carrier_, nullptr));
  auto end = s.open_stream({});
  EXPECT_EQ(end->write(data(10)), 10u);
  EXPECT_FALSE(s.on_ack(ack(1, 11)));
  EXPECT_TRUE(s.on_ack(ack(2, 11))) << "of a stream that is over, perhaps";
  EXPECT_FALSE(s.on_ack({}));
  EXPECT_FALSE(s.on_reset({}));
  end->abort();
}

// The end of a stream and the carrier's closing it come together, and then the carrier forgets it:
// as with a short HTTP request.
TEST_F(SessionCase, EndAndCloseInOneTurn) {
  Session s = relay();
  ASSERT_TRUE(s.attach_relay(carrier_, nullptr));
  auto end = s.open_stream({});
  Listener listener;
  end->set_listener(&listener);
  end->start();
  end->finish();
  carrier_.streams[1].ended = true;
  s.on_stream_readable(1);
  s.on_stream_closed(1);
  carrier_.streams.erase(1);
  EXPECT_TRUE(end->at_end());
  EXPECT_TRUE(s.on_ack(ack(1, 1)));
  end.reset();
  settle();
  EXPECT_EQ(carrier_.acks_of(StreamNumber{1}), 1u);
  EXPECT_EQ(s.stream_count(), 0u);
}

TEST_F(SessionCase, PreambleAndEndAtOnce) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  opens(s, 5, 1, 0, {}, true);
  ASSERT_EQ(ends_.size(), 1u);
  EXPECT_TRUE(ends_[0]->at_end());
  settle();
  EXPECT_EQ(carrier_.acks_of(StreamNumber{1}), 1u);
  ends_.clear();
  EXPECT_EQ(s.stream_count(), 0u);
}

// The visitor goes while the agent still dials: nobody listens yet.
TEST_F(SessionCase, FailureBeforeStartIsSaidAfterIt) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  opens(s, 5, 1, 0, "hello");
  ASSERT_EQ(ends_.size(), 1u);
  s.on_stream_reset(5, static_cast<std::uint64_t>(ResetCode::Cancelled));
  EXPECT_EQ(s.stream_count(), 0u);
  Listener listener;
  ends_[0]->set_listener(&listener);
  ends_[0]->start();
  EXPECT_EQ(listener.failed, 0) << "never from inside a call";
  settle();
  settle();
  EXPECT_EQ(listener.failed, 1);
  EXPECT_TRUE(ends_[0]->readable().empty());
  EXPECT_EQ(ends_[0]->write(data(1)), 0u);
}

// A service that answers without reading on and goes: its answer reaches the visitor, whose bytes
// are dropped until he ends too, over links as well.
TEST_F(SessionCase, EndThatGoesAfterItsLastWord) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  opens(s, 5, 1, 0, "request");
  EXPECT_EQ(ends_[0]->write(data(100)), 100u);
  ends_[0]->finish();
  ends_.clear();
  EXPECT_TRUE(carrier_.resets.empty());
  EXPECT_EQ(carrier_.sent(5).size(), 100u);
  s.detach();
  ScriptedCarrier& other = another();
  ASSERT_TRUE(s.attach_agent(other, welcome(2, {{StreamNumber{1}, 60}})));
  link::Preamble p;
  p.stream = StreamNumber{1};
  p.resume_offset = 7;
  link::write_preamble(other.streams[9].received, p);
  s.on_stream_opened(9);
  s.on_stream_readable(9);
  EXPECT_EQ(other.sent(9).size(), 40u);
  other.streams[9].received = data(50);
  other.streams[9].ended = true;
  s.on_stream_readable(9);
  EXPECT_TRUE(s.on_ack(ack(1, 101)));
  s.on_stream_closed(9);
  settle();
  EXPECT_EQ(other.acks_of(StreamNumber{1}), 58u);
  EXPECT_TRUE(other.resets.empty());
  EXPECT_EQ(s.stream_count(), 0u);
}

TEST_F(SessionCase, StuckStreamsLeaveRoomForOthers) {
  limits_ = {10, 50'000, 100'000};
  Session s = relay();
  ASSERT_TRUE(s.attach_relay(carrier_, nullptr));
  std::vector<std::unique_ptr<flow::Duplex>> stuck;
  for (int i = 0; i < 9; ++i) {
    stuck.push_back(s.open_stream({}));
    stuck.back()->write(data(60'000));
  }
  EXPECT_LE(s.retained_bytes(), 100'000u);
  auto end = s.open_stream({});
  Listener listener;
  end->set_listener(&listener);
  EXPECT_EQ(end->write(data(10'000)), 5'000u) << "its share, for there is nothing else";
  EXPECT_LE(s.retained_bytes(), 100'000u);
  settle();
  EXPECT_EQ(listener.writable, 0);
  stuck.erase(stuck.begin());  // had the whole common half
  settle();
  EXPECT_EQ(listener.writable, 1);
  EXPECT_EQ(end->write(data(5'000)), 5'000u);
}

TEST_F(SessionCase, OpensLaterWhereTheCarrierIsAtItsLimit) {
  carrier_.may_open = 1;
  Session s = relay();
  ASSERT_TRUE(s.attach_relay(carrier_, nullptr));
  auto a = s.open_stream({}), b = s.open_stream({}), c = s.open_stream({});
  settle();
  EXPECT_EQ(carrier_.streams.size(), 1u);
  carrier_.may_open = 2;  // nothing tells the session
  settle();
  ASSERT_EQ(carrier_.streams.size(), 2u);
  std::size_t used = 0;
  auto preamble = link::parse_preamble(carrier_.sent(2), used);
  ASSERT_TRUE(preamble && preamble->has_value());
  EXPECT_EQ((*preamble)->stream, StreamNumber{2}) << "oldest first";
  b->abort();
  c->abort();
  carrier_.may_open = 3;
  settle();
  EXPECT_EQ(carrier_.streams.size(), 2u) << "the third was reset while it waited";
}

TEST_F(SessionCase, ResetThatOvertakesItsStream) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  EXPECT_TRUE(s.on_reset(ByteVector{3, static_cast<std::uint8_t>(ResetCode::Cancelled)}));
  opens(s, 5, 3);
  EXPECT_TRUE(came_.empty());
  EXPECT_EQ(carrier_.resets.at(5), static_cast<std::uint64_t>(ResetCode::Cancelled));
  opens(s, 9, 1);
  opens(s, 13, 2);
  EXPECT_EQ(came_, (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(SessionCase, HostilePreambles) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  const auto protocol = static_cast<std::uint64_t>(ResetCode::Protocol);
  opens(s, 1, 1);
  opens(s, 2, 1);                          // a number twice
  opens(s, 3, 2, 77);                      // a new stream that goes on somewhere
  opens(s, 4, (std::uint64_t{1} << 62) - 1);  // a gap of 2^62
  carrier_.streams[5].received = {0x44, 0x01, 0, 0};  // too long
  s.on_stream_opened(5);
  s.on_stream_readable(5);
  carrier_.streams[6].received = {20, 1};  // ends before it is whole
  carrier_.streams[6].ended = true;
  s.on_stream_opened(6);
  s.on_stream_readable(6);
  carrier_.streams[6].received.clear();
  s.on_stream_readable(6);
  EXPECT_EQ(came_, std::vector<std::uint64_t>{1});
  for (CarrierStream id : {2, 3, 4, 5}) EXPECT_EQ(carrier_.resets[id], protocol) << id;
  EXPECT_FALSE(carrier_.resets.contains(1));
}

TEST_F(SessionCase, TheAgentAllowsForTwiceAsMany) {
  limits_.streams_max = 2;
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  for (std::uint64_t n = 1; n <= 5; ++n) opens(s, static_cast<CarrierStream>(n), n);
  EXPECT_EQ(came_.size(), 4u);
  EXPECT_EQ(carrier_.resets.at(5), static_cast<std::uint64_t>(ResetCode::Overloaded));
}

TEST_F(SessionCase, FalseClaimsAtResumptionChangeNothing) {
  Session s = relay();
  ASSERT_TRUE(s.attach_relay(carrier_, nullptr));
  auto a = s.open_stream({}), b = s.open_stream({});
  a->write(data(100));
  b->write(data(100));
  EXPECT_TRUE(s.on_ack(ack(1, 40)));
  s.detach();
  ScriptedCarrier& other = another();
  using Offsets = std::vector<link::StreamOffset>;
  const StreamNumber one{1}, two{2};
  const Offsets claims[] = {
      {{one, 90}, {two, 101}},  // never sent
      {{one, 39}, {two, 0}},    // confirmed before
      {{two, 0}},               // the first one not seen, though it had confirmed some of it
  };
  for (const Offsets& claim : claims) {
    link::ResumeRequest r = request(3, claim);
    if (claim.size() == 1) r.unseen = {1};
    EXPECT_FALSE(s.attach_relay(other, &r));
    EXPECT_FALSE(s.attached());
    EXPECT_EQ(s.retained_bytes(), 160u);
    EXPECT_TRUE(other.streams.empty());
  }
  link::ResumeRequest good = request(3, {{one, 40}, {two, 100}, {StreamNumber{99}, 5}});
  EXPECT_TRUE(s.attach_relay(other, &good));
  EXPECT_EQ(s.retained_bytes(), 60u);
  EXPECT_EQ(other.streams.size(), 2u);
}

TEST_F(SessionCase, ResumptionCountsWhatIsRetained) {
  limits_ = {4, 1000, 1000};
  Session s = relay();
  auto end = s.open_stream({});
  for (std::uint64_t i = 0; i < 50; ++i) {
    link::ResumeRequest r = request(2, {{StreamNumber{1}, i * 600}});
    ScriptedCarrier carrier;
    ASSERT_TRUE(s.attach_relay(carrier, i == 0 ? nullptr : &r));
    EXPECT_EQ(s.retained_bytes(), 0u);
    EXPECT_EQ(end->write(data(600)), 600u) << i;
    s.detach();
  }
}

// The relay has told its visitor the end; the agent still has to flush what came: it must not be
// cut off.
TEST_F(SessionCase, ForgottenByThePeerInOrderIsNoFailure) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  opens(s, 5, 1, 0, "request", true);
  Listener listener;
  ends_[0]->set_listener(&listener);
  ends_[0]->start();
  ends_[0]->consume(7);
  ends_[0]->finish();
  s.detach();
  ScriptedCarrier& other = another();
  ASSERT_TRUE(s.attach_agent(other, welcome(2, {})));
  settle();
  EXPECT_EQ(listener.failed, 0);
  EXPECT_TRUE(ends_[0]->at_end());
  EXPECT_EQ(s.stream_count(), 0u);
  opens(s, 9, 1);
  EXPECT_EQ(came_.size(), 1u);
}

TEST_F(SessionCase, ForgottenByThePeerOtherwiseIsOne) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  opens(s, 5, 1, 0, "request");
  Listener listener;
  ends_[0]->set_listener(&listener);
  ends_[0]->start();
  s.detach();
  ScriptedCarrier& other = another();
  ASSERT_TRUE(s.attach_agent(other, welcome(2, {})));
  EXPECT_EQ(listener.failed, 1);
}

// The link dies between the last byte and its ACK; the ACK is due on the next one, or nobody ever
// retires.
TEST_F(SessionCase, AckThatWasCutOffIsSentAgain) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  opens(s, 5, 1, 0, "request", true);
  ends_[0]->consume(7);
  ends_[0]->finish();
  ends_.clear();
  s.detach();
  ASSERT_EQ(s.offsets().size(), 1u);
  EXPECT_EQ(s.offsets()[0].handed, 8u);
  ScriptedCarrier& other = another();
  ASSERT_TRUE(s.attach_agent(other, welcome(2, {{StreamNumber{1}, 1}})));
  settle();
  EXPECT_EQ(other.acks_of(StreamNumber{1}), 8u);
  EXPECT_EQ(s.stream_count(), 0u);
}

TEST_F(SessionCase, RelayDoesNotReopenWhatIsComplete) {
  Session s = relay();
  ASSERT_TRUE(s.attach_relay(carrier_, nullptr));
  auto end = s.open_stream({});
  end->finish();
  carrier_.streams[1].ended = true;
  s.on_stream_readable(1);
  s.detach();
  ScriptedCarrier& other = another();
  link::ResumeRequest r = request(2, {{StreamNumber{1}, 1}});
  ASSERT_TRUE(s.attach_relay(other, &r));
  EXPECT_TRUE(other.streams.empty());
  ASSERT_EQ(s.offsets().size(), 1u);  // WELCOME says it, so the agent can forget it
  end.reset();
  settle();
  EXPECT_EQ(s.stream_count(), 0u);
}

TEST_F(SessionCase, ReopenedAtAnotherOffset) {
  Session s = agent();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(1, {})));
  opens(s, 5, 1, 0, "request");
  Listener listener;
  ends_[0]->set_listener(&listener);
  ends_[0]->start();
  ends_[0]->consume(3);
  s.detach();
  carrier_ = ScriptedCarrier();
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(2, {{StreamNumber{1}, 0}})));
  opens(s, 5, 1, 4);
  EXPECT_EQ(listener.failed, 1);
  EXPECT_EQ(s.stream_count(), 0u);
  EXPECT_EQ(carrier_.resets.at(5), static_cast<std::uint64_t>(ResetCode::Protocol));
}

TEST_F(SessionCase, WelcomeWithHugeNumbersTakesNoTime) {
  Session s = agent();
  const std::uint64_t huge = (std::uint64_t{1} << 62) - 1;
  ASSERT_TRUE(s.attach_agent(carrier_, welcome(huge, {{StreamNumber{5}, 0}})));
  opens(s, 5, 5);
  opens(s, 9, 6);
  opens(s, 13, huge);
  EXPECT_EQ(came_, (std::vector<std::uint64_t>{5, huge}));
}

// An end may do as it likes with the others when it is told of its failure.
struct Avenger final : flow::DuplexListener {
  std::unique_ptr<flow::Duplex>* other = nullptr;
  Session* session = nullptr;
  std::unique_ptr<flow::Duplex> opened;
  void on_readable() override {}
  void on_writable() override {}
  void on_failed(const Error&) override {
    other->reset();
    opened = session->open_stream({});
  }
};

TEST_F(SessionCase, EndsThatEndOthers) {
  auto s = std::make_unique<Session>(loop_, Role::Relay, limits_, nullptr);
  ASSERT_TRUE(s->attach_relay(carrier_, nullptr));
  std::unique_ptr<flow::Duplex> ends[3];
  Avenger avengers[3];
  for (int i = 0; i < 3; ++i) {
    ends[i] = s->open_stream({});
    ends[i]->set_listener(&avengers[i]);
    avengers[i].other = &ends[(i + 1) % 3];
    avengers[i].session = s.get();
  }
  s->detach();
  ScriptedCarrier& other = another();
  link::ResumeRequest r = request(4, {});  // all are over at the agent
  ASSERT_TRUE(s->attach_relay(other, &r));
  EXPECT_NE(avengers[0].opened, nullptr);
  s->end(ResetCode::Lost);
  EXPECT_EQ(s->stream_count(), 0u);
  EXPECT_EQ(s->open_stream({}), nullptr);
  settle();
  s.reset();
  settle();
}

TEST_F(SessionCase, EndsThatOutliveTheSession) {
  auto s = std::make_unique<Session>(loop_, Role::Relay, limits_, nullptr);
  ASSERT_TRUE(s->attach_relay(carrier_, nullptr));
  auto end = s->open_stream({});
  end->start();
  s.reset();
  EXPECT_TRUE(end->readable().empty());
  EXPECT_FALSE(end->at_end());
  EXPECT_EQ(end->write(data(3)), 0u);
  end->finish();
  settle();
  end->abort();
}

// The session moved to another link while a further connection of the old one was on its way: the
// proof that it brings is none for the new one.
TEST_F(SessionCase, JoinThatAMoveOvertookProvesNothing) {
  ScriptedCarrier connection, left, taken;
  connection.exported = 1;
  left.exported = 2;
  taken.exported = 3;
  const auto proven = service::join_export(connection, left);
  const auto asked = service::join_export(connection, taken);
  ASSERT_TRUE(proven && asked);
  EXPECT_NE(*proven, *asked);
  EXPECT_NE(*proven, *service::join_export(taken, left));
  EXPECT_EQ(*proven, *service::join_export(connection, left));
}

}  // namespace
}  // namespace adit::sim
