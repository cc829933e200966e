// What clients of the HTTP tunnel node are told, op by op, and when, on a virtual clock.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/limits_node.h"
#include "crypto/digest.h"
#include "sim/node_ops_world.h"
#include "sim/peers.h"

namespace adit::sim {
namespace {

constexpr std::string_view kUuid = "11111111-2222-4333-8444-555555555555";

std::string op(std::string_view kind, const std::string& members) {
  return "{\"op\":\"" + std::string(kind) + "\"" + (members.empty() ? "" : "," + members) + "}";
}
std::string to(const std::string& host, int port) {
  return "\"host\":\"" + host + "\",\"port\":" + std::to_string(port);
}
std::string sid(const std::string& id) { return "\"sid\":\"" + id + "\""; }
std::string d(std::string_view text) { return "\"d\":\"" + base64(text) + "\""; }

// `json` with every id that a node made replaced by <sid>.
std::string masked(std::string json) {
  std::size_t at = 0;
  while ((at = json.find("\"sid\":\"", at)) != json.npos) {
    at += 7;
    if (json.compare(at, kUuid.size(), kUuid) != 0 && json.size() > at + 36 &&
        json[at + 36] == '"')
      json.replace(at, 36, "<sid>");
  }
  return json;
}

class NodeOps : public testing::Test {
 protected:
  NodeOps()
      : w(world),
        echo(w.near.loop(), Address{w.near.address(), 7}),
        banner(w.near.loop(), Address{w.near.address(), 22},
               {.send_seed = 9, .send_bytes = 6, .fin = false}) {
    world.set_faults(Faults::none());
  }
  World world{1};
  NodeOpsWorld w;
  EchoServer echo;
  PatternServer banner;
};

TEST_F(NodeOps, EveryOpOfABatchInTheWordsOfTheOriginal) {
  struct Case {
    std::string ops, expected;
  };
  const std::string gone(kUuid);
  const std::vector<Case> cases = {
      {"", R"({"r":[]})"},
      {op("connect", to("203.0.113.1", 7)), R"({"r":[{"sid":"<sid>","eof":false}]})"},
      {op("connect", to("near.example", 22)), R"({"r":[{"sid":"<sid>","eof":false}]})"},
      {op("connect_data", to("near.example", 7) + ",\"seq\":5," + d("hello")),
       R"({"r":[{"sid":"<sid>","d":"aGVsbG8=","eof":false}]})"},
      {op("connect_data", to("near.example", 7)), R"({"r":[{"sid":"<sid>","eof":false}]})"},
      {op("connect_data", to("near.example", 7) + ",\"d\":\"\""),
       R"({"r":[{"sid":"<sid>","eof":false}]})"},
      {op("connect_data", to("near.example", 7) + ",\"d\":\"A\""),
       R"({"r":[{"e":"bad base64: Invalid input length: 1"}]})"},
      {op("connect", "\"port\":7"), R"({"r":[{"e":"missing host"}]})"},
      {op("connect", "\"host\":\"\",\"port\":7"), R"({"r":[{"e":"missing host"}]})"},
      {op("connect", "\"host\":\"near.example\""), R"({"r":[{"e":"missing or invalid port"}]})"},
      {op("connect", to("near.example", 0)), R"({"r":[{"e":"missing or invalid port"}]})"},
      {op("connect", to("near.example", 8)),
       R"j({"r":[{"e":"connect failed: Connection refused (os error 111)"}]})j"},
      {op("connect", to("nowhere.example", 7)),
       R"({"r":[{"e":"connect failed: failed to lookup address information: )"
       R"(Name or service not known"}]})"},
      {op("connect", to("inside.example", 7)),
       R"j({"r":[{"e":"connect failed: Permission denied (os error 13)"}]})j"},
      {op("connect", to("127.1", 7)),
       R"j({"r":[{"e":"connect failed: Permission denied (os error 13)"}]})j"},
      {op("connect", to("2130706433", 7)),
       R"j({"r":[{"e":"connect failed: Permission denied (os error 13)"}]})j"},
      {op("connect", to("[::ffff:127.0.0.1]", 7)),
       R"j({"r":[{"e":"connect failed: Permission denied (os error 13)"}]})j"},
      {op("connect", to("hole.example", 7)), R"({"r":[{"e":"connect failed: connect timeout"}]})"},
      {op("data", ""), R"({"r":[{"e":"missing sid"}]})"},
      {op("data", sid("")), R"({"r":[{"e":"missing sid"}]})"},
      {op("data", sid(gone)), R"({"r":[{"sid":")" + gone + R"(","eof":true}]})"},
      {op("data", sid(gone) + ",\"seq\":18"),
       R"({"r":[{"sid":")" + gone + R"(","eof":true,"seq":18}]})"},
      {op("data", sid(gone) + ",\"d\":\"A===\",\"seq\":1"),
       R"({"r":[{"e":"bad base64: Invalid symbol 61, offset 1."}]})"},
      {op("udp_data", ""), R"({"r":[{"e":"missing sid"}]})"},
      {op("udp_data", sid(gone) + ",\"seq\":2"),
       R"({"r":[{"sid":")" + gone + R"(","eof":true,"seq":2}]})"},
      {op("udp_open", "\"host\":\"near.example\""), R"({"r":[{"e":"missing or invalid port"}]})"},
      {op("udp_open", to("nowhere.example", 7)),
       R"({"r":[{"e":"udp connect failed: failed to lookup address information: )"
       R"(Name or service not known"}]})"},
      {op("udp_open", to("10.0.0.1", 7)),
       R"j({"r":[{"e":"udp connect failed: Permission denied (os error 13)"}]})j"},
      {op("udp_open", to("near.example", 7) + ",\"d\":\"*\""),
       R"({"r":[{"e":"bad base64: Invalid symbol 42, offset 0."}]})"},
      {op("close", ""), R"({"r":[{"e":"missing sid"}]})"},
      {op("close", sid(gone)), R"({"r":[{"sid":")" + gone + R"(","eof":true}]})"},
      {op("ping", ""), R"({"r":[{"e":"unknown op: ping","code":"UNSUPPORTED_OP"}]})"},
      {op("Data", ""), R"({"r":[{"e":"unknown op: Data","code":"UNSUPPORTED_OP"}]})"},
  };
  for (const Case& c : cases) EXPECT_EQ(masked(w.batch_now(c.ops)), c.expected) << c.ops;
  EXPECT_EQ(w.site.exchanges(), 0u);
  EXPECT_EQ(w.node.jobs(), 0u);
}

