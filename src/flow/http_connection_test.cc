#include "flow/http_connection.h"

#include <cerrno>
#include <list>

#include "crypto/test_tls.h"
#include "flow/flow_test_ends.h"
#include "flow/flow_test_frames.h"
#include "flow/flow_test_peers.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

// One request at the handler, by its target: /echo sends the body back, /hello says so, /big sends
// a pattern of so many bytes, /cut ends too early, /hold waits for the test.
class Served final : public HttpExchangeListener {
 public:
  explicit Served(std::unique_ptr<HttpExchange> e) : exchange(std::move(e)) {
    exchange->set_listener(this);
    const std::string& target = exchange->request().target;
    if (target == "/hello" || target == "*") {
      exchange->respond({200, {{"x-a", "b"}, {"x-bad", "a\r\nb"}, {"connection", "x"}}, 5});
      EXPECT_EQ(exchange->write(as_bytes("hello and more")), 14u);
      exchange->finish();
    } else if (target.starts_with("/big")) {
      left = std::stoull(target.substr(4));
      exchange->respond({200, {}, left});
    } else if (target == "/echo") {
      exchange->respond({200, {}});
    } else if (target == "/cut") {
      exchange->respond({200, {}, 10});
      static_cast<void>(exchange->write(as_bytes("12345")));
      exchange->finish();
    } else if (target == "/early") {
      exchange->inform({103, {{"link", "</x>"}}});
      exchange->respond({404, {}, 0});
      exchange->finish();
    } else if (target == "/drop") {
      exchange.reset();
    } else if (target == "/upgrade") {
      stream = exchange->switch_protocol({101, {{"upgrade", "echo"}}});
    }
    if (left > 0) on_writable();
  }
  void on_body() override {
    ++bodies;
    if (!taking) return;
    for (Bytes b = exchange->readable(); !b.empty(); b = exchange->readable()) {
      std::size_t n = b.size();
      if (exchange->request().target == "/echo") n = exchange->write(b);
      for (const std::uint8_t c : b.first(n)) intact &= c == pattern_byte(1, received++);
      got.append(as_text(b.first(n)).substr(0, 100));
      exchange->consume(n);
      if (n < b.size()) return;
    }
    ended = exchange->at_end();
    if (ended && exchange->request().target == "/echo") exchange->finish();
  }
  void on_writable() override {
    if (exchange->request().target == "/echo") return on_body();
    std::uint8_t chunk[5000];
    while (left > 0) {
      const std::size_t n = std::min<std::uint64_t>(sizeof chunk, left);
      for (std::size_t i = 0; i < n; ++i) chunk[i] = pattern_byte(2, sent + i);
      const std::size_t taken = exchange->write({chunk, n});
      left -= taken;
      sent += taken;
      if (taken < n) return;
    }
    exchange->finish();
  }
  void on_gone(const Error& e) override {
    gone = e.what;
    if (dies) exchange.reset();
  }

  std::unique_ptr<HttpExchange> exchange;
  std::unique_ptr<Duplex> stream;
  std::uint64_t left = 0, sent = 0, received = 0;
  std::string got, gone;
  bool taking = true, ended = false, intact = true, dies = false;
  int bodies = 0;
};

class HttpConnectionTest : public FlowTest, public HttpHandler, public DuplexListener {
 protected:
  void serve(std::size_t piece = SIZE_MAX, bool h2 = false) {
    auto c = std::make_unique<MemoryEnd>(*loop_), s = std::make_unique<MemoryEnd>(*loop_);
    MemoryEnd::join(*c, *s);
    s->piece = piece;
    server_end = s.get();
    served.clear();
    connection.reset();
    client = std::move(c);
    client->set_listener(this);
    client->start();
    over = false;
    text.clear();
    pending.clear();
    connection = h2 ? HttpConnection::http2(*loop_, *this, std::move(s))
                    : HttpConnection::http1(*loop_, *this, std::move(s), "https");
    connection->start();
  }
  void TearDown() override {
    served.clear();
    connection.reset();
    client.reset();
    FlowTest::TearDown();
  }
  void send(std::string_view bytes) {
    pending += bytes;
    on_writable();
  }
  std::string get(std::string_view target, std::string_view fields = "") {
    return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a.test\r\n" + std::string(fields) +
           "\r\n";
  }
  std::string post(std::string_view target, std::string_view rest) {
    return "POST " + std::string(target) + " HTTP/1.1\r\nHost: a.test\r\n" + std::string(rest);
  }
  bool comes(std::string_view wanted) {
    return until([&] { return text.find(wanted) != std::string::npos; });
  }
  std::size_t count(std::string_view what) const {
    std::size_t n = 0;
    for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
    return n;
  }

