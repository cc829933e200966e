// What every role of the load generator needs: clock, addresses, sockets, epoll, a fixed
// ClientHello, a latency histogram. A fault of the environment ends the program with a line on
// standard error; a fault of one connection is counted by the role.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace adit::perf {

using Nanos = std::uint64_t;

inline constexpr Nanos kSecond = 1'000'000'000;
// The application's bytes behind the hello, the same for every proxy.
inline constexpr std::size_t kCountBytes = 8;       // bulk: how many bytes, big-endian; 0 = no end
inline constexpr std::size_t kRequestBytes = 64;    // small: sent with the hello
inline constexpr std::size_t kResponseBytes = 256;  // small: answered, then the server closes
inline constexpr std::size_t kPatternBytes = 1 << 20;

Nanos now_ns();
[[noreturn]] void die(const std::string& what);        // prints `what`, exits 1
[[noreturn]] void die_errno(const std::string& what);  // the same with the text of errno

// IPv4 only: everything here is loopback.
struct Address {
  std::uint32_t ip = 0;  // host order
  std::uint16_t port = 0;
};
Address parse_address(std::string_view text);  // "127.0.0.1:9001"; dies on anything else

class [[nodiscard]] Fd {
 public:
  Fd() = default;
  explicit Fd(int raw) : raw_(raw) {}
  Fd(Fd&& o) noexcept : raw_(std::exchange(o.raw_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(raw_, o.raw_);
    return *this;
  }
  ~Fd() { reset(); }
  void reset();
  int get() const { return raw_; }
  explicit operator bool() const { return raw_ >= 0; }

 private:
  int raw_ = -1;
};

Fd listen_tcp(Address at);
// Nonblocking, TCP_NODELAY; empty when the connection failed at once.
Fd connect_tcp(Address to, std::optional<std::uint32_t> source);
Fd accept_tcp(const Fd& listener);  // nonblocking, TCP_NODELAY; empty when nothing waits

enum class Io { Progress, Again, Closed };
struct IoResult {
  Io state;
  std::size_t bytes = 0;
};
IoResult read_some(const Fd& fd, std::span<std::uint8_t> into);
IoResult write_some(const Fd& fd, std::span<const std::uint8_t> bytes);
// Takes up to `max` bytes off the socket without copying them (MSG_TRUNC on TCP).
IoResult discard_some(const Fd& fd, std::size_t max);

struct Event {
  std::uint32_t key;
  bool readable;
  bool writable;
};

// Level-triggered epoll. Keys are the caller's.
class Poller {
 public:
  Poller();
  void add(const Fd& fd, std::uint32_t key, bool read, bool write);
  void change(const Fd& fd, std::uint32_t key, bool read, bool write);
  // Events until `deadline` at the latest; empty at the deadline or after a signal.
  std::span<const Event> wait(Nanos deadline);

 private:
  static constexpr std::size_t kEventsMax = 256;
  Fd epoll_;
  std::array<Event, kEventsMax> events_{};
};

// A complete TLS 1.3 ClientHello in one record of 517 bytes, padded as browsers do (RFC 7685), with
// fixed randoms: nobody here answers it in TLS.
std::vector<std::uint8_t> client_hello(std::string_view sni);

// What bulk servers send, repeated; the position in the stream decides the byte.
const std::vector<std::uint8_t>& pattern();

// Log-linear: 64 buckets in every power of two, so a quantile is at most 1.6 % off.
class Histogram {
 public:
  void add(Nanos value);
  Nanos quantile(double q) const;
  std::uint64_t count() const { return count_; }
  Nanos max() const { return max_; }

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr std::size_t kBuckets = (64 - kSubBits + 1) << kSubBits;
  std::array<std::uint64_t, kBuckets> bucket_{};
  std::uint64_t count_ = 0;
  Nanos max_ = 0;
};

void raise_fd_limit();
// SCHED_IDLE: any other runnable process of the same core goes first.
void become_background();

}  // namespace adit::perf