TEST_F(NodeOps, EverySingleOpInTheWordsOfTheOriginal) {
  const std::string gone(kUuid);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"("op":"connect",)" + to("near.example", 7), R"({"sid":"<sid>","eof":false})"},
      {R"("op":"connect_data",)" + to("near.example", 7) + R"(,"data":"aGVsbG8=")",
       R"({"sid":"<sid>","d":"aGVsbG8=","eof":false})"},
      {R"("op":"connect_data",)" + to("near.example", 7) + R"(,"data":"?")",
       R"({"e":"bad base64: Invalid symbol 63, offset 0."})"},
      {R"("op":"connect")", R"({"e":"missing host"})"},
      {R"("op":"connect","host":"x")", R"({"e":"missing or invalid port"})"},
      {R"("op":"connect",)" + to("near.example", 8),
       R"j({"e":"connect failed: Connection refused (os error 111)"})j"},
      {R"("op":"connect",)" + to("hole.example", 8), R"({"e":"connect failed: connect timeout"})"},
      {R"("op":"data")", R"({"e":"missing sid"})"},
      {R"("op":"data","sid":")" + gone + "\"", R"({"e":"unknown session"})"},
      {R"("op":"close")", R"({"e":"missing sid"})"},
      {R"("op":"close","sid":")" + gone + "\"", R"({"sid":")" + gone + R"(","eof":true})"},
      {R"("op":"udp_open",)" + to("near.example", 7),
       R"({"e":"unknown op: udp_open","code":"UNSUPPORTED_OP"})"},
      {R"("op":"udp_data","sid":"x")",
       R"({"e":"unknown op: udp_data","code":"UNSUPPORTED_OP"})"},
      {R"("op":"resize")", R"({"e":"unknown op: resize","code":"UNSUPPORTED_OP"})"},
  };
  for (const auto& [members, expected] : cases)
    EXPECT_EQ(masked(w.single_now(members)), expected) << members;
}

