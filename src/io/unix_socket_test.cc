#include "io/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "io/real_loop_cases.h"

namespace adit::io {
namespace {

namespace fs = std::filesystem;

class UnixSocketTest : public LoopConformance {
 protected:
  void SetUp() override {
    LoopConformance::SetUp();
    std::string pattern = (fs::temp_directory_path() / "adit-unix-").string();
    pattern.append(6, 'X');
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/admin.sock";
  }
  void TearDown() override { fs::remove_all(folder_); }

  int error_of(const std::string& path) {
    auto opened = listen_unix(*loop_, path);
    return opened ? 0 : opened.error().code;
  }
  // A socket's file with nobody behind it.
  void leave_stale() {
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    std::ranges::copy(path_, un.sun_path);
    Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&un), sizeof un), 0);
  }
  UnixListener opened() {
    auto listener = listen_unix(*loop_, path_);
    EXPECT_TRUE(listener) << listener.error().what;
    return std::move(*listener);
  }

  std::string folder_, path_;
};
INSTANTIATE_TEST_SUITE_P(Real, UnixSocketTest, real_cases(), case_name);

TEST_P(UnixSocketTest, CarriesBytesBothWays) {
  UnixListener listener = opened();
  auto raw = connect_unix(path_, 1s);
  ASSERT_TRUE(raw) << raw.error().what;
  Socket client = loop_->adopt(raw->release());
  Socket server;
  Recorder accepted, at_server, at_client;
  accepted.then = [&](const Completion& c) {
    if (c.result >= 0) server = loop_->adopt(c.result);
  };
  loop_->accept(accepted.op, listener.socket);
  ASSERT_TRUE(until([&] { return static_cast<bool>(server); }));
  loop_->receive(at_server.op, server);
  loop_->receive(at_client.op, client);
  const ByteVector there = pattern(300'000), back = pattern(200'000, 2);
  Sender to_server(*loop_, client, there), to_client(*loop_, server, back);
  ASSERT_TRUE(until([&] {
    return at_server.bytes.size() == there.size() && at_client.bytes.size() == back.size();
  }));
  EXPECT_EQ(at_server.bytes, there);
  EXPECT_EQ(at_client.bytes, back);
  loop_->shutdown_write(client);
  ASSERT_TRUE(until([&] { return at_server.ended; }));
  EXPECT_EQ(at_server.last(), 0);
}

TEST_P(UnixSocketTest, FileHasItsModeWhateverTheUmask) {
  for (const mode_t mask : {0u, 022u, 077u}) {
    const mode_t before = ::umask(mask);
    auto listener = listen_unix(*loop_, path_, 0660);
    ::umask(before);
    ASSERT_TRUE(listener);
    struct stat s {};
    ASSERT_EQ(::lstat(path_.c_str(), &s), 0);
    EXPECT_TRUE(S_ISSOCK(s.st_mode));
    EXPECT_EQ(s.st_mode & 0777u, 0660u);
  }
}

TEST_P(UnixSocketTest, FileGoesWithTheListener) {
  { const UnixListener listener = opened(); }
  EXPECT_FALSE(fs::exists(path_));
}

TEST_P(UnixSocketTest, AnothersFileStays) {
  {
    const UnixListener listener = opened();
    fs::remove(path_);
    std::ofstream(path_) << "not ours";
  }
  EXPECT_TRUE(fs::exists(path_));
}

TEST_P(UnixSocketTest, MovedOwnershipRemovesOnce) {
  SocketFile kept;
  {
    UnixListener listener = opened();
    kept = std::move(listener.file);
  }
  EXPECT_TRUE(fs::exists(path_));
  kept = SocketFile();
  EXPECT_FALSE(fs::exists(path_));
}

TEST_P(UnixSocketTest, StaleFileIsReplaced) {
  leave_stale();
  ASSERT_TRUE(fs::exists(path_));
  const UnixListener listener = opened();
  EXPECT_TRUE(connect_unix(path_, 1s));
}

