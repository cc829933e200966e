#include "service/admin/admin_server.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "io/real_loop_cases.h"

namespace adit::service {
namespace {

namespace fs = std::filesystem;
using io::Completion;
using io::Recorder;

// Answers at once unless held back.
class FakeSource final : public AdminSource {
 public:
  bool hold = false;
  std::string body = "the page\n";
  Reloaded reloaded{true, "reloaded\n"};
  int reloads = 0;
  List<AdminQuestion, AdminQuestion> waiting;

  void ask(AdminQuestion& question) override {
    if (hold) return waiting.push_back(question);
    answer(question);
  }
  void answer(AdminQuestion& question) {
    const char* page = question.page() == AdminPage::Metrics      ? "metrics "
                       : question.page() == AdminPage::StatusText ? "text "
                                                                  : "json ";
    question.answer(page + question.argument() + body);
  }
  Reloaded reload(bool dry_run) override {
    if (dry_run) return {true, "would reload\n"};
    ++reloads;
    return reloaded;
  }
};

class Client {
 public:
  Client(io::Loop& loop, io::Socket socket) : loop_(loop), socket_(std::move(socket)) {
    loop_.receive(received_.op, socket_);
  }
  void send(std::string_view text) {
    const Bytes bytes = as_bytes(text);
    senders_.push_back(
        std::make_unique<io::Sender>(loop_, socket_, ByteVector(bytes.begin(), bytes.end())));
  }
  void end_of_input() { loop_.shutdown_write(socket_); }
  bool ended() const { return received_.ended; }
  int last() const { return received_.last(); }
  std::string text() const { return std::string(as_text(received_.bytes)); }
  std::string status() const { return text().substr(0, text().find("\r\n")); }
  std::string body() const {
    const std::size_t end = text().find("\r\n\r\n");
    return end == std::string::npos ? "" : text().substr(end + 4);
  }