TEST_F(NodeOps, ABannerComesWithTheFirstPoll) {
  const std::string id = w.connect("near.example", 22);
  ASSERT_EQ(id.size(), 36u);
  ByteVector expected(6);
  Pattern(9).fill(0, expected);
  EXPECT_EQ(w.batch_now(op("data", sid(id) + ",\"seq\":0")),
            R"({"r":[{"sid":")" + id + R"(","d":")" + crypto::base64_encode(expected) +
                R"(","eof":false,"seq":0}]})");
}

TEST_F(NodeOps, AnIdlePollIsHeldAndAPushWakesIt) {
  const std::string id = w.connect("near.example", 7);
  Call& idle = w.batch(op("data", sid(id) + ",\"d\":\"\",\"seq\":0"));
  ASSERT_TRUE(w.until([&] { return idle.over; }));
  EXPECT_EQ(idle.response, R"({"r":[{"sid":")" + id + R"(","eof":false,"seq":0}]})");
  EXPECT_GE(idle.took(), limits::kNodeLongPoll);
  EXPECT_LT(idle.took(), limits::kNodeLongPoll + 50ms);
  Call& woken = w.batch(op("data", sid(id) + ",\"seq\":1"));
  world.run_for(1s);
  EXPECT_FALSE(woken.over);
  Call& upload = w.batch(op("data", sid(id) + ",\"seq\":2,\"wseq\":0," + d("x")));
  const Instant sent = world.now();
  ASSERT_TRUE(w.until([&] { return woken.over; }));
  EXPECT_LT(world.now() - sent, 50ms);
  EXPECT_EQ(text_member(woken.response, "d"), "eA==");
  ASSERT_TRUE(w.until([&] { return upload.over; }));
  EXPECT_EQ(text_member(upload.response, "d"), "");
  EXPECT_GE(upload.took(), limits::kNodeActiveWait);
  EXPECT_LT(upload.took(), limits::kNodeActiveWait + 50ms);
}

// A server that sends a piece every few milliseconds, as one that computes its answer.
TEST_F(NodeOps, StragglersSettleIntoOneReply) {
  class Dripper final : public Server {
   public:
    Dripper(io::Loop& loop, const Address& at)
        : Server(loop, at), timer_(loop, Delegate<void()>::to<&Dripper::on_timer>(this)) {}

   private:
    void serve(io::Socket socket) override {
      socket_ = std::move(socket);
      timer_.set(loop_.now() + 5ms);
    }
    void on_timer() {
      EXPECT_TRUE(loop_.send(socket_, as_bytes("0123456789")));
      if (++sent_ < 20) timer_.set(loop_.now() + 5ms);
    }
    io::Socket socket_;
    int sent_ = 0;
    io::Timer timer_;
  } dripper(w.near.loop(), Address{w.near.address(), 80});
  Call& call = w.batch(op("connect_data", to("near.example", 80) + "," + d("GET")));
  ASSERT_TRUE(w.until([&] { return call.over; }));
  EXPECT_EQ(text_member(call.response, "d").size(), (200 + 2) / 3 * 4u);
  EXPECT_LE(call.took(), 1350ms);
}

