#include "proto/h2/server.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <map>

namespace adit::h2 {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

// A client by the library, joined to the server.
struct Client {
  struct Answer {
    Headers fields;
    std::string body;
    bool ended = false;
    int reset = -1;  // its code
  };
  struct Body {
    std::string left;
    bool ends = true;
  };

  explicit Client(const ServerSettings& s = {}) : server(s) {
    nghttp2_session_callbacks* c = nullptr;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_header_callback(
        c, [](nghttp2_session*, const nghttp2_frame* f, const std::uint8_t* n, std::size_t ns,
              const std::uint8_t* v, std::size_t vs, std::uint8_t, void* user) {
          static_cast<Client*>(user)->answers[f->hd.stream_id].fields.emplace_back(
              std::string(n, n + ns), std::string(v, v + vs));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        c, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* d,
              std::size_t n, void* user) {
          static_cast<Client*>(user)->answers[id].body.append(d, d + n);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        c, [](nghttp2_session*, const nghttp2_frame* f, void* user) {
          auto& self = *static_cast<Client*>(user);
          if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) &&
              (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            self.answers[f->hd.stream_id].ended = true;
          if (f->hd.type == NGHTTP2_RST_STREAM)
            self.answers[f->hd.stream_id].reset = static_cast<int>(f->rst_stream.error_code);
          self.goaway |= f->hd.type == NGHTTP2_GOAWAY;
          return 0;
        });
    nghttp2_session_client_new(&session, c, this);
    nghttp2_session_callbacks_del(c);
    nghttp2_submit_settings(session, 0, nullptr, 0);
  }
  ~Client() { nghttp2_session_del(session); }

  std::int32_t ask(Headers fields, Body* body = nullptr) {
    std::vector<nghttp2_nv> nv;
    for (auto& [n, v] : fields)
      nv.push_back({reinterpret_cast<std::uint8_t*>(n.data()),
                    reinterpret_cast<std::uint8_t*>(v.data()), n.size(), v.size(), 0});
    nghttp2_data_provider2 provider{};
    provider.source.ptr = body;
    provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* out,
                                std::size_t size, std::uint32_t* flags,
                                nghttp2_data_source* source, void*) -> nghttp2_ssize {
      Body& from = *static_cast<Body*>(source->ptr);
      const std::size_t n = std::min(size, from.left.size());
      std::copy_n(from.left.begin(), n, out);
      from.left.erase(0, n);
      if (n == 0 && !from.ends) return NGHTTP2_ERR_DEFERRED;
      if (from.left.empty() && from.ends) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<nghttp2_ssize>(n);
    };
    return nghttp2_submit_request2(session, nullptr, nv.data(), nv.size(),
                                   body != nullptr ? &provider : nullptr, nullptr);
  }
  std::int32_t get(const std::string& path) {
    return ask({{":method", "GET"}, {":scheme", "https"}, {":authority", "A.test"},
                {":path", path}});
  }
  std::int32_t post(Body& body, const std::string& length = "") {
    Headers fields = {{":method", "POST"}, {":scheme", "https"}, {":authority", "a.test"},
                      {":path", "/"}};
    if (!length.empty()) fields.emplace_back("content-length", length);
    return ask(fields, &body);
  }
  // Until both are quiet.
  void run() {
    for (int i = 0; i < 10'000; ++i) {
      const std::uint8_t* data = nullptr;
      const nghttp2_ssize n = nghttp2_session_mem_send2(session, &data);
      if (n > 0) server.feed({data, static_cast<std::size_t>(n)});
      const Bytes back = server.drain(16 * 1024);
      if (!back.empty()) (void)nghttp2_session_mem_recv2(session, back.data(), back.size());
      for (ServerEvent& e : server.take_events()) events.push_back(std::move(e));
      if (n <= 0 && back.empty()) return;
    }
    FAIL() << "no end";
  }
  template <class E>
  std::vector<E> all() const {
    std::vector<E> out;
    for (const ServerEvent& e : events)
      if (const E* found = std::get_if<E>(&e)) out.push_back(*found);
    return out;
  }

