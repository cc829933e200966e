// How long a client may take of everything, by a clock of the test's own.
#include <gtest/gtest.h>

#include <cerrno>
#include <list>

#include "base/limits.h"
#include "flow/flow_test_ends.h"
#include "flow/flow_test_frames.h"
#include "flow/http_connection.h"

namespace adit::flow {
namespace {

// No sockets; the time goes where the test says.
class ClockLoop final : public io::Loop {
 public:
  io::Backend backend() const override { return io::Backend::Sim; }
  WallTime wall_time() const override { return {}; }
  void turn(Instant until) override {
    set_now(wake_at(until));
    run_timers_and_tasks();
  }
  void pass(Duration d) {
    const Instant end = now() + d;
    for (int i = 0; i < 100'000; ++i) {
      turn(end);
      if (now() >= end) break;
    }
    for (int i = 0; i < 100; ++i) turn(now());
    EXPECT_EQ(now(), end);
  }
  bool post(std::unique_ptr<io::Message>) override { return false; }
  Result<io::Socket> listen_tcp(const Address&, const io::ListenOptions&) override {
    return none();
  }
  Result<io::Socket> open_tcp(const Address&) override { return none(); }
  Status bind_foreign(const io::Socket&, const Address&) override { return none(); }
  Result<std::pair<io::Socket, io::Socket>> stream_pair() override { return none(); }
  Result<io::Socket> open_udp(const Address&, const io::UdpOptions&) override { return none(); }
  Address local_address(const io::Socket&) const override { return {}; }
  Address peer_address(const io::Socket&) const override { return {}; }
  void shutdown_write(const io::Socket&) override {}
  void abort_on_close(const io::Socket&) override {}
  Status connect_udp(const io::Socket&, const Address&) override { return none(); }
  Result<std::size_t> send(const io::Socket&, Bytes) override { return none(); }
  Result<std::size_t> send_datagrams(const io::Socket&, const io::DatagramBatch&) override {
    return none();
  }

 private:
  static Error none() { return {ENOSYS, "there are no sockets"}; }
  void start_accept(std::uint32_t, int) override {}
  void start_connect(std::uint32_t, int, const Address&) override {}
  void start_receive(std::uint32_t, int) override {}
  void start_receive_once(std::uint32_t, int) override {}
  void start_receive_datagrams(std::uint32_t, int) override {}
  void start_poll(std::uint32_t, int, int) override {}
  void start_cancel(std::uint32_t) override {}
  void close_raw(int) override {}
};

// Answers /hello and lets go of it, answers /begun and keeps it, keeps all else.
class HttpDeadlines : public testing::Test, public HttpHandler, public HttpExchangeListener {
 protected:
  void serve(bool h2) {
    client = std::make_unique<MemoryEnd>(loop);
    auto s = std::make_unique<MemoryEnd>(loop);
    server_end = s.get();
    MemoryEnd::join(*client, *s);
    client->start();
    connection = h2 ? HttpConnection::http2(loop, *this, std::move(s))
                    : HttpConnection::http1(loop, *this, std::move(s), "https");
    connection->start();
    overs = gone = 0;
  }
  void TearDown() override {
    held.clear();
    connection.reset();
  }
  void send(std::string_view bytes) {
    ASSERT_EQ(client->write(as_bytes(bytes)), bytes.size());
    loop.pass(Duration{});
  }
  // Of frames that have come since the last call.
  std::vector<Frame> came() {
    loop.pass(Duration{});
    std::string text;
    for (; !client->readable().empty(); client->consume(client->readable().size()))
      text += as_text(client->readable());
    return frames_of(text);
  }
  static bool has(const std::vector<Frame>& all, int type, std::uint32_t id) {
    return std::ranges::any_of(
        all, [type, id](const Frame& f) { return f.type == type && f.id == id; });
  }
  void on_request(std::unique_ptr<HttpExchange> exchange) override {
    ++requests;
    const std::string target = exchange->request().target;
    exchange->set_listener(this);
    if (target != "/hold") exchange->respond({200, {}});
    if (target == "/hello") {
      EXPECT_EQ(exchange->write(as_bytes("hello")), 5u);
      exchange->finish();
    } else {
      held.push_back(std::move(exchange));
    }
  }
  void on_connection_over() override { ++overs; }
  void on_body() override {}
  void on_writable() override {}
  void on_gone(const Error&) override { ++gone; }