TEST_F(NodeOps, TheEndComesWithTheLastBytes) {
  PatternServer server(w.near.loop(), Address{w.near.address(), 80},
                       {.send_seed = 3, .send_bytes = 5});
  ByteVector expected(5);
  Pattern(3).fill(0, expected);
  EXPECT_EQ(masked(w.batch_now(op("connect_data", to("near.example", 80)))),
            R"({"r":[{"sid":"<sid>","d":")" + crypto::base64_encode(expected) +
                R"(","eof":true}]})");
  EXPECT_EQ(w.node.sessions(), 0u);
  Pattern(4).fill(0, expected);  // the server's second
  const std::string id = w.connect("near.example", 80);
  world.run_for(100ms);
  const std::string once = w.batch_now(op("data", sid(id) + ",\"seq\":0"));
  EXPECT_EQ(once, R"({"r":[{"sid":")" + id + R"(","d":")" + crypto::base64_encode(expected) +
                      R"(","eof":true,"seq":0}]})");
  // Its answer may have been lost.
  EXPECT_EQ(w.batch_now(op("data", sid(id) + ",\"seq\":0")), once);
  EXPECT_EQ(w.batch_now(op("data", sid(id) + ",\"seq\":1")),
            R"({"r":[{"sid":")" + id + R"(","eof":true,"seq":1}]})");
  world.run_for(limits::kNodeReplayWindow + 2 * limits::kNodeReaperPeriod);
  EXPECT_EQ(w.node.sessions(), 0u);
  EXPECT_EQ(w.node.context().budget.used() + w.node.context().budget.kept(), 0u);
}

TEST_F(NodeOps, OneSlowConnectDelaysNobody) {
  const std::string id = w.connect("near.example", 7);
  Call& call = w.batch(op("connect_data", to("hole.example", 443) + "," + d("x")) + "," +
                       op("data", sid(id) + ",\"seq\":0,\"wseq\":0," + d("live")) + "," +
                       op("udp_open", to("near.example", 9) + "," + d("q")));
  ASSERT_TRUE(w.until([&] { return call.over; }));
  EXPECT_LT(call.took(), 1500ms);
  EXPECT_EQ(text_member(call.response, "d"), base64("live"));
  // What it was optimistic about is told later.
  const std::string pending = text_member(call.response, "sid");
  world.run_for(8s);
  EXPECT_EQ(w.batch_now(op("data", sid(pending) + ",\"seq\":0")),
            R"({"r":[{"e":"connect failed: connect timeout"}]})");
  EXPECT_EQ(w.batch_now(op("data", sid(pending) + ",\"seq\":1")),
            R"({"r":[{"sid":")" + pending + R"(","eof":true,"seq":1}]})");
}

TEST_F(NodeOps, ADeadFirstAddressCostsAHeadStart) {
  EchoServer six(w.near.loop(), Address{w.near.addresses()[1], 7});
  w.names.set("mixed.example", {w.hole.addresses()[1], w.near.address()});
  Call& call = w.single(R"("op":"connect",)" + to("mixed.example", 7));
  ASSERT_TRUE(w.until([&] { return call.over; }));
  EXPECT_EQ(masked(call.response), R"({"sid":"<sid>","eof":false})");
  EXPECT_LT(call.took(), 400ms);
  for (const char* host : {"2001:db8::2", "[2001:db8::2]"})
    EXPECT_EQ(masked(w.single_now(R"("op":"connect",)" + to(host, 7))),
              R"({"sid":"<sid>","eof":false})") << host;
}

TEST_F(NodeOps, UploadsInTheirOrderWhateverComesFirst) {
  const std::string id = w.connect("near.example", 7);
  const auto chunk = [&](int wseq, std::string_view text) {
    return w.batch_now(op("data", sid(id) + ",\"wseq\":" + std::to_string(wseq) + "," + d(text)));
  };
  EXPECT_EQ(text_member(chunk(1, "b"), "d"), "");
  EXPECT_EQ(text_member(chunk(1, "?"), "d"), "");  // the first one counts
  EXPECT_EQ(text_member(chunk(0, "a"), "d"), base64("ab"));
  EXPECT_EQ(text_member(chunk(0, "?"), "d"), "");
  EXPECT_EQ(text_member(chunk(3, "d"), "d"), "");
  EXPECT_EQ(text_member(chunk(2, "c"), "d"), base64("cd"));
  for (int i = 0; i < 32; ++i) EXPECT_EQ(text_member(chunk(5 + i, "z"), "e"), "");
  EXPECT_EQ(chunk(5 + 32, "z"), R"({"r":[{"e":"wseq buffer cap exceeded"}]})");
  EXPECT_EQ(chunk(4, "y"), R"({"r":[{"sid":")" + id + R"(","eof":true}]})");
}