 private:
  io::Loop& loop_;
  io::Socket socket_;
  Recorder received_;
  std::vector<std::unique_ptr<io::Sender>> senders_;
};

class AdminServerTest : public io::LoopConformance {
 protected:
  void SetUp() override {
    LoopConformance::SetUp();
    if (IsSkipped()) return;
    std::string pattern = (fs::temp_directory_path() / "adit-admin-").string();
    pattern.append(6, 'X');
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/admin.sock";
    start({});
  }
  void TearDown() override {
    server_.reset();
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  void start(const AdminLimits& limits) {
    server_.reset();
    server_.emplace(*loop_, log_, source_, limits);
    auto local = server_->listen_operator(path_);
    ASSERT_TRUE(local) << local.error().what;
    auto tcp = server_->listen_metrics({IpAddress::loopback4(), 0});
    ASSERT_TRUE(tcp) << tcp.error().what;
  }
  std::unique_ptr<Client> connect() {
    auto raw = io::connect_unix(path_, 1s);
    EXPECT_TRUE(raw) << raw.error().what;
    return std::make_unique<Client>(*loop_, loop_->adopt(raw->release()));
  }
  std::unique_ptr<Client> connect_tcp() {
    const Address to = server_->metrics_address();
    io::Socket socket = open();
    Recorder connected;
    loop_->connect(connected.op, socket, to);
    EXPECT_TRUE(until([&] { return connected.ended; }));
    EXPECT_EQ(connected.last(), 0);
    return std::make_unique<Client>(*loop_, std::move(socket));
  }
  // What the request gets, until the server ends its direction.
  std::unique_ptr<Client> ask(std::string_view request) {
    auto client = connect();
    client->send(request);
    EXPECT_TRUE(until([&] { return client->ended(); })) << request;
    return client;
  }
  bool waits(std::size_t n) {
    return until([&] {
      std::size_t waiting = 0;
      List<AdminQuestion, AdminQuestion> all;
      all.take_all(source_.waiting);
      while (AdminQuestion* q = all.pop_front()) source_.waiting.push_back(*q), ++waiting;
      return waiting == n;
    });
  }

  std::string folder_, path_;
  NullLog log_;
  FakeSource source_;
  std::optional<AdminServer> server_;
};
INSTANTIATE_TEST_SUITE_P(Real, AdminServerTest, io::real_cases(), io::case_name);

constexpr std::string_view kStatus = "GET /status HTTP/1.1\r\nHost: adit\r\n\r\n";

TEST_P(AdminServerTest, WholeAnswer) {
  EXPECT_EQ(ask(kStatus)->text(),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\njson the page\n");
}

struct Row {
  std::string_view request, status, body;
};

TEST_P(AdminServerTest, Table) {
  constexpr std::string_view kPages =
      "no such page; there are GET /status, /agents and /explain/NAME (each also as .txt) and "
      "/metrics, and POST /reload, /reload/dry-run and /agents/kick/ID\n";
  const Row rows[] = {
      {"GET /status.txt HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "text the page\n"},
      {"GET /metrics?a=b HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "metrics the page\n"},
      {"HEAD /status HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", ""},
      {"POST /reload HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "reloaded\n"},
      {"POST /reload/dry-run HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "would reload\n"},
      {"POST /agents/kick/abc HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "json abcthe page\n"},
      {"GET /agents/kick/abc HTTP/1.0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed",
       "this is an order: POST\n"},
      {"GET /explain/a.test HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "json a.testthe page\n"},
      {"GET /explain/ HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found", kPages},
      {"POST /reload HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody", "HTTP/1.1 200 OK", "reloaded\n"},
      {"GET /reload HTTP/1.0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed",
       "this is an order: POST\n"},
      {"POST /status HTTP/1.0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed",
       "this page is read: GET\n"},
      {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found", kPages},
      {"GET /status/ HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found", kPages},
      {"GET /../status HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found", kPages},
      {"GET /status HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request",
       "bad request: a request of HTTP/1.1 has a Host field\n"},
      {"\x16\x03\x01", "HTTP/1.1 400 Bad Request", "bad request: this is not HTTP\n"},
  };
  for (const Row& row : rows) {
    const auto client = ask(row.request);
    EXPECT_EQ(client->status(), row.status) << row.request;
    EXPECT_EQ(client->body(), row.body) << row.request;
    EXPECT_EQ(client->last(), 0) << "no reset: " << row.request;
  }
  EXPECT_EQ(source_.reloads, 2);
}

TEST_P(AdminServerTest, AllowIsSaid) {
  EXPECT_NE(ask("GET /reload HTTP/1.0\r\n\r\n")->text().find("\r\nAllow: POST\r\n"),
            std::string::npos);
}

TEST_P(AdminServerTest, RefusedReload) {
  source_.reloaded = {false, "r.toml:1:1: what\n"};
  const auto client = ask("POST /reload HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client->status(), "HTTP/1.1 422 Unprocessable Content");
  EXPECT_EQ(client->body(), "r.toml:1:1: what\n");
}

TEST_P(AdminServerTest, MetricsDoorHasMetricsOnly) {
  const Row rows[] = {
      {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", "metrics the page\n"},
      {"GET /status HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found",
       "no such page; there is GET /metrics\n"},
      {"POST /reload HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found",
       "no such page; there is GET /metrics\n"},
      {"POST /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed",
       "this page is read: GET\n"},
  };
  for (const Row& row : rows) {
    auto client = connect_tcp();
    client->send(row.request);
    ASSERT_TRUE(until([&] { return client->ended(); })) << row.request;
    EXPECT_EQ(client->status(), row.status) << row.request;
    EXPECT_EQ(client->body(), row.body) << row.request;
  }
  EXPECT_EQ(source_.reloads, 0);
}

TEST_P(AdminServerTest, MetricsTypeNamesItsVersion) {
  EXPECT_NE(ask("GET /metrics HTTP/1.0\r\n\r\n")->text().find("text/plain; version=0.0.4"),
            std::string::npos);
}

TEST_P(AdminServerTest, FragmentedRequest) {
  auto client = connect();
  for (const char& c : kStatus) {
    client->send({&c, 1});
    loop_->turn(loop_->now());
  }
  ASSERT_TRUE(until([&] { return client->ended(); }));
  EXPECT_EQ(client->body(), "json the page\n");
}

TEST_P(AdminServerTest, OversizedHead) {
  const auto client = ask("GET /status HTTP/1.1\r\nX: " + std::string(20'000, 'x'));
  EXPECT_EQ(client->status(), "HTTP/1.1 431 Request Header Fields Too Large");
}

TEST_P(AdminServerTest, SlowLoris) {
  start({.head_deadline = 60ms});
  const Instant begin = loop_->now();
  auto slow = connect(), silent = connect();
  slow->send("GET /status HT");
  // Each byte in time does not buy more of it.
  while (!slow->ended() || !silent->ended()) {
    ASSERT_LT(loop_->now() - begin, 5s);
    if (!slow->ended()) slow->send("T");
    quiet(5ms);
  }
  EXPECT_GE(loop_->now() - begin, 60ms);
  EXPECT_EQ(slow->status(), "HTTP/1.1 408 Request Timeout");
  EXPECT_EQ(silent->text(), "") << "who said nothing is told nothing";
}

TEST_P(AdminServerTest, PipelinedGarbageIsIgnored) {
  const auto client = ask(std::string(kStatus) + std::string(kStatus) + std::string(10'000, '\0'));
  EXPECT_EQ(client->status(), "HTTP/1.1 200 OK");
  EXPECT_EQ(client->body(), "json the page\n") << "one answer";
  EXPECT_EQ(client->last(), 0);
}

TEST_P(AdminServerTest, EndlessGarbageIsCutOff) {
  source_.hold = true;
  auto client = connect();
  client->send(std::string(kStatus) + std::string(1'000'000, 'x'));
  ASSERT_TRUE(until([&] { return client->ended(); }));
  EXPECT_EQ(client->text(), "");
  EXPECT_TRUE(source_.waiting.empty());
}

TEST_P(AdminServerTest, HalfClosedClientIsAnswered) {
  source_.hold = true;
  auto client = connect();
  client->send(kStatus);
  client->end_of_input();
  ASSERT_TRUE(waits(1));
  quiet();
  source_.answer(*source_.waiting.front());
  ASSERT_TRUE(until([&] { return client->ended(); }));
  EXPECT_EQ(client->body(), "json the page\n");
}

TEST_P(AdminServerTest, ClientThatVanishesTakesItsQuestionAlong) {
  source_.hold = true;
  auto tcp = connect_tcp();
  tcp->send("GET /metrics HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(waits(1));
  tcp.reset();
  // Its end of stream looks like a half-close; the answer finds nobody.
  quiet();
  if (!source_.waiting.empty()) source_.answer(*source_.waiting.front());
  quiet();
  source_.hold = false;
  EXPECT_EQ(ask(kStatus)->status(), "HTTP/1.1 200 OK");
}

TEST_P(AdminServerTest, SourceThatNeverAnswers) {
  source_.hold = true;
  start({.answer_deadline = 40ms});
  const auto client = ask(kStatus);
  EXPECT_EQ(client->status(), "HTTP/1.1 503 Service Unavailable");
  EXPECT_TRUE(source_.waiting.empty());
}

TEST_P(AdminServerTest, LargeAnswer) {
  source_.body.assign(8'000'000, 'x');
  EXPECT_EQ(ask(kStatus)->body().size(), 8'000'005u);
}

TEST_P(AdminServerTest, ClientThatDoesNotReadIsCutOff) {
  start({.answer_deadline = 40ms});
  source_.body.assign(8'000'000, 'x');
  auto raw = io::connect_unix(path_, 1s);
  ASSERT_TRUE(raw);
  const io::Socket socket = loop_->adopt(raw->release());
  ASSERT_TRUE(loop_->send(socket, as_bytes(kStatus)));
  quiet(100ms);
  Recorder received;
  loop_->receive(received.op, socket);
  ASSERT_TRUE(until([&] { return received.ended; }));
  EXPECT_LT(received.bytes.size(), 8'000'000u);
}

TEST_P(AdminServerTest, OldestIdleMakesRoom) {
  start({.connections = 2});
  auto first = connect();
  quiet();
  auto second = connect();
  quiet();
  EXPECT_EQ(ask(kStatus)->body(), "json the page\n");
  EXPECT_TRUE(first->ended());
  second->send(kStatus);
  ASSERT_TRUE(until([&] { return second->ended(); }));
  EXPECT_EQ(second->body(), "json the page\n");
}

TEST_P(AdminServerTest, WhoHasItsAnswerMakesRoomFirst) {
  start({.connections = 2});
  auto idle = connect();
  auto answered = connect();
  answered->send(kStatus);
  ASSERT_TRUE(until([&] { return answered->ended(); }));
  EXPECT_EQ(ask(kStatus)->body(), "json the page\n");
  EXPECT_FALSE(idle->ended());
}

TEST_P(AdminServerTest, NewcomersAreRefusedWhileAllAreBeingAnswered) {
  start({.connections = 2});
  source_.hold = true;
  auto first = connect(), second = connect();
  first->send(kStatus);
  second->send(kStatus);
  ASSERT_TRUE(waits(2));
  auto third = connect();
  ASSERT_TRUE(until([&] { return third->ended(); }));
  EXPECT_EQ(third->status(), "HTTP/1.1 503 Service Unavailable");
  EXPECT_EQ(third->body(), "too many connections; try again\n");
  // The other door has its own places.
  auto tcp = connect_tcp();
  tcp->send("GET /metrics HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(waits(3));
  while (AdminQuestion* q = source_.waiting.front()) source_.answer(*q);
  ASSERT_TRUE(until([&] { return first->ended() && second->ended() && tcp->ended(); }));
  EXPECT_EQ(second->body(), "json the page\n");
  EXPECT_EQ(tcp->body(), "metrics the page\n");
}

TEST_P(AdminServerTest, EndsWithConversationsInEveryState) {
  auto reading = connect(), leaving = connect();
  leaving->send(kStatus);
  ASSERT_TRUE(until([&] { return leaving->ended(); }));
  source_.body.assign(8'000'000, 'x');
  auto sending = connect();
  sending->send(kStatus);
  ASSERT_TRUE(until([&] { return !sending->text().empty(); }));
  source_.hold = true;
  auto asking = connect();
  asking->send(kStatus);
  ASSERT_TRUE(waits(1));
  server_.reset();
  EXPECT_TRUE(source_.waiting.empty());
  ASSERT_TRUE(until([&] { return reading->ended() && sending->ended() && asking->ended(); }));
  EXPECT_FALSE(fs::exists(path_));
}

TEST_P(AdminServerTest, SecondServerOnTheSameSocketIsRefused) {
  AdminServer second(*loop_, log_, source_);
  auto local = second.listen_operator(path_);
  ASSERT_FALSE(local);
  EXPECT_EQ(local.error().code, EADDRINUSE);
  auto tcp = second.listen_metrics(server_->metrics_address());
  ASSERT_FALSE(tcp);
  EXPECT_EQ(tcp.error().code, EADDRINUSE);
  EXPECT_EQ(ask(kStatus)->body(), "json the page\n");
}

}  // namespace
}  // namespace adit::service