  ClockLoop loop;
  std::unique_ptr<MemoryEnd> client;
  MemoryEnd* server_end = nullptr;
  std::unique_ptr<HttpConnection> connection;
  std::list<std::unique_ptr<HttpExchange>> held;
  int overs = 0, gone = 0, requests = 0;
};

// SETTINGS_INITIAL_WINDOW_SIZE 0: nothing of a body may be sent.
const std::string kNoWindow = std::string(kPreface) +
                              frame(kSettings, 0, 0, std::string_view("\0\4\0\0\0\0", 6));

TEST_F(HttpDeadlines, Http2FinishedResponseThatNobodyTakes) {
  serve(true);
  send(kNoWindow + frame(kHeaders, kEndHeaders | kEndStream, 1, head_block(false, "/hello")));
  EXPECT_TRUE(has(came(), kHeaders, 1));
  connection->drain();
  loop.pass(limits::kHttpResponseStall - 10s);
  EXPECT_FALSE(has(came(), kReset, 1));
  EXPECT_EQ(overs, 0);
  loop.pass(30s);
  EXPECT_TRUE(has(came(), kReset, 1));
  EXPECT_EQ(overs, 1) << "a drain ends with it";
}

TEST_F(HttpDeadlines, Http2RequestsDoNotPostponeTheStall) {
  serve(true);
  send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
       frame(kHeaders, kEndHeaders, 1, head_block(true, "/hold")));
  ASSERT_EQ(requests, 1);
  std::uint32_t id = 3;
  for (Duration t{}; t < limits::kHttpBodyStall + 10s; t += 2s, id += 2) {
    send(frame(kHeaders, kEndHeaders | kEndStream, id, head_block(false, "/hello")));
    loop.pass(2s);
    (void)came();
  }
  EXPECT_EQ(gone, 1);
}

TEST_F(HttpDeadlines, BodyThatStopsOnceTheResponseHasBegun) {
  for (const bool h2 : {false, true}) {
    serve(h2);
    if (h2) {
      send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
           frame(kHeaders, kEndHeaders, 1, head_block(true, "/begun")));
    } else {
      send("POST /begun HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    }
    (void)came();
    ASSERT_EQ(held.size(), 1u);
    loop.pass(limits::kHttpResponseStall - 10s);
    EXPECT_EQ(gone, 0) << h2;
    loop.pass(20s);
    EXPECT_EQ(gone, 1) << h2;
    held.clear();
    connection.reset();
  }
}

TEST_F(HttpDeadlines, LingersFromWhenAllIsFlushed) {
  for (const bool h2 : {false, true}) {
    serve(h2);
    server_end->unflushed = true;
    if (h2) {
      send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
           frame(kHeaders, kEndHeaders | kEndStream, 1, head_block(false, "/hello")));
      connection->drain();
    } else {
      send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    loop.pass(limits::kHttpResponseStall / 2);
    EXPECT_EQ(overs, 0) << h2;
    server_end->unflushed = false;
    loop.pass(limits::kHttpLinger - 1s);
    EXPECT_EQ(overs, 0) << h2;
    loop.pass(limits::kHttpLinger + 2s);
    EXPECT_EQ(overs, 1) << h2;

    serve(h2);
    server_end->unflushed = true;
    if (h2) {
      connection->drain();
    } else {
      send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    loop.pass(limits::kHttpResponseStall + 2 * limits::kHttpLinger);
    EXPECT_EQ(overs, 1) << h2;
    client->finish();  // says nothing a second time
    loop.pass(1s);
    EXPECT_EQ(overs, 1) << h2;
  }
}

// CVE-2025-8671: requests whose bodies contradict their length, so that the server resets them.
TEST_F(HttpDeadlines, Http2ProvokedResetsAreCounted) {
  serve(true);
  send(std::string(kPreface) + frame(kSettings, 0, 0, ""));
  const std::string block = head_block(true, "/hold") + literal(kContentLength, "5");
  bool ended = false;
  std::uint32_t id = 1;
  for (; id < 4 * limits::kHttpProvokedResets && !ended; id += 2) {
    send(frame(kHeaders, kEndHeaders, id, block) + frame(kData, kEndStream, id, ""));
    for (const Frame& f : came()) {
      if (f.type != kGoAway) continue;
      ended = true;
      EXPECT_EQ(f.payload[7], 0xb);  // ENHANCE_YOUR_CALM
    }
    held.clear();
  }
  EXPECT_TRUE(ended);
  EXPECT_GT(requests, static_cast<int>(limits::kHttpProvokedResets) - 2);
  EXPECT_LT(requests, static_cast<int>(limits::kHttpProvokedResets) + 10);
  client->finish();
  loop.pass(1s);
  EXPECT_EQ(overs, 1);
}

// What refuses a head that is none knows nothing of the request before it.
TEST_F(HttpDeadlines, ARefusalIsNoAnswerToTheRequestBefore) {
  serve(false);
  send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  send("\x01\r\n\r\n");
  loop.pass(Duration{});
  const std::string text(as_text(client->readable()));
  const std::size_t at = text.find("HTTP/1.1 400");
  ASSERT_NE(at, text.npos) << text;
  EXPECT_FALSE(text.ends_with("\r\n\r\n")) << "a refusal says why: " << text;
  loop.pass(limits::kHttpLinger + 1s);
  EXPECT_EQ(overs, 1);
}

}  // namespace
}  // namespace adit::flow
