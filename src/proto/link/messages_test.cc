#include "proto/link/messages.h"

#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"
#include "proto/link/seen_numbers.h"

namespace adit::link {
namespace {

// --- there and back ---

Hello full_hello() {
  Hello m;
  m.software = "adit 0.1";
  m.services.push_back({ServiceNumber{1}, "tls", {}});
  m.services.push_back({ServiceNumber{UINT32_MAX}, "tls", {"a.example.net", "*.b.example.net"}});
  m.services.push_back({ServiceNumber{2}, "udp", {}, PortRange{53, 5353}, true});
  m.yields = true;
  ResumeRequest r;
  r.session = "abcdefghijklmnop";
  r.proof = ByteVector(32, 0x5a);
  r.seen_next = kVarintMax;
  r.unseen = {1, 7, kVarintMax - 1};
  r.streams = {{StreamNumber{3}, 0}, {StreamNumber{kVarintMax - 2}, kVarintMax}};
  m.resume = std::move(r);
  return m;
}

TEST(LinkMessages, HelloRoundTrip) {
  const Hello m = full_hello();
  auto back = parse_hello(to_json(m));
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(back->version, kProtocolVersion);
  EXPECT_EQ(back->software, m.software);
  ASSERT_EQ(back->services.size(), 3u);
  EXPECT_FALSE(back->services[1].ports);
  EXPECT_EQ(back->services[2].ports, (PortRange{53, 5353}));
  EXPECT_FALSE(back->services[1].quic);
  EXPECT_TRUE(back->services[2].quic);
  EXPECT_EQ(back->services[1].number, m.services[1].number);
  EXPECT_EQ(back->services[1].kind, "tls");
  EXPECT_EQ(back->services[1].names, m.services[1].names);
  EXPECT_TRUE(back->yields);
  ASSERT_TRUE(back->resume);
  EXPECT_EQ(back->resume->session, m.resume->session);
  EXPECT_EQ(back->resume->proof, m.resume->proof);
  EXPECT_EQ(back->resume->seen_next, m.resume->seen_next);
  EXPECT_EQ(back->resume->unseen, m.resume->unseen);
  ASSERT_EQ(back->resume->streams.size(), 2u);
  EXPECT_EQ(back->resume->streams[1].stream, m.resume->streams[1].stream);
  EXPECT_EQ(back->resume->streams[1].handed, m.resume->streams[1].handed);
  EXPECT_EQ(to_json(*back), to_json(m));
}

TEST(LinkMessages, WelcomeRoundTrip) {
  Welcome m;
  m.software = "adit 0.1";
  m.session = "abcdefghijklmnop";
  m.secret = ByteVector(kResumeSecretBytes, 0xc3);
  m.resumed = true;
  m.public_port = 65535;
  m.affinity = 255;
  m.resume_window_ms = 30'000;
  m.services.push_back({ServiceNumber{9}, {"x.example.net"}});
  m.next_stream = 12;
  m.streams = {{StreamNumber{11}, 5}};
  auto back = parse_welcome(to_json(m));
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(to_json(*back), to_json(m));
  EXPECT_EQ(back->secret, m.secret);
  EXPECT_TRUE(back->resumed);
  EXPECT_EQ(back->public_port, 65535);
  EXPECT_EQ(back->affinity, 255);
  EXPECT_EQ(back->services[0].names, m.services[0].names);
  EXPECT_EQ(back->streams[0].handed, 5u);
}

TEST(LinkMessages, RefusedAndGoawayRoundTrip) {
  Refused m;
  m.code = "name_taken";
  m.text = "another agent has the name \"x\"\n\u00e9";
  m.retry_after_ms = 1000;
  m.again = true;
  auto back = parse_refused(to_json(m));
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(back->code, m.code);
  EXPECT_EQ(back->text, m.text);
  EXPECT_EQ(back->retry_after_ms, 1000u);
  EXPECT_TRUE(back->again);
  Goaway g;
  g.deadline_ms = 30'000;
  auto goaway = parse_goaway(to_json(g));
  ASSERT_TRUE(goaway);
  EXPECT_EQ(goaway->deadline_ms, 30'000u);
  const Join j{"abc", {1, 2, 255}};
  auto join = parse_join(to_json(j));
  ASSERT_TRUE(join) << join.error().what;
  EXPECT_EQ(join->session, "abc");
  EXPECT_EQ(join->proof, j.proof);
  EXPECT_FALSE(parse_join(as_bytes(R"({"session":"abc"})")));
  EXPECT_FALSE(parse_join(as_bytes(R"({"session":1,"proof":"00"})")));
}

TEST(LinkMessages, TextThatIsNotUtf8) {
  Refused m;
  m.code = "version";
  m.text = "caf\xe9!";
  auto back = parse_refused(to_json(m));
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(back->text, "caf?!");
}

// What a session of the largest size says has to fit a frame, with numbers as they come in years.
TEST(LinkMessages, LargestResumptionFitsAFrame) {
  Hello m = full_hello();
  m.resume->unseen.clear();
  m.resume->streams.clear();
  for (std::size_t i = 0; i < limits::kStreamsPerSessionMax; ++i) {
    m.resume->unseen.push_back(10'000'000 + i);
    m.resume->streams.push_back({StreamNumber{10'000'000 + i}, 10'000'000'000 + i});
  }
  EXPECT_LT(to_json(m).size(), limits::kControlFrameBytesMax);
}

// --- faults ---

struct Case {
  const char* what;
  std::string json;
  bool good;
};

std::string list_of(std::size_t n, const std::string& item) {
  std::string out = "[";
  for (std::size_t i = 0; i < n; ++i) out += (i == 0 ? "" : ",") + item;
  return out + "]";
}

std::string nested(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

template <class Parse>
void run(const std::vector<Case>& cases, Parse parse) {
  for (const Case& c : cases) {
    auto parsed = parse(as_bytes(c.json));
    EXPECT_EQ(static_cast<bool>(parsed), c.good)
        << c.what << ": " << (parsed ? "taken" : parsed.error().what);
    EXPECT_TRUE(parsed || !parsed.error().what.empty()) << c.what;
  }
}

TEST(LinkMessages, HelloTable) {
  const auto service = [](const std::string& members) {
    return R"({"version":1,"services":[{)" + members + "}]}";
  };
  const std::string one = R"({"number":1,"kind":"tls"})";
  run({{"smallest", R"({"version":1})", true},
       {"of a newer agent", R"({"version":2,"more":{"a":[1.5,null]}})", true},
       {"null is none", R"({"version":1,"software":null,"services":null,"resume":null})", true},
       {"empty", "", false},
       {"no JSON", "version", false},
       {"an array", "[1]", false},
       {"text behind it", R"({"version":1} x)", false},
       {"cut", R"({"version":1)", false},
       {"not UTF-8", "{\"version\":1,\"software\":\"\xff\"}", false},
       {"NUL in text", R"({"version":1,"software":"a\u0000b"})", false},
       {"a member twice", R"({"version":1,"version":2})", false},
       {"no version", "{}", false},
       {"version is text", R"({"version":"1"})", false},
       {"version is real", R"({"version":1.0})", false},
       {"version negative", R"({"version":-1})", false},
       {"version over 32 bits", R"({"version":4294967297})", false},
       {"version over 64 bits", R"({"version":18446744073709551617})", false},
       {"a real beyond all", R"({"version":1e999})", false},
       {"software of 100", R"({"version":1,"software":")" + std::string(100, 'x') + "\"}", true},
       {"software of 101", R"({"version":1,"software":")" + std::string(101, 'x') + "\"}", false},
       {"software is a number", R"({"version":1,"software":1})", false},
       {"services no array", R"({"version":1,"services":{}})", false},
       {"service no object", R"({"version":1,"services":[1]})", false},
       {"service null", R"({"version":1,"services":[null]})", false},
       {"ports", service(R"("number":1,"kind":"tcp","ports":[1,65535])"), true},
       {"one port", service(R"("number":1,"kind":"tcp","ports":[1])"), false},
       {"ports backwards", service(R"("number":1,"kind":"tcp","ports":[2,1])"), false},
       {"port 0", service(R"("number":1,"kind":"tcp","ports":[0,1])"), false},
       {"port beyond", service(R"("number":1,"kind":"tcp","ports":[1,65536])"), false},
       {"64 services", R"({"version":1,"services":)" + list_of(64, one) + "}", true},
       {"65 services", R"({"version":1,"services":)" + list_of(65, one) + "}", false},
       {"service without number", service(R"("kind":"tls")"), false},
       {"service without kind", service(R"("number":1)"), false},
       {"number over 32 bits", service(R"("number":4294967296,"kind":"tls")"), false},
       {"kind too long", service(R"("number":1,"kind":")" + std::string(17, 'k') + "\""), false},
       {"names no array", service(R"("number":1,"kind":"tls","names":"a")"), false},
       {"names hold numbers", service(R"("number":1,"kind":"tls","names":["a",1])"), false},
       {"16 names", service(R"("number":1,"kind":"tls","names":)" + list_of(16, "\"a\"")), true},
       {"17 names", service(R"("number":1,"kind":"tls","names":)" + list_of(17, "\"a\"")), false},
       {"name of 253",
        service(R"("number":1,"kind":"tls","names":[")" + std::string(253, 'n') + "\"]"), true},
       {"name of 254",
        service(R"("number":1,"kind":"tls","names":[")" + std::string(254, 'n') + "\"]"), false},
       {"deep", R"({"version":1,"more":)" + nested(1000) + "}", true},
       {"too deep", R"({"version":1,"more":)" + nested(30'000) + "}", false},
       {"too deep and cut", std::string(60'000, '['), false},
       {"objects too deep", [] {
          std::string s;
          for (int i = 0; i < 10'000; ++i) s += R"({"a":)";
          return s;
        }(), false}},
      parse_hello);
}

TEST(LinkMessages, ResumeTable) {
  const auto resume = [](const std::string& changed) {
    return R"({"version":1,"resume":{"session":"s","proof":"00ff","seen_next":5)" + changed + "}}";
  };
  const auto streams = [&resume](const std::string& l) { return resume(R"(,"streams":)" + l); };
  const auto unseen = [&resume](const std::string& l) { return resume(R"(,"unseen":)" + l); };
  const auto proof = [](const std::string& json) {
    return R"({"version":1,"resume":{"session":"s","seen_next":1,"proof":)" + json + "}}";
  };
  run({{"smallest", resume(""), true},
       {"no object", R"({"version":1,"resume":[]})", false},
       {"without session", R"({"version":1,"resume":{"seen_next":5}})", false},
       {"without seen_next", R"({"version":1,"resume":{"session":"s"}})", false},
       {"session too long",
        R"({"version":1,"resume":{"seen_next":1,"session":")" + std::string(65, 's') + "\"}}",
        false},
       {"proof no hex", proof(R"("0g")"), false},
       {"proof of odd length", proof(R"("0")"), false},
       {"proof in capitals", proof(R"("0F")"), true},
       {"proof of 64 bytes", proof('"' + std::string(128, '0') + '"'), true},
       {"proof too long", proof('"' + std::string(130, '0') + '"'), false},
       {"proof is a number", proof("1"), false},
       {"unseen at the bound", unseen(list_of(kUnseenMax, "1")), true},
       {"unseen over the bound", unseen(list_of(kUnseenMax + 1, "1")), false},
       {"unseen negative", unseen("[-1]"), false},
       {"unseen text", unseen("[\"1\"]"), false},
       {"unseen huge", unseen("[9223372036854775807]"), true},
       {"unseen too huge", unseen("[9223372036854775808]"), false},
       {"streams at the bound", streams(list_of(kOffsetsMax, "[1,0]")), true},
       {"streams over the bound", streams(list_of(kOffsetsMax + 1, "[1,0]")), false},
       {"stream 0", streams("[[0,1]]"), false},
       {"stream negative", streams("[[-1,1]]"), false},
       {"handed negative", streams("[[1,-1]]"), false},
       {"handed missing", streams("[[1]]"), false},
       {"handed real", streams("[[1,1.5]]"), false},
       {"pair with more", streams("[[1,2,3]]"), true},
       {"no pair", streams("[1,2]"), false},
       {"pair is an object", streams("[{}]"), false},
       {"twice the same", streams("[[1,2],[1,3]]"), true}},
      parse_hello);
}

TEST(LinkMessages, WelcomeTable) {
  const auto with = [](const std::string& members) {
    return R"({"session":"s","resume_window_ms":1,"next_stream":1)" + members + "}";
  };
  const std::string rest = R"(,"public_port":443,"affinity":0)";
  run({{"smallest", with(rest), true},
       {"without port", with(R"(,"affinity":0)"), false},
       {"port 0", with(R"(,"affinity":0,"public_port":0)"), false},
       {"port 65536", with(R"(,"affinity":0,"public_port":65536)"), false},
       {"affinity 255", with(R"(,"affinity":255,"public_port":1)"), true},
       {"affinity 256", with(R"(,"affinity":256,"public_port":1)"), false},
       {"resumed is a number", with(rest + R"(,"resumed":1)"), false},
       {"secret no hex", with(rest + R"(,"secret":"xx")"), false},
       {"secret too long", with(rest + R"(,"secret":")" + std::string(130, 'a') + "\""), false},
       {"number over 32 bits", with(rest + R"(,"services":[{"number":4294967297}])"), false},
       {"service without names", with(rest + R"(,"services":[{"number":1}])"), true},
       {"streams", with(rest + R"(,"streams":[[1,1]])"), true},
       {"streams over the bound", with(rest + R"(,"streams":)" + list_of(kOffsetsMax + 1, "[1,0]")),
        false},
       {"without session", R"({"resume_window_ms":1,"next_stream":1)" + rest + "}", false},
       {"without next_stream", R"({"session":"s","resume_window_ms":1)" + rest + "}", false}},
      parse_welcome);
}

TEST(LinkMessages, RefusedAndGoawayTable) {
  run({{"smallest", R"({"code":"x"})", true},
       {"without code", R"({"text":"x"})", false},
       {"code too long", R"({"code":")" + std::string(65, 'c') + "\"}", false},
       {"text too long", R"({"code":"x","text":")" + std::string(1025, 't') + "\"}", false},
       {"again is text", R"({"code":"x","again":"yes"})", false},
       {"retry negative", R"({"code":"x","retry_after_ms":-1})", false}},
      parse_refused);
  run({{"smallest", "{}", true},
       {"no object", "[]", false},
       {"deadline is text", R"({"deadline_ms":"1"})", false}},
      parse_goaway);
}

}  // namespace
}  // namespace adit::link