TEST_F(NodeOps, DownloadsInTheOrderOfTheirPolls) {
  const std::string id = w.connect("near.example", 7);
  Call& second = w.batch(op("data", sid(id) + ",\"seq\":1"));
  world.run_for(100ms);
  Call& first = w.batch(op("data", sid(id) + ",\"seq\":0"));
  world.run_for(100ms);
  static_cast<void>(w.batch(op("data", sid(id) + ",\"seq\":2,\"wseq\":0," + d("one"))));
  ASSERT_TRUE(w.until([&] { return first.over; }, 100ms));
  EXPECT_EQ(text_member(first.response, "d"), base64("one"));
  EXPECT_FALSE(second.over);
  static_cast<void>(w.batch(op("data", sid(id) + ",\"seq\":3,\"wseq\":1," + d("two"))));
  ASSERT_TRUE(w.until([&] { return second.over; }, 100ms));
  EXPECT_EQ(text_member(second.response, "d"), base64("two"));
}

TEST_F(NodeOps, ALostResponseCanBeFetchedAgain) {
  const std::string id = w.connect("near.example", 7);
  const std::string ops = op("data", sid(id) + ",\"seq\":0,\"wseq\":0," + d("precious"));
  const std::string once = w.batch_now(ops);
  EXPECT_EQ(text_member(once, "d"), base64("precious"));
  EXPECT_EQ(w.batch_now(ops), once);  // and it was not sent twice
  EXPECT_EQ(text_member(w.batch_now(op("data", sid(id) + ",\"seq\":1")), "d"), "");
  // Two alike at a time: the second waits for the first.
  const std::string more = op("data", sid(id) + ",\"seq\":2,\"wseq\":1," + d("more"));
  Call& one = w.batch(more);
  Call& two = w.batch(more);
  ASSERT_TRUE(w.until([&] { return one.over && two.over; }));
  EXPECT_EQ(text_member(one.response, "d"), base64("more"));
  EXPECT_EQ(one.response, two.response);
  // One whose client went away did not happen.
  Call& left = w.batch(op("data", sid(id) + ",\"seq\":3"));
  world.run_for(100ms);
  w.hang_up(left);
  EXPECT_EQ(text_member(w.batch_now(op("data", sid(id) + ",\"seq\":3,\"wseq\":2," + d("end"))),
                        "d"), base64("end"));
  world.run_for(limits::kNodeReplayWindow + limits::kNodeReaperPeriod);
  EXPECT_EQ(text_member(w.batch_now(ops), "d"), "");
}

TEST_F(NodeOps, AFullReplyStillHasAResultForEveryOp) {
  PatternServer server(w.near.loop(), Address{w.near.address(), 80},
                       {.send_seed = 3, .send_bytes = 30'000'000});
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(w.connect("near.example", 80));
  world.run_for(30s);
  EXPECT_LE(w.node.context().budget.used(), limits::kNodeBufferBytesMax);
  std::vector<std::uint64_t> got(5);
  std::vector<bool> ended(5);
  for (int round = 0; round < 200 && !std::ranges::all_of(ended, std::identity()); ++round) {
    world.run_for(1s);
    std::string ops;
    for (const std::string& id : ids)
      ops += (ops.empty() ? "" : ",") +
             op("data", sid(id) + ",\"seq\":" + std::to_string(round));
    Call& call = w.batch(ops);
    ASSERT_TRUE(w.until([&] { return call.over; }));
    EXPECT_LE(call.response.size(), 45u << 20);
    EXPECT_LE(call.longest_write, 64u << 10);
    // One result each, in order.
    std::size_t at = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      const std::size_t result = call.response.find("{\"sid\":\"" + ids[i] + "\"", at);
      ASSERT_NE(result, std::string::npos);
      at = call.response.find('}', result);
      const std::string text = call.response.substr(result, at - result);
      const auto bytes = crypto::base64_decode(text_member(text, "d"));
      ASSERT_TRUE(bytes);
      EXPECT_EQ(Pattern(3 + i).match(got[i], *bytes), bytes->size());
      got[i] += bytes->size();
      ended[i] = ended[i] || text.find("\"eof\":true") != std::string::npos;
    }
    call.response = {};
  }
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(got[i], 30'000'000u);
    EXPECT_TRUE(ended[i]);
  }
}

