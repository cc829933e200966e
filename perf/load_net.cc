#include "load_net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace adit::perf {

Nanos now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<Nanos>(t.tv_sec) * kSecond + static_cast<Nanos>(t.tv_nsec);
}

void die(const std::string& what) {
  std::fprintf(stderr, "load: %s\n", what.c_str());
  std::exit(1);
}

void die_errno(const std::string& what) { die(what + ": " + std::strerror(errno)); }

Address parse_address(std::string_view text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) die("no port in " + std::string(text));
  std::string host(text.substr(0, colon));
  std::string_view port_text = text.substr(colon + 1);
  in_addr ip{};
  std::uint16_t port = 0;
  auto [end, error] = std::from_chars(port_text.begin(), port_text.end(), port);
  if (inet_pton(AF_INET, host.c_str(), &ip) != 1 || error != std::errc{} ||
      end != port_text.end())
    die("no IPv4 address and port: " + std::string(text));
  return Address{ntohl(ip.s_addr), port};
}

void Fd::reset() {
  if (raw_ >= 0) ::close(raw_);
  raw_ = -1;
}

namespace {

sockaddr_in to_sockaddr(std::uint32_t ip, std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(ip);
  return out;
}

void set_flag(const Fd& fd, int level, int option) {
  int one = 1;
  if (setsockopt(fd.get(), level, option, &one, sizeof one) != 0) die_errno("setsockopt");
}

IoResult outcome(ssize_t n) {
  if (n > 0) return {Io::Progress, static_cast<std::size_t>(n)};
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {Io::Again};
  return {Io::Closed};
}

}  // namespace

Fd listen_tcp(Address at) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) die_errno("socket");
  set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
  sockaddr_in name = to_sockaddr(at.ip, at.port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
    die_errno("bind, port " + std::to_string(at.port));
  if (listen(fd.get(), 4096) != 0) die_errno("listen");
  return fd;
}

Fd connect_tcp(Address to, std::optional<std::uint32_t> source) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) die_errno("socket");
  set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
  if (source) {
    // The port is chosen by connect, so that one port serves several destinations.
    set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    sockaddr_in from = to_sockaddr(*source, 0);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) return Fd();
  }
  sockaddr_in name = to_sockaddr(to.ip, to.port);
  int rc = connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name);
  if (rc != 0 && errno != EINPROGRESS) return Fd();
  return fd;
}

Fd accept_tcp(const Fd& listener) {
  Fd fd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) die_errno("accept");
  if (fd) set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
  return fd;
}

IoResult read_some(const Fd& fd, std::span<std::uint8_t> into) {
  return outcome(recv(fd.get(), into.data(), into.size(), 0));
}

IoResult write_some(const Fd& fd, std::span<const std::uint8_t> bytes) {
  return outcome(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

IoResult discard_some(const Fd& fd, std::size_t max) {
  return outcome(recv(fd.get(), nullptr, max, MSG_TRUNC));
}

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) die_errno("epoll_create1");
}

namespace {

epoll_event interest(std::uint32_t key, bool read, bool write) {
  epoll_event event{};
  event.events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
  event.data.u32 = key;
  return event;
}

}  // namespace

void Poller::add(const Fd& fd, std::uint32_t key, bool read, bool write) {
  epoll_event event = interest(key, read, write);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) die_errno("epoll_ctl add");
}

void Poller::change(const Fd& fd, std::uint32_t key, bool read, bool write) {
  epoll_event event = interest(key, read, write);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd.get(), &event) != 0) die_errno("epoll_ctl mod");
}

std::span<const Event> Poller::wait(Nanos deadline) {
  Nanos now = now_ns();
  if (now >= deadline) return {};
  std::array<epoll_event, kEventsMax> raw;
  Nanos left = std::min(deadline - now, 60 * kSecond);
  timespec timeout{static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
  int n = epoll_pwait2(epoll_.get(), raw.data(), static_cast<int>(raw.size()), &timeout, nullptr);
  if (n < 0 && errno != EINTR) die_errno("epoll_wait");
  std::size_t count = n > 0 ? static_cast<std::size_t>(n) : 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits = raw[i].events;
    bool broken = (bits & (EPOLLERR | EPOLLHUP)) != 0;
    // Whoever waits for anything finds out about a broken socket by its next call.
    events_[i] = {raw[i].data.u32, broken || (bits & EPOLLIN) != 0,
                  broken || (bits & EPOLLOUT) != 0};
  }
  return std::span(events_).first(count);
}

