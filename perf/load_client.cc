#include <algorithm>
#include <bit>
#include <cstring>

#include "load_roles.h"

namespace adit::perf {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;       // a bulk connection's share of one turn
constexpr Nanos kGrace = 2 * kSecond;             // for exchanges under way when the time is up
constexpr Nanos kOpenTimeMax = 30 * kSecond;      // idle: until all connections are open
constexpr unsigned kOpeningMax = 64;              // idle: connections being opened at a time
constexpr std::uint64_t kFailuresMax = 1000;      // a proxy that refuses everything ends the run

// 127.0.2.1 and up: a relay may limit what one address opens.
std::optional<std::uint32_t> source_of(const ClientOptions& options, std::uint64_t number) {
  if (options.sources <= 1) return std::nullopt;
  return 0x7f000201u + static_cast<std::uint32_t>(number % options.sources);
}

// One connection that first sends `head` (the hello and what goes with it).
struct Client {
  Fd fd;
  std::size_t head_sent = 0;
  std::uint64_t received = 0;
  Nanos asked = 0;        // pingpong: when the message under way was sent
  std::uint8_t next = 0;  // pingpong: its byte
  bool waits_to_write = false;
};

class ClientSet {
 public:
  ClientSet(const ClientOptions& options, std::vector<std::uint8_t> head)
      : options_(options), head_(std::move(head)), clients_(options.connections) {}

  // False: the connection could not be made.
  bool open(std::uint32_t key) {
    Client& c = clients_[key];
    c = Client{};
    c.fd = connect_tcp(options_.to, source_of(options_, opened_++));
    if (!c.fd) return false;
    // Over loopback the connection usually stands when connect returns; before that, send says
    // EAGAIN and epoll tells.
    if (!send_head(c)) {
      c.fd.reset();
      return false;
    }
    c.waits_to_write = c.head_sent < head_.size();
    poller_.add(c.fd, key, true, c.waits_to_write);
    return true;
  }

  // Whatever of the head is still to be sent. False: the connection is broken.
  bool on_writable(std::uint32_t key) {
    Client& c = clients_[key];
    if (!c.waits_to_write) return true;
    if (!send_head(c)) return false;
    c.waits_to_write = c.head_sent < head_.size();
    if (!c.waits_to_write) poller_.change(c.fd, key, true, false);
    return true;
  }

  std::span<const Event> wait(Nanos deadline) { return poller_.wait(deadline); }
  Client& operator[](std::uint32_t key) { return clients_[key]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(clients_.size()); }

 private:
  bool send_head(Client& c) {
    IoResult put = write_some(c.fd, std::span<const std::uint8_t>(head_).subspan(c.head_sent));
    c.head_sent += put.bytes;
    return put.state != Io::Closed;
  }

  const ClientOptions& options_;
  std::vector<std::uint8_t> head_;
  std::vector<Client> clients_;
  Poller poller_;
  std::uint64_t opened_ = 0;
};

std::vector<std::uint8_t> bulk_head(const ClientOptions& options) {
  std::vector<std::uint8_t> head = client_hello(options.sni);
  for (std::size_t i = 0; i < kCountBytes; ++i)
    head.push_back(static_cast<std::uint8_t>(options.bytes >> (8 * (kCountBytes - 1 - i))));
  return head;
}

enum class BulkStep { More, Done, Failed };

BulkStep read_bulk(Client& c, const ClientOptions& options, std::span<std::uint8_t> buffer) {
  std::size_t at = c.received % kPatternBytes;
  IoResult got = options.verify ? read_some(c.fd, buffer.first(kPatternBytes - at))
                                : discard_some(c.fd, kReadBytes);
  if (got.state == Io::Again) return BulkStep::More;
  if (got.state == Io::Closed) {
    bool whole = options.bytes != 0 && c.received == options.bytes;
    return whole ? BulkStep::Done : BulkStep::Failed;
  }
  if (options.verify && std::memcmp(buffer.data(), pattern().data() + at, got.bytes) != 0)
    return BulkStep::Failed;
  c.received += got.bytes;
  return BulkStep::More;
}

std::vector<std::uint8_t> small_head(const ClientOptions& options) {
  std::vector<std::uint8_t> head = client_hello(options.sni);
  head.insert(head.end(), kRequestBytes, 'r');
  return head;
}

}  // namespace