TEST_F(NodeOps, WhoHasNoKeyFindsNothing) {
  const std::vector<std::tuple<std::string, std::string, std::string, std::string>> cases = {
      {"POST", "/tunnel", "application/json", R"({"k":"wrong","op":"connect"})"},
      {"POST", "/tunnel/batch", "application/json", R"({"k":"wrong","ops":[]})"},
      {"POST", "/tunnel/batch", "application/json", R"({"ops":[]})"},
      {"POST", "/tunnel/batch", "application/json", "no json"},
      {"POST", "/tunnel/batch", "application/json", "\x1f\x8b no gzip"},
      {"POST", "/tunnel/batch", "application/json", std::string(2'000'000, ' ')},
      {"POST", "/tunnel", "text/plain", "{}"},
      {"POST", "/tunnel", "", ""},
      {"GET", "/tunnel", "", ""},
      {"PUT", "/health", "", ""},
      {"GET", "/favicon.ico", "", ""},
      {"GET", "/tunnels", "", ""},
  };
  for (const auto& [method, path, type, body] : cases) {
    Call& call = w.ask(path, body, method, type);
    ASSERT_TRUE(w.until([&] { return call.over; }));
    EXPECT_EQ(call.status, 404) << path << body.substr(0, 40);
    EXPECT_EQ(http::field(call.fields, "content-type"), "text/html");
    EXPECT_EQ(http::field(call.fields, "server"), "nginx");
    EXPECT_EQ(call.response.size(), 146u);
    EXPECT_EQ(call.response.find("<html>\r\n<head><title>404 Not Found</title></head>\r\n"), 0u);
  }
  for (const char* path : {"/health", "/", "//health", "/health/", "/health?x"}) {
    Call& call = w.ask(path, "", "GET", "");
    ASSERT_TRUE(w.until([&] { return call.over; }));
    EXPECT_EQ(call.status, 200);
    EXPECT_EQ(call.response, "ok");
    EXPECT_EQ(http::field(call.fields, "content-type"), "text/plain; charset=utf-8");
  }
}