TEST_P(UnixSocketTest, LiveSocketIsRefused) {
  const UnixListener first = opened();
  auto second = listen_unix(*loop_, path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
  EXPECT_NE(second.error().what.find("another program answers"), std::string::npos);
  EXPECT_TRUE(connect_unix(path_, 1s)) << "the first must not have been harmed";
}

TEST_P(UnixSocketTest, LiveSocketWithAFullQueueIsRefused) {
  const UnixListener first = opened();
  std::vector<Fd> waiting;
  for (int i = 0; i < 200; ++i) {
    auto fd = connect_unix(path_, 20ms);
    if (!fd) {
      EXPECT_EQ(fd.error().code, EAGAIN);
      break;
    }
    waiting.push_back(std::move(*fd));
  }
  ASSERT_LT(waiting.size(), 200u);
  EXPECT_EQ(error_of(path_), EADDRINUSE);
}

TEST_P(UnixSocketTest, WhatIsNoSocketIsLeftAlone) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(error_of(path_), EEXIST);
  const std::string link = folder_ + "/link";
  fs::create_symlink(path_, link);
  EXPECT_EQ(error_of(link), EEXIST);
  EXPECT_EQ(fs::file_size(path_), 8u);
  EXPECT_EQ(error_of(folder_), EEXIST);
}

TEST_P(UnixSocketTest, BadPaths) {
  EXPECT_EQ(error_of(""), EINVAL);
  EXPECT_EQ(error_of(folder_ + "/absent/admin.sock"), ENOENT);
  EXPECT_EQ(error_of(folder_ + "/" + std::string(200, 'x')), ENAMETOOLONG);
  EXPECT_EQ(error_of(folder_ + std::string("/a\0b", 4)), EINVAL);
  const std::string longest = folder_ + "/" + std::string(107 - folder_.size() - 1, 'x');
  EXPECT_EQ(error_of(longest), 0);
}

// --- ask_unix ---

// Accepts one client, answers `answer`, and closes when `closes`.
class Answerer {
 public:
  Answerer(Loop& loop, const Socket& listener, std::string answer, bool closes)
      : loop_(loop), answer_(std::move(answer)), closes_(closes) {
    loop_.accept(accept_, listener);
  }
  std::string heard;

 private:
  void on_accepted(const Completion& c) {
    ASSERT_GE(c.result, 0);
    socket_ = loop_.adopt(c.result);
    loop_.receive(receive_, socket_);
  }
  void on_receive(const Completion& c) {
    if (c.result <= 0) return;
    heard += as_text(c.data);
    EXPECT_TRUE(loop_.send(socket_, as_bytes(answer_)));
    if (closes_) loop_.shutdown_write(socket_);
  }

  Loop& loop_;
  std::string answer_;
  bool closes_;
  Socket socket_;
  Op accept_{Op::Handler::to<&Answerer::on_accepted>(this)};
  Op receive_{Op::Handler::to<&Answerer::on_receive>(this)};
};

class AskUnixTest : public UnixSocketTest {
 protected:
  Result<std::string> ask(std::string answer, bool closes, const AskLimits& limits) {
    const UnixListener listener = opened();
    Answerer answerer(*loop_, listener.socket, std::move(answer), closes);
    Result<std::string> out = Error{0, "not asked"};
    std::atomic<bool> done = false;
    std::jthread client([&] {
      out = ask_unix(path_, "question", limits);
      done = true;
    });
    const Instant limit = loop_->now() + 10s;
    while (!done && loop_->now() < limit) loop_->turn(loop_->now() + 5ms);
    client.join();
    EXPECT_EQ(answerer.heard, "question");
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(Real, AskUnixTest, real_cases(), case_name);

TEST_P(AskUnixTest, ReturnsAllThatIsSaid) {
  auto said = ask("answer", true, {5s, 100});
  ASSERT_TRUE(said) << said.error().what;
  EXPECT_EQ(*said, "answer");
}

TEST_P(AskUnixTest, GivesUpWhenTheOtherSideStaysSilent) {
  auto said = ask("answ", false, {50ms, 100});
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, ETIMEDOUT);
}

TEST_P(AskUnixTest, BoundsTheAnswer) {
  auto said = ask(std::string(101, 'x'), true, {5s, 100});
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, EMSGSIZE);
}

TEST_P(AskUnixTest, SaysThatNobodyIsThere) {
  EXPECT_EQ(ask_unix(path_, "question", {1s, 100}).error().code, ENOENT);
  leave_stale();
  EXPECT_EQ(ask_unix(path_, "question", {1s, 100}).error().code, ECONNREFUSED);
}

}  // namespace
}  // namespace adit::io