BulkResult run_bulk(const ClientOptions& options) {
  if (options.background) become_background();
  std::vector<std::uint8_t> buffer(options.verify ? kPatternBytes : 0);
  BulkResult result;
  Nanos start = now_ns();
  Nanos end = start + options.seconds;
  ClientSet set(options, bulk_head(options));
  unsigned open = 0;
  for (std::uint32_t key = 0; key < set.size(); ++key) set.open(key) ? ++open : ++result.failed;
  while (open > 0 && now_ns() < end) {
    for (const Event& event : set.wait(end)) {
      Client& c = set[event.key];
      bool sound = !event.writable || set.on_writable(event.key);
      BulkStep step = sound ? BulkStep::More : BulkStep::Failed;
      if (sound && event.readable) step = read_bulk(c, options, buffer);
      if (step == BulkStep::More) continue;
      if (step == BulkStep::Failed) ++result.failed;
      c.fd.reset();
      --open;
    }
  }
  result.elapsed = now_ns() - start;
  if (options.bytes != 0) result.failed += open;  // out of time
  for (std::uint32_t key = 0; key < set.size(); ++key) result.bytes += set[key].received;
  return result;
}

ShortResult run_short(const ClientOptions& options) {
  ShortResult result;
  Nanos start = now_ns();
  Nanos end = start + options.seconds;
  ClientSet set(options, small_head(options));
  std::array<std::uint8_t, 4096> buffer;
  unsigned open = 0;
  auto open_next = [&](std::uint32_t key) {
    while (now_ns() < end && result.failed < kFailuresMax) {
      if (set.open(key)) {
        ++open;
        return;
      }
      ++result.failed;
    }
  };
  for (std::uint32_t key = 0; key < set.size(); ++key) open_next(key);
  while (open > 0 && now_ns() < end + kGrace) {
    for (const Event& event : set.wait(end + kGrace)) {
      Client& c = set[event.key];
      bool sound = !event.writable || set.on_writable(event.key);
      IoResult got{Io::Closed};
      if (sound) got = event.readable ? read_some(c.fd, buffer) : IoResult{Io::Again};
      c.received += got.bytes;
      if (got.state != Io::Closed) continue;
      c.received == kResponseBytes ? ++result.done : ++result.failed;
      c.fd.reset();
      --open;
      open_next(event.key);
    }
  }
  result.elapsed = std::min(now_ns(), end) - start;
  result.failed += open;
  return result;
}

namespace {

// Every connection has one message under way, or is in the pause before its next one.
class Pingpong {
 public:
  explicit Pingpong(const ClientOptions& options)
      : options_(options), start_(now_ns()), end_(start_ + options.seconds),
        set_(options, head_of(options)), due_(options.connections, kNothingDue) {}

  PingpongResult run() {
    for (std::uint32_t key = 0; key < set_.size(); ++key) {
      set_.open(key) ? ++open_ : ++result_.failed;
      set_[key].asked = now_ns();
    }
    while (open_ > 0 && now_ns() < end_) {
      for (const Event& event : set_.wait(std::min(end_, next_due())))
        if (!on_event(event)) drop(event.key);
      if (options_.pause != 0) send_due(now_ns());
    }
    result_.elapsed = now_ns() - start_;
    return result_;
  }

 private:
  static constexpr Nanos kNothingDue = ~Nanos{0};

  static std::vector<std::uint8_t> head_of(const ClientOptions& options) {
    std::vector<std::uint8_t> head = client_hello(options.sni);
    head.push_back(0);  // the first message goes with the hello
    return head;
  }

  bool on_event(const Event& event) {
    Client& c = set_[event.key];
    if (event.writable && !set_.on_writable(event.key)) return false;
    if (!event.readable) return true;
    std::array<std::uint8_t, 16> buffer;
    IoResult got = read_some(c.fd, buffer);
    if (got.state == Io::Again) return true;
    if (got.state == Io::Closed || got.bytes != 1 || buffer[0] != c.next) return false;
    return answered(event.key, now_ns());
  }

