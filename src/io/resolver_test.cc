#include <algorithm>
#include <map>
#include <optional>

#include "io/cares_resolver.h"
#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

// RFC 1035 §4: knows "host.test" (A and AAAA) and "four.test" (A only), is silent about
// "silent.test", and says NXDOMAIN to the rest.
class NameServer {
 public:
  NameServer(Loop& loop, Socket socket) : loop_(loop), socket_(std::move(socket)) {
    loop_.receive_datagrams(op_, socket_);
  }
  Address address() const { return loop_.local_address(socket_); }
  int questions = 0;

 private:
  void on_question(const Completion& c) {
    if (!c.more) return;
    ++questions;
    Reader in(c.data);
    const std::uint16_t id = in.u16();
    in.skip(10);
    std::string host;
    const std::size_t start = in.position();
    for (std::uint8_t n = in.u8(); n != 0 && in.ok(); n = in.u8()) {
      host += std::string(as_text(in.bytes(n))) + ".";
    }
    const std::uint16_t type = in.u16();
    in.u16();
    ASSERT_TRUE(in.ok());
    if (host == "silent.test.") return;
    const bool known = host == "host.test." || host == "four.test.";
    const bool has = known && (type == 1 || (type == 28 && host == "host.test."));
    ByteVector out;
    Writer w(out);
    w.u16(id);
    w.u16(known ? 0x8180 : 0x8183);
    w.u16(1);
    w.u16(has ? 1 : 0);
    w.u32(0);
    w.bytes(c.data.subspan(start, in.position() - start));
    if (has) {
      w.u16(0xc00c);
      w.u16(type);
      w.u16(1);
      w.u32(60);
      if (type == 1) {
        w.u16(4);
        w.u32(0x7f000001);
      } else {
        w.u16(16);
        w.bytes(IpAddress::parse("::1")->bytes);
      }
    }
    EXPECT_TRUE(loop_.send_datagrams(socket_, {.to = c.peer, .from = {}, .bytes = out}));
  }

  Loop& loop_;
  Socket socket_;
  Op op_{Op::Handler::to<&NameServer::on_question>(this)};
};

struct Asking {
  ResolveRequest request{ResolveRequest::Handler::to<&Asking::on_answer>(this)};
  std::optional<Result<std::vector<Address>>> answer;
  std::function<void()> then;

  void on_answer(const Result<std::vector<Address>>& result) {
    EXPECT_FALSE(request.waiting());
    answer = result;
    if (then) then();
  }
  bool has(std::string_view address) const {
    const std::vector<Address>& all = **answer;
    return std::find(all.begin(), all.end(), *Address::parse(address)) != all.end();
  }
};

class ResolverTest : public LoopConformance {
 protected:
  void SetUp() override {
    LoopConformance::SetUp();
    if (IsSkipped()) return;
    server_.emplace(*loop_, udp());
    auto made = make_cares_resolver(*loop_, {.servers = server_->address().text()});
    ASSERT_TRUE(made) << made.error().what;
    resolver_ = std::move(*made);
  }
  void TearDown() override {
    resolver_.reset();
    server_.reset();
  }
  void ask(Asking& a, std::string_view host, Duration limit = 10s) {
    resolver_->resolve(a.request, host, 443, Deadline::after(loop_->now(), limit));
    EXPECT_FALSE(a.answer) << "answered during the call";
  }
  bool answered(Asking& a) {
    return until([&] { return a.answer.has_value(); });
  }

  std::optional<NameServer> server_;
  std::unique_ptr<Resolver> resolver_;
};
INSTANTIATE_TEST_SUITE_P(Real, ResolverTest, real_cases(), case_name);

TEST_P(ResolverTest, LiteralsNeedNoQuestion) {
  Asking four, six;
  ask(four, "192.0.2.9");
  ask(six, "2001:db8::9");
  ASSERT_TRUE(answered(four));
  ASSERT_TRUE(answered(six));
  EXPECT_EQ(**four.answer, std::vector{*Address::parse("192.0.2.9:443")});
  EXPECT_EQ(**six.answer, std::vector{*Address::parse("[2001:db8::9]:443")});
  EXPECT_EQ(server_->questions, 0);
}

TEST_P(ResolverTest, LocalhostIsKnown) {
  Asking a;
  ask(a, "localhost");
  ASSERT_TRUE(answered(a));
  ASSERT_TRUE(*a.answer) << a.answer->error().what;
  EXPECT_TRUE(a.has("127.0.0.1:443"));
  EXPECT_EQ(server_->questions, 0);
}

TEST_P(ResolverTest, AsksForBothFamilies) {
  Asking both, one;
  ask(both, "host.test");
  ask(one, "four.test");
  ASSERT_TRUE(answered(both));
  ASSERT_TRUE(answered(one));
  ASSERT_TRUE(*both.answer) << both.answer->error().what;
  EXPECT_TRUE(both.has("127.0.0.1:443"));
  EXPECT_TRUE(both.has("[::1]:443"));
  ASSERT_TRUE(*one.answer) << one.answer->error().what;
  EXPECT_EQ(**one.answer, std::vector{*Address::parse("127.0.0.1:443")});
}

TEST_P(ResolverTest, NoSuchName) {
  Asking a, empty, odd;
  ask(a, "nothing.test");
  ask(empty, "");
  ask(odd, std::string_view("a\0b", 3));
  ASSERT_TRUE(answered(a));
  ASSERT_TRUE(answered(empty));
  ASSERT_TRUE(answered(odd));
  ASSERT_FALSE(*a.answer);
  EXPECT_EQ(a.answer->error().code, ENOENT);
  EXPECT_EQ(empty.answer->error().code, EINVAL);
  EXPECT_EQ(odd.answer->error().code, EINVAL);
}

TEST_P(ResolverTest, SilenceEndsAtTheDeadline) {
  Asking a;
  const Instant start = loop_->now();
  ask(a, "silent.test", 50ms);
  ASSERT_TRUE(answered(a));
  ASSERT_FALSE(*a.answer);
  EXPECT_EQ(a.answer->error().code, ETIMEDOUT);
  EXPECT_LT(loop_->now() - start, 2s);
  EXPECT_GE(loop_->now() - start, 50ms);
}

TEST_P(ResolverTest, TakenBack) {
  Asking kept;
  {
    Asking gone, literal;
    ask(gone, "host.test");
    ask(literal, "192.0.2.1");
    Asking silent;
    ask(silent, "silent.test", 1ms);
  }
  ask(kept, "four.test");
  ASSERT_TRUE(answered(kept));
  quiet();
  EXPECT_TRUE(*kept.answer);
}

TEST_P(ResolverTest, AskedAgainFromTheHandler) {
  Asking a;
  int answers = 0;
  a.then = [&] {
    if (++answers < 3) {
      a.answer.reset();
      ask(a, answers == 1 ? "192.0.2.1" : "four.test");
    }
  };
  ask(a, "host.test");
  ASSERT_TRUE(until([&] { return answers == 3; }));
}

TEST_P(ResolverTest, ResolverDiesFirst) {
  Asking waiting, last;
  ask(waiting, "silent.test");
  quiet(1ms);
  last.then = [&] { resolver_.reset(); };
  ask(last, "192.0.2.1");
  ASSERT_TRUE(answered(last));
  EXPECT_FALSE(waiting.request.waiting());
  EXPECT_FALSE(waiting.answer);
}

}  // namespace
}  // namespace adit::io