  void on_request(std::unique_ptr<HttpExchange> exchange) override {
    served.emplace_back(std::move(exchange));
    served.back().taking = taking;
    served.back().dies = dies;
    if (kills) connection.reset();
  }
  void on_connection_over() override {
    EXPECT_FALSE(over);
    over = true;
    connection.reset();
  }
  void on_readable() override {
    if (client == nullptr) return;
    while (reading && !client->readable().empty()) {
      text += as_text(client->readable());
      client->consume(client->readable().size());
    }
    ended |= client->at_end();
  }
  void on_writable() override {
    if (client != nullptr) pending.erase(0, client->write(as_bytes(pending)));
  }
  void on_failed(const Error&) override {}

  std::unique_ptr<MemoryEnd> client;
  MemoryEnd* server_end = nullptr;
  std::unique_ptr<HttpConnection> connection;
  std::list<Served> served;
  std::string text, pending;
  bool over = false, ended = false, reading = true, taking = true, dies = false, kills = false;
};
INSTANTIATE_TEST_SUITE_P(Real, HttpConnectionTest, io::real_cases(), io::case_name);

TEST_P(HttpConnectionTest, PipelinedInOrderInAnyFragmentation) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{13}, SIZE_MAX}) {
    serve(piece);
    std::string all;
    for (int i = 0; i < 50; ++i)
      all += get("/hello") + post("/echo", "Content-Length: 3\r\n\r\nabc") +
             post("/echo", "Transfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n") +
             get("/early");
    send(all);
    ASSERT_TRUE(until([&] { return count("404") == 50; })) << text;
    EXPECT_EQ(served.size(), 200u);
    const std::string one = text.substr(0, text.find("HTTP/1.1 200", 10));
    EXPECT_TRUE(one.starts_with("HTTP/1.1 200 OK\r\nx-a: b\r\ndate: ")) << one;
    EXPECT_TRUE(one.ends_with("\r\ncontent-length: 5\r\n\r\nhello")) << one;
    if (piece == SIZE_MAX) {
      EXPECT_EQ(count("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP"), 50u);
    }
    EXPECT_EQ(count("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 404"), 50u);
    EXPECT_FALSE(over);
    client->finish();
    ASSERT_TRUE(until([&] { return over; }));
  }
}