  Server server;
  nghttp2_session* session = nullptr;
  std::map<std::int32_t, Answer> answers;
  std::vector<ServerEvent> events;
  bool goaway = false;
};

TEST(H2Server, RequestAndResponse) {
  Client c;
  const auto id = c.ask({{":method", "GET"}, {":scheme", "https"}, {":authority", "A.test:8443"},
                         {":path", "/a?b"}, {"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}});
  c.run();
  const auto came = c.all<RequestCame>();
  ASSERT_EQ(came.size(), 1u);
  const http::RequestHead& head = came[0].head;
  EXPECT_EQ(head.method + " " + head.scheme + " " + head.authority + " " + head.target,
            "GET https a.test:8443 /a?b");
  EXPECT_EQ(head.fields, (http::Fields{{"cookie", "a=1; b=2"}, {"x", "y"}}));
  EXPECT_FALSE(head.has_body);
  c.server.respond(id, {103, {{"link", "x"}}}, false);
  c.server.respond(id, {200, {{"a", "b"}}, 5}, false);
  EXPECT_EQ(c.server.write(id, as_bytes("hello")), 5u);
  c.server.finish(id);
  c.server.release(id);
  c.run();
  EXPECT_EQ(c.answers[id].fields,
            (Headers{{":status", "103"}, {"link", "x"}, {":status", "200"}, {"a", "b"},
                     {"content-length", "5"}}));
  EXPECT_EQ(c.answers[id].body, "hello");
  EXPECT_TRUE(c.answers[id].ended);
  EXPECT_EQ(c.answers[id].reset, -1);
  EXPECT_EQ(c.server.open(), 0u);
  EXPECT_TRUE(c.all<RequestReset>().empty());
}

TEST(H2Server, WindowsAndRoomBoundWhatIsUnread) {
  Client c;
  Client::Body up{std::string(2'000'000, 'u')};
  const auto id = c.post(up, "2000000");
  c.run();
  EXPECT_EQ(c.all<RequestCame>()[0].head.length, 2'000'000u);
  EXPECT_FALSE(http::has(c.all<RequestCame>()[0].head.fields, "content-length"));
  EXPECT_GE(up.left.size(), 2'000'000u - limits::kHttpStreamWindowBytes);
  std::size_t got = 0;
  for (int i = 0; i < 10'000 && !c.server.at_end(id); ++i) {
    const std::size_t n = c.server.readable(id).size();
    c.server.consume(id, n);
    got += n;
    c.run();
  }
  EXPECT_EQ(got, 2'000'000u);
  c.server.respond(id, {200, {}}, false);
  const std::string big(100'000, 'd');
  EXPECT_EQ(c.server.write(id, as_bytes(big)), limits::kHttpSendBytes);
  EXPECT_EQ(c.server.write(id, as_bytes(big)), 0u);
  c.run();
  ASSERT_EQ(c.all<ResponseRoom>().size(), 1u);
  EXPECT_EQ(c.answers[id].body.size(), limits::kHttpSendBytes);
}

// What is not finished is cut; what is finished goes out, and a client that still sends is stopped.
TEST(H2Server, ReleaseCutsOrLetsGo) {
  Client c;
  Client::Body endless{"x", false};
  const auto cut = c.get("/"), early = c.post(endless);
  c.run();
  c.server.respond(cut, {200, {}}, false);
  static_cast<void>(c.server.write(cut, as_bytes("half")));
  c.run();
  c.server.release(cut);
  c.server.respond(early, {404, {}, 3}, false);
  static_cast<void>(c.server.write(early, as_bytes("no\n")));
  c.server.finish(early);
  c.server.release(early);
  c.run();
  EXPECT_FALSE(c.answers[cut].ended);
  EXPECT_EQ(c.answers[cut].reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_EQ(c.answers[early].body, "no\n");
  EXPECT_TRUE(c.answers[early].ended);
  EXPECT_EQ(c.answers[early].reset, NGHTTP2_NO_ERROR);
  EXPECT_EQ(c.server.open(), 0u);
  // Credit for what was dropped: another request still gets through.
  for (int i = 0; i < 12; ++i) {
    Client::Body up{std::string(200'000, 'u')};
    const auto id = c.post(up);
    c.run();
    c.server.respond(id, {204, {}}, true);
    c.server.release(id);
    c.run();
    EXPECT_TRUE(c.answers[id].ended) << i;
  }
}

TEST(H2Server, ClientsThatResetAreTold) {
  Client c;
  const auto id = c.get("/");
  c.run();
  nghttp2_submit_rst_stream(c.session, 0, id, NGHTTP2_CANCEL);
  c.run();
  ASSERT_EQ(c.all<RequestReset>().size(), 1u);
  c.server.respond(id, {200, {}}, true);
  c.server.release(id);
  c.run();
  EXPECT_EQ(c.server.open(), 0u);
  EXPECT_FALSE(c.server.over());
}

TEST(H2Server, LongHeadsAndManyStreamsAreBounded) {
  ServerSettings s;
  s.head_bytes_max = 500;
  s.streams_max = 2;
  Client c(s);
  c.run();
  const auto id = c.ask({{":method", "GET"}, {":scheme", "https"}, {":authority", "a"},
                         {":path", "/"}, {"x", std::string(600, 'x')}});
  c.get("/2");
  c.get("/3");
  c.run();
  const auto came = c.all<RequestCame>();
  ASSERT_EQ(came.size(), 2u);
  EXPECT_TRUE(came[0].too_long);
  EXPECT_EQ(came[0].id, id);
  EXPECT_FALSE(came[1].too_long);
}

// A table of HPACK makes little on the wire into much: it is not read to its end.
TEST(H2Server, HeadsAndTrailersFarOverTheBoundAreReset) {
  ServerSettings s;
  s.head_bytes_max = 500;
  Headers fields = {{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}};
  for (int i = 0; i < 10; ++i) fields.emplace_back("x", std::string(400, 'x'));
  Client c(s);
  const auto id = c.ask(fields);
  c.run();
  EXPECT_TRUE(c.all<RequestCame>().empty());
  EXPECT_EQ(c.answers[id].reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_EQ(c.server.take_provoked(), 1u);

  for (const std::size_t n : {std::size_t{2}, std::size_t{10}}) {
    Client t(s);
    Client::Body body{"", false};
    const auto post = t.post(body);
    t.run();
    std::string name = "x", value(400, 'x');
    const std::vector<nghttp2_nv> trailers(
        n, {reinterpret_cast<std::uint8_t*>(name.data()),
            reinterpret_cast<std::uint8_t*>(value.data()), name.size(), value.size(), 0});
    nghttp2_submit_headers(t.session, NGHTTP2_FLAG_END_STREAM, post, nullptr, trailers.data(),
                           trailers.size(), nullptr);
    t.run();
    EXPECT_EQ(t.server.at_end(post), n == 2);
    EXPECT_EQ(t.all<RequestReset>().size(), n == 2 ? 0u : 1u);
  }
  EXPECT_FALSE(c.server.over());
}

// Resets are counted where the client made us send them, and nowhere else.
TEST(H2Server, ProvokedResetsAreCounted) {
  Client c;
  Client::Body body{"abcd"};
  c.post(body, "5");
  const auto cut = c.get("/");
  c.run();
  c.server.release(cut);
  c.run();
  EXPECT_EQ(c.answers[cut].reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_EQ(c.server.take_provoked(), 1u);
  EXPECT_EQ(c.server.take_provoked(), 0u);
}

TEST(H2Server, WhatIsLeftAndDoesNotMoveMayBeCut) {
  Client c;
  nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0};
  nghttp2_submit_settings(c.session, 0, &window, 1);
  const auto id = c.get("/");
  c.run();
  c.server.respond(id, {200, {}}, false);
  static_cast<void>(c.server.write(id, as_bytes("hello")));
  c.server.finish(id);
  EXPECT_TRUE(c.server.left().empty());
  c.server.release(id);
  c.run();
  ASSERT_EQ(c.server.left().size(), 1u);
  EXPECT_EQ(c.server.left()[0].id, id);
  EXPECT_EQ(c.server.left()[0].sent, 0u);
  c.server.cut(id);
  c.run();
  EXPECT_TRUE(c.server.left().empty());
  EXPECT_EQ(c.server.open(), 0u);
  EXPECT_EQ(c.answers[id].reset, NGHTTP2_CANCEL);
  EXPECT_EQ(c.server.take_provoked(), 0u);
}

TEST(H2Server, WhatIsNotHttpIsRefused) {
  const Headers rows[] = {
      {{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "x"}},
      {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a"},
       {"connection", "close"}},
      {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a"},
       {"transfer-encoding", "chunked"}},
      {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a"},
       {"a", "b\r\nc: d"}},
  };
  for (const Headers& row : rows) {
    Client c;
    c.ask(row);
    c.run();
    EXPECT_TRUE(c.all<RequestCame>().empty()) << row.back().first;
  }
  // A body that is not as long as it says.
  Client c;
  Client::Body body{"abcd"};
  c.post(body, "3");
  c.run();
  EXPECT_EQ(c.all<RequestReset>().size(), 1u);

  Server garbage(ServerSettings{});
  garbage.feed(as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  (void)garbage.drain(1 << 16);
  EXPECT_TRUE(garbage.over());
}

TEST(H2Server, GoAwayLetsRequestsEnd) {
  Client c;
  const auto id = c.get("/");
  c.run();
  c.server.go_away(0);
  c.run();
  EXPECT_TRUE(c.goaway);
  EXPECT_EQ(c.server.open(), 1u);
  c.server.respond(id, {200, {}}, true);
  c.server.release(id);
  c.run();
  EXPECT_TRUE(c.answers[id].ended);
  EXPECT_EQ(c.server.open(), 0u);
}

}  // namespace
}  // namespace adit::h2