TEST_F(NodeOps, WhoHasTheKeyHearsWhatIsWrong) {
  const std::string k = R"({"k":")" + std::string(NodeOpsWorld::kKey) + "\"";
  const std::vector<std::tuple<std::string, std::string, std::string, int, std::string>> cases = {
      {"/tunnel", "text/plain", k + R"(,"op":"close"})", 415,
       "Expected request with `Content-Type: application/json`"},
      {"/tunnel", "application/json", k + ",", 400, "Failed to parse the request body as JSON: "},
      {"/tunnel", "application/vnd.x+json; q=1", k + "}", 422,
       "Failed to deserialize the JSON body into the target type: op: missing field"},
      {"/tunnel", "application/json", k + R"(,"op":"connect","port":70000})", 422,
       "Failed to deserialize the JSON body into the target type: port: "},
      {"/tunnel/batch", "", k + ",", 200, R"({"r":[{"e":"bad json: )"},
      {"/tunnel/batch", "", k + R"(,"ops":[{"op":5}]})", 200, R"({"r":[{"e":"bad json: )"},
      {"/tunnel/batch", "", k + R"(,"ops":[]} x)", 200, R"({"r":[{"e":"bad json: )"},
      {"/tunnel/batch", "", k + R"(,"zops":"?"})", 200,
       R"({"r":[{"e":"zops b64: Invalid symbol 63, offset 0."}]})"},
      {"/tunnel/batch", "", k + R"(,"zops":"AAAA"})", 200, R"({"r":[{"e":"zstd decode: )"},
      {"//tunnel/batch/", "", k + R"(,"ops":[]})", 200, R"({"r":[]})"},
      {"/tunnel", "application/json", k + R"(,"op":"close"} more)", 200, R"({"e":"missing sid"})"},
      {"/tunnel/batch", "", k + R"(,"ops":[{"d":")" + std::string(17u << 20, 'A') + R"("}]})", 413,
       "Failed to buffer the request body: length limit exceeded"},
  };
  for (const auto& [path, type, body, status, begin] : cases) {
    Call& call = w.ask(path, body, "POST", type);
    ASSERT_TRUE(w.until([&] { return call.over; }));
    EXPECT_EQ(call.status, status) << body.substr(0, 80);
    EXPECT_EQ(call.response.substr(0, begin.size()), begin);
  }
}

TEST_F(NodeOps, LargeBatchesAreTaken) {
  SinkThatNeverReads sink(w.near.loop(), Address{w.near.address(), 80});
  const std::string id = w.connect("near.example", 80);
  const std::string other = w.connect("near.example", 7);
  Call& call = w.batch(op("data", sid(id) + "," + d(std::string(7u << 20, 'x'))) + "," +
                       op("data", sid(other) + "," + d("still alive")));
  ASSERT_TRUE(w.until([&] { return call.over; }));
  EXPECT_EQ(text_member(call.response, "d"), base64("still alive"));
  EXPECT_LT(call.took(), limits::kNodeLongPoll);
  // Nobody takes it: sooner or later there is no room for more.
  std::string last;
  for (int i = 0; i < 3 && last.empty(); ++i)
    last = text_member(w.batch_now(op("data", sid(id) + "," + d(std::string(5u << 20, 'x')))), "e");
  EXPECT_EQ(last, "upload buffer cap exceeded");
  EXPECT_EQ(w.batch_now(op("data", sid(id))), R"({"r":[{"sid":")" + id + R"(","eof":true}]})");
}

TEST_F(NodeOps, IdleSessionsAreReaped) {
  const std::string id = w.connect("near.example", 7);
  const std::string udp = text_member(w.batch_now(op("udp_open", to("near.example", 9))), "sid");
  EXPECT_EQ(w.node.sessions(), 2u);
  world.run_for(limits::kNodeUdpIdle + limits::kNodeReaperPeriod);
  EXPECT_EQ(w.node.sessions(), 1u);
  world.run_for(limits::kNodeTcpIdle - limits::kNodeUdpIdle);
  EXPECT_EQ(w.node.sessions(), 0u);
  EXPECT_EQ(w.batch_now(op("data", sid(id))), R"({"r":[{"sid":")" + id + R"(","eof":true}]})");
  EXPECT_EQ(w.batch_now(op("udp_data", sid(udp))),
            R"({"r":[{"sid":")" + udp + R"(","eof":true}]})");
}

TEST_F(NodeOps, DrainingAnswersWhatIsHeld) {
  const std::string id = w.connect("near.example", 7);
  Call& held = w.batch(op("data", sid(id) + ",\"seq\":0"));
  world.run_for(100ms);
  EXPECT_FALSE(held.over);
  w.node.drain();
  ASSERT_TRUE(w.until([&] { return held.over; }, 100ms));
  EXPECT_EQ(held.response, R"({"r":[{"sid":")" + id + R"(","eof":false,"seq":0}]})");
  EXPECT_EQ(w.batch_now(op("connect", to("near.example", 7))),
            R"({"r":[{"e":"connect failed: the node is shutting down"}]})");
}

}  // namespace
}  // namespace adit::sim
