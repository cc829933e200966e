// For the tests of ends that stand on another end: a pipe in memory below, and a user above.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "flow/duplex.h"
#include "flow/flow_test_peers.h"
#include "flow/witness.h"
#include "io/loop.h"

namespace adit::flow {

// One end of a pipe in memory, which holds so many bytes and shows them in pieces.
class MemoryEnd final : public Duplex {
 public:
  explicit MemoryEnd(io::Loop& loop)
      : loop_(loop), task_(Delegate<void()>::to<&MemoryEnd::run>(this)) {}
  ~MemoryEnd() override {
    Witness::tell(witness_);
    if (peer_ != nullptr) peer_->peer_ = nullptr;
  }
  static void join(MemoryEnd& a, MemoryEnd& b) {
    a.peer_ = &b;
    b.peer_ = &a;
  }

  void start() override {
    started_ = true;
    loop_.run_later(task_);
  }
  Bytes readable() override {
    const Bytes all = Bytes(in_).subspan(at_);
    return all.first(std::min(all.size(), piece));
  }
  void consume(std::size_t n) override {
    at_ += n;
    if (at_ == in_.size()) {
      in_.clear();
      at_ = 0;
    }
    if (peer_ != nullptr && peer_->blocked_) loop_.run_later(peer_->task_);
  }
  bool at_end() const override { return in_ended_ && at_ == in_.size(); }
  std::size_t write(Bytes bytes) override {
    EXPECT_FALSE(finished_);
    if (peer_ == nullptr) return bytes.size();
    std::vector<std::uint8_t>& to = peer_->in_;
    const std::size_t used = to.size() - peer_->at_;
    const std::size_t n = std::min(bytes.size(), capacity > used ? capacity - used : 0);
    to.insert(to.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    total += n;
    if (n < bytes.size()) blocked_ = true;
    loop_.run_later(peer_->task_);
    return n;
  }
  void finish() override {
    finished_ = true;
    cut();
  }
  // The stream ends here, whoever wanted it.
  void cut() {
    if (peer_ == nullptr) return;
    peer_->in_ended_ = true;
    loop_.run_later(peer_->task_);
  }
  bool flushed() const override { return !unflushed; }
  void abort() override { aborted = true; }
  std::vector<std::uint8_t>& incoming() { return in_; }

  std::size_t capacity = 64 * 1024, piece = SIZE_MAX, total = 0;
  bool aborted = false, unflushed = false;

 private:
  void run() {
    if (!started_ || listener_ == nullptr) return;
    Witness witness(witness_);
    if (std::exchange(blocked_, false)) listener_->on_writable();
    if (witness.destroyed() || listener_ == nullptr || (readable().empty() && !at_end())) return;
    listener_->on_readable();
    if (!witness.destroyed() && !readable().empty() && piece != SIZE_MAX) loop_.run_later(task_);
  }
  io::Loop& loop_;
  io::Task task_;
  MemoryEnd* peer_ = nullptr;
  Witness* witness_ = nullptr;
  std::vector<std::uint8_t> in_;
  std::size_t at_ = 0;
  bool started_ = false, in_ended_ = false, blocked_ = false, finished_ = false;
};

// Sends a pattern and checks one, as a pump would.
class User final : public DuplexListener {
 public:
  User(std::unique_ptr<Duplex> e, std::uint64_t send_seed, std::uint64_t expect_seed)
      : end(std::move(e)), send_seed_(send_seed), expect_seed_(expect_seed) {
    end->set_listener(this);
  }
  void send(std::uint64_t n) {
    total += n;
    push();
  }
  void finish_after() {
    fin = true;
    push();
  }
  void take() {
    while (taking && !end->readable().empty()) {
      const Bytes bytes = end->readable();
      for (const std::uint8_t b : bytes) intact &= b == pattern_byte(expect_seed_, received++);
      end->consume(bytes.size());
    }
    ended |= end->at_end();
  }

  std::unique_ptr<Duplex> end;
  std::uint64_t total = 0, sent = 0, received = 0;
  bool taking = true, fin = false, fin_sent = false, intact = true, ended = false;
  bool blocked = false, die_on_failed = false;
  int failures = 0;
  Error error;

 private:
  void push() {
    while (sent < total) {
      std::uint8_t chunk[10'000];
      const std::size_t n = std::min<std::uint64_t>(sizeof chunk, total - sent);
      for (std::size_t i = 0; i < n; ++i) chunk[i] = pattern_byte(send_seed_, sent + i);
      const std::size_t taken = end->write({chunk, n});
      sent += taken;
      blocked = taken < n;
      if (blocked) return;
    }
    if (fin && !std::exchange(fin_sent, true)) end->finish();
  }
  void on_readable() override { take(); }
  void on_writable() override { push(); }
  void on_failed(const Error& e) override {
    ++failures;
    error = e;
    if (die_on_failed) end.reset();
  }
  std::uint64_t send_seed_, expect_seed_;
};

}  // namespace adit::flow