TEST_P(HttpConnectionTest, WhatIsNoRequestIsRefusedAndEnds) {
  struct Row {
    std::string text;
    const char* status;
  };
  const Row rows[] = {
      {"GET /hello HTTP/1.1\r\n\r\n", "400"},
      {"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
      {post("/hello", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), "400"},
      {post("/hello", "Transfer-Encoding: gzip\r\n\r\n"), "501"},
      {post("/hello", "Content-Length : 3\r\n\r\n"), "400"},
      {get("/hello", "Expect: tea\r\n"), "417"},
      {get("/hello", "A: " + std::string(20'000, 'x') + "\r\n"), "431"},
      {"\x16\x03\x01", "400"},
  };
  for (const Row& row : rows) {
    serve();
    ended = false;
    send(row.text + get("/hello"));
    ASSERT_TRUE(until([&] { return ended; }));
    EXPECT_TRUE(text.starts_with(std::string("HTTP/1.1 ") + row.status)) << text;
    EXPECT_EQ(count("HTTP/1.1"), 1u) << text;
    EXPECT_NE(text.find("connection: close\r\n"), text.npos);
    EXPECT_TRUE(served.empty());
    client->finish();
    ASSERT_TRUE(until([&] { return over; }));
  }
}

// A body that breaks the protocol, before the response has begun and after.
TEST_P(HttpConnectionTest, ABrokenBodyIsNoEnd) {
  serve();
  send(post("/hold", "Transfer-Encoding: chunked\r\n\r\n2\r\nxy\r\nzz\r\n"));
  ASSERT_TRUE(comes("HTTP/1.1 400"));
  EXPECT_EQ(served.front().got, "xy");
  EXPECT_NE(served.front().gone, "");
  EXPECT_FALSE(served.front().ended);

  serve();
  send(post("/echo", "Transfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n"));
  ASSERT_TRUE(comes("2\r\nxy\r\n"));
  MemoryEnd& end = *server_end;
  kills = false;
  send("zz\r\n");
  ASSERT_TRUE(until([&] { return over; }));
  static_cast<void>(end);
  EXPECT_EQ(count("0\r\n\r\n"), 0u);
  EXPECT_NE(served.front().gone, "");
}

TEST_P(HttpConnectionTest, CutResponsesAreSeenCut) {
  for (const std::string_view target : {"/cut", "/drop"}) {
    serve();
    ended = false;
    send(get(target) + get("/hello"));
    ASSERT_TRUE(until([&] { return over; }));
    EXPECT_EQ(count("hello"), 0u);
    EXPECT_FALSE(ended) << "an abort is no end";
  }
}

TEST_P(HttpConnectionTest, ContinueIsSaidToWhoWaitsForIt) {
  taking = false;
  serve();
  send(post("/echo", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
  ASSERT_TRUE(until([&] { return !served.empty(); }));
  quiet();
  EXPECT_EQ(text.find("100"), text.npos);
  serve();
  taking = false;
  send(post("/hold", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
  ASSERT_TRUE(until([&] { return !served.empty(); }));
  Served& hold = served.front();
  EXPECT_TRUE(hold.exchange->readable().empty());
  hold.taking = true;
  ASSERT_TRUE(comes("HTTP/1.1 100 Continue\r\n\r\n"));
  send("abc");
  ASSERT_TRUE(until([&] { return hold.ended; }));
  EXPECT_EQ(hold.got, "abc");
  hold.exchange->respond({204, {}});
  hold.exchange->finish();
  ASSERT_TRUE(comes("HTTP/1.1 204 No Content\r\n"));
  taking = true;
  send(get("/hello"));
  ASSERT_TRUE(comes("hello"));
  // A response without it: whether the body comes is not known.
  send(post("/early", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
  ASSERT_TRUE(comes("connection: close"));
}

TEST_P(HttpConnectionTest, BodiesStreamBothWaysWithBackPressure) {
  serve();
  reading = false;
  send(get("/big10000000"));
  ASSERT_TRUE(until([&] { return !served.empty(); }));
  quiet(100ms);
  EXPECT_LT(served.front().sent, 200'000u);
  reading = true;
  on_readable();
  ASSERT_TRUE(until([&] { return text.size() > 10'000'000; }, 60s));
  const std::size_t body = text.find("\r\n\r\n") + 4;
  ASSERT_TRUE(until([&] { return text.size() == body + 10'000'000; }));
  bool intact = true;
  for (std::size_t i = 0; i < 10'000'000; ++i)
    intact &= static_cast<std::uint8_t>(text[body + i]) == pattern_byte(2, i);
  EXPECT_TRUE(intact);

  serve();
  taking = false;
  std::string up(5'000'000, 0);
  for (std::size_t i = 0; i < up.size(); ++i) up[i] = static_cast<char>(pattern_byte(1, i));
  send(post("/hold", "Content-Length: 5000000\r\n\r\n") + up);
  ASSERT_TRUE(until([&] { return !served.empty(); }));
  quiet(100ms);
  EXPECT_GT(pending.size(), 4'800'000u);
  served.front().taking = true;
  served.front().on_body();
  ASSERT_TRUE(until([&] { return served.front().ended; }, 60s));
  EXPECT_EQ(served.front().received, 5'000'000u);
  EXPECT_TRUE(served.front().intact);
}

TEST_P(HttpConnectionTest, AClientThatGoesIsTold) {
  for (const bool dying : {false, true}) {
    serve();
    dies = dying;
    send(get("/hold"));
    ASSERT_TRUE(until([&] { return !served.empty(); }));
    EXPECT_EQ(served.front().gone, "");
    client->finish();
    ASSERT_TRUE(until([&] { return over; }));
    EXPECT_NE(served.front().gone, "");
  }
  dies = false;
  serve();
  send(post("/hold", "Content-Length: 3\r\n\r\nab"));
  ASSERT_TRUE(until([&] { return !served.empty() && served.front().got == "ab"; }));
  client->finish();
  ASSERT_TRUE(until([&] { return over; }));
  EXPECT_FALSE(served.front().ended);
  EXPECT_NE(served.front().gone, "");
}

TEST_P(HttpConnectionTest, MayBeDestroyedInARequest) {
  kills = true;
  serve();
  send(get("/hold") + get("/hello"));
  ASSERT_TRUE(until([&] { return !served.empty(); }));
  quiet();
  served.front().exchange->respond({200, {}, 0});
  EXPECT_EQ(served.front().exchange->write(as_bytes("x")), 0u);
  kills = false;
}

TEST_P(HttpConnectionTest, UnreadBodiesDoNotBreakTheNextRequest) {
  serve();
  send(post("/hello", "Content-Length: 3\r\n\r\nabc") + get("/hello"));
  ASSERT_TRUE(until([&] { return count("hello") == 2; })) << text;
  EXPECT_FALSE(over);
  // One of which more is to come is not waited for.
  ended = false;
  send(post("/hello", "Content-Length: 1000000\r\n\r\nabc"));
  ASSERT_TRUE(until([&] { return count("hello") == 3 && ended; }));
}

TEST_P(HttpConnectionTest, HeadVersionZeroAndClose) {
  serve();
  send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" + get("/early"));
  ASSERT_TRUE(comes("404"));
  EXPECT_NE(text.find("content-length: 5\r\n\r\nHTTP/1.1 103"), text.npos) << text;
  serve();
  ended = false;
  send("POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_TRUE(text.ends_with("connection: close\r\n\r\nabc")) << text;
  serve();
  ended = false;
  send(get("/hello", "Connection: close\r\n") + get("/hello"));
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(count("hello"), 1u);
  serve();
  ended = false;
  send(get("/hello"));
  ASSERT_TRUE(comes("hello"));
  connection->drain();
  ASSERT_TRUE(until([&] { return ended; }));
}

TEST_P(HttpConnectionTest, TheProtocolMayChange) {
  serve();
  send(get("/upgrade", "Connection: upgrade\r\nUpgrade: echo\r\n") + "raw");
  ASSERT_TRUE(comes("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade"));
  ASSERT_TRUE(until([&] { return over; }));
  ASSERT_NE(served.front().stream, nullptr);
  EXPECT_EQ(as_text(served.front().stream->readable()), "raw");
  EXPECT_EQ(served.front().stream->write(as_bytes("back")), 4u);
  ASSERT_TRUE(comes("\r\n\r\nback"));
}

// --- HTTP/2, by frames written by hand; what the engine does is tested beside it -----------------

TEST_P(HttpConnectionTest, Http2ServesRequestsAtATime) {
  for (const std::size_t piece : {std::size_t{1}, SIZE_MAX}) {
    serve(piece, true);
    send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
         frame(kHeaders, kEndHeaders, 1, head_block(true, "/echo")) +
         frame(kHeaders, kEndHeaders | kEndStream, 3, head_block(false, "/hello")) +
         frame(kData, 0, 1, "ab"));
    const auto data = [&](std::uint32_t id) {
      std::string out;
      for (const Frame& f : frames_of(text))
        if (f.id == id && f.type == kData) {
          out += f.payload;
          if ((f.flags & kEndStream) != 0) out += "|";
        }
      return out;
    };
    ASSERT_TRUE(until([&] { return data(3) == "hello|" && data(1) == "ab"; }));
    EXPECT_EQ(served.front().exchange->request().authority, "a.test");
    EXPECT_EQ(served.front().exchange->request().scheme, "https");
    send(frame(kData, kEndStream, 1, "c"));
    ASSERT_TRUE(until([&] { return data(1) == "abc|"; })) << data(1) << served.front().got;
    // Resets go both ways and hurt nobody else.
    send(frame(kHeaders, kEndHeaders | kEndStream, 5, head_block(false, "/hold")) +
         frame(kHeaders, kEndHeaders | kEndStream, 7, head_block(false, "/cut")));
    ASSERT_TRUE(until([&] {
      const auto all = frames_of(text);
      return std::ranges::any_of(all, [](const Frame& f) { return f.type == kReset && f.id == 7; });
    }));
    send(frame(kReset, 0, 5, std::string_view("\0\0\0\x08", 4)));
    ASSERT_TRUE(until([&] {
      return std::ranges::any_of(served, [](const Served& s) { return !s.gone.empty(); });
    }));
    EXPECT_FALSE(over);
    connection->drain();
    served.clear();
    ended = false;
    ASSERT_TRUE(until([&] { return ended; }));
    const auto all = frames_of(text);
    EXPECT_TRUE(std::ranges::any_of(all, [](const Frame& f) { return f.type == kGoAway; }));
    client->finish();
    ASSERT_TRUE(until([&] { return over; }));
  }
}

// More than a stream may hold, and no more than the client's windows.
TEST_P(HttpConnectionTest, Http2BodiesGoOnWhenThereIsRoom) {
  serve(SIZE_MAX, true);
  send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
       frame(kHeaders, kEndHeaders | kEndStream, 1, head_block(false, "/big65000")));
  ASSERT_TRUE(until([&] { return !served.empty() && served.front().left == 0; }));
  ASSERT_TRUE(until([&] { return text.size() > 65'000; }));
  std::string body;
  for (const Frame& f : frames_of(text))
    if (f.type == kData) body += f.payload;
  ASSERT_EQ(body.size(), 65'000u);
  bool intact = true;
  for (std::size_t i = 0; i < body.size(); ++i)
    intact &= static_cast<std::uint8_t>(body[i]) == pattern_byte(2, i);
  EXPECT_TRUE(intact);
}

TEST_P(HttpConnectionTest, Http2GarbageEndsAndRequestsAreTold) {
  serve(SIZE_MAX, true);
  send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
       frame(kHeaders, kEndHeaders | kEndStream, 1, head_block(false, "/hold")));
  ASSERT_TRUE(until([&] { return !served.empty(); }));
  ended = false;
  send(frame(kData, 0, 0, "on stream 0"));
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_NE(served.front().gone, "");
  EXPECT_EQ(frames_of(text).back().type, kGoAway);
}

TEST_P(HttpConnectionTest, Http2TargetsAreThoseOfHttp1) {
  struct Row {
    std::string_view method, scheme, authority, path;
    bool served;
  };
  const Row rows[] = {
      {"GET", "x", "a.test", "http://internal/admin", false},
      {"GET", "x", "a.test", "/hold", false},
      {"GET", "https", "a.test", "/a#b", false},
      {"GET", "https", "a.test", "/\xc3\xa9", false},
      {"GET", "https", "a,b", "/hold", false},
      {"GET", "https", "me@a", "/hold", false},
      {"GET", "https", "a<b", "/hold", false},
      {"GET", "HTTPS", "A.test:1", "/hold?a", true},
      {"OPTIONS", "http", "a.test", "*", true},
  };
  for (const Row& row : rows) {
    serve(SIZE_MAX, true);
    send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
         frame(kHeaders, kEndHeaders | kEndStream, 1,
               literal(kMethod, row.method) + literal(kScheme, row.scheme) +
                   literal(kAuthority, row.authority) + literal(kPath, row.path)));
    const auto answered = [&](int type) {
      const auto all = frames_of(text);
      return std::ranges::any_of(all, [&](const Frame& f) { return f.id == 1 && f.type == type; });
    };
    if (row.served) {
      ASSERT_TRUE(until([&] { return !served.empty(); })) << row.path;
      continue;
    }
    // The library refuses by itself what it knows to be none.
    ASSERT_TRUE(until([&] { return answered(kHeaders) || answered(kReset); })) << row.path;
    if (answered(kHeaders)) {
      // 400 is 12 in the table.
      for (const Frame& f : frames_of(text)) {
        if (f.id == 1 && f.type == kHeaders) {
          EXPECT_EQ(f.payload[0], '\x8c') << row.path;
        }
      }
    }
    EXPECT_TRUE(served.empty()) << row.path;
    EXPECT_FALSE(over);
  }
}

// The client takes nothing for a while, then all at once: what the last write brought about, room
// for the response, is told although nothing more comes.
TEST_P(HttpConnectionTest, Http2RoomMadeByTheLastWriteIsTold) {
  serve(SIZE_MAX, true);
  server_end->piece = SIZE_MAX;
  client->capacity = 64 * 1024;
  send(std::string(kPreface) + frame(kSettings, 0, 0, "") +
       frame(kHeaders, kEndHeaders | kEndStream, 1, head_block(false, "/hold")));
  ASSERT_TRUE(until([&] { return !served.empty(); }));
  quiet();
  Served& one = served.front();
  one.exchange->respond({200, {}});
  one.left = 60'000;
  one.on_writable();  // as much as the stream holds
  EXPECT_GT(one.left, 0u);
  // Sooner than the look for stalled requests would find it.
  ASSERT_TRUE(until([&] { return one.left == 0; }, 2s));
}

TEST_P(HttpConnectionTest, ByAlpn) {
  const crypto::Identity id("relay.example");
  for (const std::string_view alpn : {"http/1.1", "h2"}) {
    crypto::ServerTls so = crypto::server_options(id);
    so.alpn = {"h2", "http/1.1"};
    crypto::ClientTls co = crypto::pinned();
    co.alpn = {std::string(alpn)};
    crypto::Pair contexts(so, co);
    auto c = std::make_unique<MemoryEnd>(*loop_), s = std::make_unique<MemoryEnd>(*loop_);
    MemoryEnd::join(*c, *s);
    over = false;
    served.clear();
    auto ss = crypto::must(crypto::TlsSession::server(contexts.server_context));
    connection = HttpConnection::over_tls(
        *loop_, *this, std::make_unique<TlsStream>(*loop_, std::move(s), std::move(ss)));
    connection->start();
    auto cs = crypto::must(crypto::TlsSession::client(contexts.client_context, "relay.example"));
    TlsStream tls(*loop_, std::move(c), std::move(cs));
    client.reset();
    tls.set_listener(this);  // there is no client: it only turns
    tls.start();
    const std::string request =
        alpn == "h2" ? std::string(kPreface) + frame(kSettings, 0, 0, "") +
                           frame(kHeaders, kEndHeaders | kEndStream, 1, head_block(false, "/hello"))
                     : get("/hello");
    std::size_t sent = 0;
    std::string got;
    ASSERT_TRUE(until([&] {
      sent += tls.write(as_bytes(request).subspan(sent));
      got += as_text(tls.readable());
      tls.consume(tls.readable().size());
      return got.find("hello") != got.npos;
    }));
    EXPECT_EQ(served.front().exchange->request().version, alpn == "h2" ? 2 : 1);
    served.clear();
    connection.reset();
  }
}

}  // namespace
}  // namespace adit::flow
