#include <sys/prctl.h>

#include <algorithm>
#include <csignal>
#include <memory>

#include "load_roles.h"

namespace adit::perf {
namespace {

constexpr std::size_t kRecordHeaderBytes = 5;
constexpr std::size_t kSendBytes = 128 * 1024;  // a bulk connection's share of one turn

struct Connection {
  Connection(Fd fd_in, Kind kind_in) : fd(std::move(fd_in)), kind(kind_in) {}
  Fd fd;
  Kind kind;
  bool live = false;               // the hello, and what belongs to it, is read
  bool endless = false;            // bulk: until the client closes
  std::uint64_t left = 0;          // bulk: bytes still to send
  std::uint64_t sent = 0;
  std::vector<std::uint8_t> head;  // what came before `live`
};

std::size_t bytes_behind_hello(Kind kind) {
  if (kind == Kind::Bulk) return kCountBytes;
  return kind == Kind::Small ? kRequestBytes : 0;
}

class Server {
 public:
  explicit Server(const std::vector<Listen>& listens) {
    for (const Listen& listen : listens) {
      Fd fd = listen_tcp(listen.at);
      std::uint32_t key = static_cast<std::uint32_t>(fd.get());
      poller_.add(fd, key, true, false);
      if (listeners_.size() <= key) listeners_.resize(key + 1);
      listeners_[key] = std::make_unique<Connection>(std::move(fd), listen.kind);
    }
  }

  void turn(Nanos deadline) {
    for (const Event& event : poller_.wait(deadline)) {
      if (event.key < listeners_.size() && listeners_[event.key]) {
        accept_all(*listeners_[event.key]);
      } else if (!serve(*connections_[event.key], event)) {
        connections_[event.key].reset();
      }
    }
  }

 private:
  void accept_all(const Connection& listener) {
    for (;;) {
      Fd fd = accept_tcp(listener.fd);
      if (!fd) return;
      std::uint32_t key = static_cast<std::uint32_t>(fd.get());
      poller_.add(fd, key, true, false);
      if (connections_.size() <= key) connections_.resize(key + 1);
      connections_[key] = std::make_unique<Connection>(std::move(fd), listener.kind);
    }
  }

  // False: this connection is over.
  bool serve(Connection& c, const Event& event) {
    if (!c.live) return read_head(c, event.key);
    if (c.kind == Kind::Bulk) return event.writable ? send_bulk(c) : true;
    return echo(c);
  }

  bool read_head(Connection& c, std::uint32_t key) {
    std::array<std::uint8_t, 4096> buffer;
    IoResult got = read_some(c.fd, buffer);
    if (got.state != Io::Progress) return got.state == Io::Again;
    c.head.insert(c.head.end(), buffer.begin(), buffer.begin() + got.bytes);
    if (c.head.size() < kRecordHeaderBytes) return true;
    if (c.head[0] != 22) return false;  // no TLS handshake: a proxy lost or invented bytes
    std::size_t record = kRecordHeaderBytes + c.head[3] * 256u + c.head[4];
    std::size_t whole = record + bytes_behind_hello(c.kind);
    if (c.head.size() < whole) return true;
    c.live = true;
    bool open = start(c, key, std::span(c.head).subspan(record));
    c.head = {};
    return open;
  }

  bool start(Connection& c, std::uint32_t key, std::span<const std::uint8_t> rest) {
    switch (c.kind) {
      case Kind::Small:
        write_some(c.fd, std::span(pattern()).first(kResponseBytes));
        return false;
      case Kind::Echo:
        return rest.empty() || send_whole(c, rest);
      case Kind::Bulk:
        for (std::size_t i = 0; i < kCountBytes; ++i) c.left = c.left << 8 | rest[i];
        c.endless = c.left == 0;
        poller_.change(c.fd, key, false, true);
        return true;
    }
    return false;
  }

  bool send_bulk(Connection& c) {
    std::size_t from = c.sent % kPatternBytes;
    std::size_t want = std::min(kSendBytes, kPatternBytes - from);
    if (!c.endless) want = std::min<std::uint64_t>(want, c.left);
    IoResult put = write_some(c.fd, std::span(pattern()).subspan(from, want));
    if (put.state != Io::Progress) return put.state == Io::Again;
    c.sent += put.bytes;
    if (c.endless) return true;
    c.left -= put.bytes;
    return c.left > 0;
  }

  bool echo(Connection& c) {
    std::array<std::uint8_t, 4096> buffer;
    IoResult got = read_some(c.fd, buffer);
    if (got.state != Io::Progress) return got.state == Io::Again;
    return send_whole(c, std::span(buffer).first(got.bytes));
  }

  // Messages here are single bytes: a socket that takes none has a client that does not read.
  bool send_whole(Connection& c, std::span<const std::uint8_t> bytes) {
    IoResult put = write_some(c.fd, bytes);
    return put.state == Io::Progress && put.bytes == bytes.size();
  }

  Poller poller_;
  std::vector<std::unique_ptr<Connection>> listeners_;    // by descriptor
  std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
};

}  // namespace

void serve(const std::vector<Listen>& listens, Nanos time_max) {
  // The driver may be killed in a way that gives it no time to end its children.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  pattern();
  Server server(listens);
  std::puts("ready");
  std::fflush(stdout);
  Nanos end = now_ns() + time_max;
  while (now_ns() < end) server.turn(end);
}

}  // namespace adit::perf