namespace {

// Appends big-endian numbers and closes length-prefixed blocks from the inside out.
class HelloWriter {
 public:
  void u8(unsigned v) { out_.push_back(static_cast<std::uint8_t>(v)); }
  void u16(unsigned v) {
    u8(v >> 8);
    u8(v & 0xff);
  }
  void fill(std::size_t n, unsigned first) {
    for (std::size_t i = 0; i < n; ++i) u8((first + i * 29) & 0xff);
  }
  void text(std::string_view s) { out_.insert(out_.end(), s.begin(), s.end()); }
  std::size_t open(std::size_t length_bytes) {
    out_.resize(out_.size() + length_bytes);
    return out_.size();
  }
  void close(std::size_t start, std::size_t length_bytes) {
    std::size_t length = out_.size() - start;
    for (std::size_t i = 0; i < length_bytes; ++i)
      out_[start - 1 - i] = static_cast<std::uint8_t>(length >> (8 * i));
  }
  std::size_t size() const { return out_.size(); }
  std::vector<std::uint8_t> take() { return std::move(out_); }

 private:
  std::vector<std::uint8_t> out_;
};

void extension(HelloWriter& w, unsigned type, auto body) {
  w.u16(type);
  std::size_t start = w.open(2);
  body();
  w.close(start, 2);
}

void list16(HelloWriter& w, std::size_t length_bytes, std::initializer_list<unsigned> values) {
  std::size_t start = w.open(length_bytes);
  for (unsigned v : values) w.u16(v);
  w.close(start, length_bytes);
}

// RFC 8446 §4.2, in the order of its table.
void extensions(HelloWriter& w, std::string_view sni) {
  extension(w, 0, [&] {  // server_name, RFC 6066 §3
    std::size_t list = w.open(2);
    w.u8(0);
    std::size_t name = w.open(2);
    w.text(sni);
    w.close(name, 2);
    w.close(list, 2);
  });
  extension(w, 10, [&] { list16(w, 2, {0x001d, 0x0017}); });                  // groups
  extension(w, 13, [&] { list16(w, 2, {0x0403, 0x0804, 0x0401, 0x0503}); });  // signatures
  extension(w, 16, [&] {                                                      // ALPN, RFC 7301
    std::size_t list = w.open(2);
    w.u8(8);
    w.text("http/1.1");
    w.close(list, 2);
  });
  extension(w, 43, [&] { list16(w, 1, {0x0304}); });  // supported_versions
  extension(w, 45, [&] {                              // psk_key_exchange_modes
    w.u8(1);
    w.u8(1);
  });
  extension(w, 51, [&] {  // key_share: any 32 bytes are an X25519 key
    std::size_t shares = w.open(2);
    w.u16(0x001d);
    w.u16(32);
    w.fill(32, 7);
    w.close(shares, 2);
  });
}

}  // namespace

std::vector<std::uint8_t> client_hello(std::string_view sni) {
  constexpr std::size_t kRecordBytes = 517;
  HelloWriter w;
  w.u8(22);  // handshake record, RFC 8446 §5.1
  w.u16(0x0301);
  std::size_t record = w.open(2);
  w.u8(1);  // client_hello, §4.1.2
  std::size_t hello = w.open(3);
  w.u16(0x0303);
  w.fill(32, 1);  // random
  w.u8(32);
  w.fill(32, 3);  // legacy_session_id
  list16(w, 2, {0x1301, 0x1302, 0x1303});
  w.u8(1);
  w.u8(0);  // no compression
  std::size_t all = w.open(2);
  extensions(w, sni);
  std::size_t padding = kRecordBytes - w.size() - 4;
  extension(w, 21, [&] { w.text(std::string(padding, '\0')); });
  w.close(all, 2);
  w.close(hello, 3);
  w.close(record, 2);
  return w.take();
}

const std::vector<std::uint8_t>& pattern() {
  static const std::vector<std::uint8_t> bytes = [] {
    std::vector<std::uint8_t> out(kPatternBytes);
    std::uint64_t state = 1;  // xorshift: no two places of the buffer look alike
    for (std::uint8_t& b : out) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      b = static_cast<std::uint8_t>(state >> 32);
    }
    return out;
  }();
  return bytes;
}

void Histogram::add(Nanos value) {
  // Below 2^kSubBits a bucket is one nanosecond; above, the top kSubBits+1 bits name it.
  unsigned width = static_cast<unsigned>(std::bit_width(value));
  unsigned shift = width > kSubBits + 1 ? width - kSubBits - 1 : 0;
  std::size_t index = (static_cast<std::size_t>(shift) << kSubBits) + (value >> shift);
  ++bucket_[std::min(index, kBuckets - 1)];
  ++count_;
  max_ = std::max(max_, value);
}

Nanos Histogram::quantile(double q) const {
  std::uint64_t rank = static_cast<std::uint64_t>(q * static_cast<double>(count_));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += bucket_[i];
    if (seen <= rank) continue;
    std::size_t shift = i >> kSubBits;
    if (shift > 0) --shift;  // every group but the first covers [2^kSubBits, 2^(kSubBits+1))
    return static_cast<Nanos>(i - (shift << kSubBits)) << shift;
  }
  return max_;
}

void raise_fd_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  // Refused: the limit stays, and a role that needs more says which call failed.
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) die_errno("setrlimit");
}

void become_background() {
  sched_param param{};
  if (sched_setscheduler(0, SCHED_IDLE, &param) != 0) die_errno("sched_setscheduler");
}

}  // namespace adit::perf
