#include "app/status_command.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "io/unix_socket.h"
#include "service/admin/admin_server.h"

namespace adit::app {
namespace {

namespace fs = std::filesystem;

class FakeRelay final : public service::AdminSource {
 public:
  Reloaded reloaded{true, "reloaded: 1 agents, 2 routes\n"};
  void ask(service::AdminQuestion& question) override {
    if (question.page() == service::AdminPage::Kick)
      return question.answer("agent " + question.argument() + " has no session here\n");
    if (question.page() == service::AdminPage::ExplainText)
      return question.answer("explained " + question.argument() + "\n");
    question.answer(question.page() == service::AdminPage::StatusJson ? "{}\n" : "a table\n");
  }
  Reloaded reload(bool dry_run) override {
    return dry_run ? Reloaded{true, "would differ\n"} : reloaded;
  }
};

class StatusCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "adit-status-").string();
    pattern.append(6, 'X');
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/admin.sock";
    auto choice = io::make_loop();
    ASSERT_TRUE(choice) << choice.error().what;
    loop_ = std::move(choice->loop);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void serve() {
    server_.emplace(*loop_, log_, relay_);
    auto ok = server_->listen_operator(path_);
    ASSERT_TRUE(ok) << ok.error().what;
  }
  // Runs a command, which blocks, beside the loop.
  Answer beside(const std::function<Answer()>& command) {
    Answer out;
    std::atomic<bool> done = false;
    std::jthread client([&] {
      out = command();
      done = true;
    });
    const Instant limit = loop_->now() + 20s;
    while (!done && loop_->now() < limit) loop_->turn(loop_->now() + 5ms);
    client.join();
    return out;
  }
  Answer status(bool json = false) {
    return beside([&] { return run(StatusCommand{path_, json, {}}); });
  }

  std::string folder_, path_;
  NullLog log_;
  FakeRelay relay_;
  std::unique_ptr<io::Loop> loop_;
  std::optional<service::AdminServer> server_;
};

TEST_F(StatusCommandTest, AsksTheAgentWhereThereIsNoRelay) {
  serve();
  const std::string nobody = folder_ + "/nobody.sock";
  Answer a = beside([&] { return run(StatusCommand{nobody, false, path_}); });
  EXPECT_EQ(a.exit_code, exit_code::kDone);
  EXPECT_EQ(a.out, "a table\n");
  a = beside([&] { return run(StatusCommand{path_, false, nobody}); });
  EXPECT_EQ(a.out, "a table\n");
  a = beside([&] { return run(StatusCommand{path_, false, path_}); });  // both are there
  EXPECT_EQ(a.out, "a table\n\na table\n");
  a = beside([&] { return run(StatusCommand{path_, true, path_}); });
  EXPECT_EQ(a.out, "{}\n");
  a = run(StatusCommand{nobody, false, nobody});
  EXPECT_EQ(a.exit_code, exit_code::kRelayUnreachable);
  EXPECT_EQ(a.err, "adit: no relay answers on " + nobody + ", no agent on " + nobody +
                       " (is it running? --admin PATH)\n");
}

TEST_F(StatusCommandTest, TableAndJson) {
  serve();
  Answer text = status(), json = status(true);
  EXPECT_EQ(text.exit_code, exit_code::kDone);
  EXPECT_EQ(text.out, "a table\n");
  EXPECT_EQ(text.err, "");
  EXPECT_EQ(json.exit_code, exit_code::kDone);
  EXPECT_EQ(json.out, "{}\n");
}

TEST_F(StatusCommandTest, Reload) {
  serve();
  const Answer done = beside([&] { return run(ReloadCommand{path_, false}); });
  EXPECT_EQ(done.exit_code, exit_code::kDone);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "reloaded: 1 agents, 2 routes\n");
  relay_.reloaded = {false, "r.toml:1:1: what\n"};
  const Answer refused = beside([&] { return run(ReloadCommand{path_, false}); });
  EXPECT_EQ(refused.exit_code, exit_code::kConfiguration);
  EXPECT_EQ(refused.out, "");
  EXPECT_EQ(refused.err, "r.toml:1:1: what\n");
}

TEST_F(StatusCommandTest, NobodyThere) {
  const std::string text =
      "adit: no relay answers on " + path_ + " (is it running? --admin PATH)\n";
  const Answer absent = status();
  EXPECT_EQ(absent.exit_code, exit_code::kRelayUnreachable);
  EXPECT_EQ(absent.err, text);
  EXPECT_EQ(absent.out, "");
  std::ofstream(path_) << "no socket";
  EXPECT_EQ(status().err, text);
}

// Says `words` to the first that comes, and closes.
struct Stranger {
  Stranger(io::Loop& l, const std::string& path, std::string w)
      : loop(l), words(std::move(w)), listener(*io::listen_unix(l, path)) {
    loop.accept(accept, listener.socket);
  }
  void on_accepted(const io::Completion& c) {
    const io::Socket client = loop.adopt(c.result);
    EXPECT_TRUE(loop.send(client, as_bytes(words)));
  }
  io::Loop& loop;
  std::string words;
  io::UnixListener listener;
  io::Op accept{io::Op::Handler::to<&Stranger::on_accepted>(this)};
};

TEST_F(StatusCommandTest, StrangersAreNotBelieved) {
  struct Case {
    std::string words, complaint;
    int code = exit_code::kRelayUnreachable;
  };
  const Case cases[] = {
      {"", ": what answers there is no relay\n"},
      {"220 smtp.example.com ESMTP\r\n\r\n", ": what answers there is no relay\n"},
      {"HTTP/1.1 \r\n\r\n", ": what answers there is no relay\n"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
       ": the answer is cut off: has the relay ended?\n"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", ": what answers there is no relay\n"},
  };
  for (const Case& c : cases) {
    const Stranger stranger(*loop_, path_, c.words);
    const Answer answer = status();
    EXPECT_EQ(answer.exit_code, c.code);
    EXPECT_EQ(answer.err, "adit: " + path_ + c.complaint);
    EXPECT_EQ(answer.out, "");
  }
  const Stranger busy(*loop_, path_,
                      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbusy\n");
  const Answer answer = status();
  EXPECT_EQ(answer.exit_code, exit_code::kTryAgain);
  EXPECT_EQ(answer.err, "busy\n");
}

TEST_F(StatusCommandTest, OtherQuestions) {
  serve();
  Answer answer = beside([&] { return run(ReloadCommand{path_, true}); });
  EXPECT_EQ(answer.exit_code, exit_code::kDone);
  EXPECT_EQ(answer.out, "would differ\n");
  answer = beside([&] { return run(ExplainCommand{path_, "a.test", false}); });
  EXPECT_EQ(answer.out, "explained a.test\n");
  answer = beside([&] { return run(AgentsCommand{path_, false, {}}); });
  EXPECT_EQ(answer.out, "a table\n");
  answer = beside([&] { return run(AgentsCommand{path_, false, "abc"}); });
  EXPECT_EQ(answer.exit_code, exit_code::kRefused);
  EXPECT_EQ(answer.err, "agent abc has no session here\n");
  EXPECT_EQ(answer.out, "");
}

}  // namespace
}  // namespace adit::app