  bool answered(std::uint32_t key, Nanos now) {
    Client& c = set_[key];
    ++result_.messages;
    if (c.asked >= start_ + options_.warm_up) result_.latency.add(now - c.asked);
    c.next = static_cast<std::uint8_t>(c.next + 1);
    if (options_.pause == 0) return ask(c, now);
    // From half to one and a half of the mean, so that the connections do not march in step.
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    due_[key] = now + options_.pause / 2 + (random_ >> 32) * options_.pause / (Nanos{1} << 32);
    return true;
  }

  static bool ask(Client& c, Nanos now) {
    c.asked = now;
    return write_some(c.fd, std::span(&c.next, 1)).state == Io::Progress;
  }

  // Pauses are for a few connections: a scan is cheaper than a heap.
  Nanos next_due() const {
    if (options_.pause == 0) return kNothingDue;
    return *std::min_element(due_.begin(), due_.end());
  }

  void send_due(Nanos now) {
    for (std::uint32_t key = 0; key < set_.size(); ++key) {
      if (due_[key] > now) continue;
      due_[key] = kNothingDue;
      if (!ask(set_[key], now)) drop(key);
    }
  }

  void drop(std::uint32_t key) {
    ++result_.failed;
    due_[key] = kNothingDue;
    set_[key].fd.reset();
    --open_;
  }

  const ClientOptions& options_;
  Nanos start_;
  Nanos end_;
  ClientSet set_;
  std::vector<Nanos> due_;
  PingpongResult result_;
  unsigned open_ = 0;
  std::uint64_t random_ = 1;
};

}  // namespace

PingpongResult run_pingpong(const ClientOptions& options) { return Pingpong(options).run(); }

namespace {

// Opens all connections, each proved by one echoed byte, and counts the lost ones afterwards.
class IdleSet {
 public:
  explicit IdleSet(const ClientOptions& options)
      : set_(options, head_of(options)), standing_(options.connections, false) {}

  void open_all(Nanos deadline) {
    while (opened_ + failed_ < set_.size() && now_ns() < deadline) {
      while (next_ < set_.size() && next_ - opened_ - failed_ < kOpeningMax) open(next_++);
      for (const Event& event : set_.wait(deadline)) on_event(event);
    }
    failed_ = set_.size() - opened_;
  }

  void hold(Nanos deadline) {
    // Standard input takes part under a key of its own.
    Fd input(0);
    Poller poller;
    poller.add(input, 0, true, false);
    while (now_ns() < deadline) {
      if (!poller.wait(std::min(deadline, now_ns() + kSecond / 5)).empty()) break;
      for (const Event& event : set_.wait(now_ns() + 1)) on_event(event);
    }
  }

  std::uint32_t opened() const { return opened_; }
  std::uint32_t failed() const { return failed_; }
  std::uint64_t lost() const { return lost_; }

 private:
  static std::vector<std::uint8_t> head_of(const ClientOptions& options) {
    std::vector<std::uint8_t> head = client_hello(options.sni);
    head.push_back(0);
    return head;
  }

  void open(std::uint32_t key) {
    if (!set_.open(key)) ++failed_;
  }

  void on_event(const Event& event) {
    Client& c = set_[event.key];
    bool sound = !event.writable || set_.on_writable(event.key);
    if (sound && event.readable) {
      std::array<std::uint8_t, 16> buffer;
      IoResult got = read_some(c.fd, buffer);
      if (got.state == Io::Again) return;
      sound = got.state == Io::Progress && !standing_[event.key];
      if (sound) {
        standing_[event.key] = true;
        ++opened_;
      }
    }
    if (sound) return;
    standing_[event.key] ? ++lost_ : ++failed_;
    c.fd.reset();
  }

  ClientSet set_;
  std::vector<bool> standing_;
  std::uint32_t next_ = 0;
  std::uint32_t opened_ = 0;
  std::uint32_t failed_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace

std::uint64_t run_idle(const ClientOptions& options) {
  IdleSet set(options);
  set.open_all(now_ns() + std::min(kOpenTimeMax, options.seconds));
  std::printf("ready %u %u\n", set.opened(), set.failed());
  std::fflush(stdout);
  set.hold(now_ns() + options.seconds);
  return set.lost();
}

}  // namespace adit::perf
