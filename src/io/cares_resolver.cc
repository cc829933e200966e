#include "io/cares_resolver.h"

#include <ares.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <map>

#include "base/limits.h"
#include "io/sockaddr.h"

namespace adit::io {
namespace {

constexpr std::size_t kAddressesMax = 32;  // of one answer
constexpr Duration kConfigurationCheck = 5s;
constexpr const char* kConfiguration = "/etc/resolv.conf";

struct DestroyChannel {
  void operator()(ares_channel_t* c) const { ares_destroy(c); }
};
struct FreeAnswer {
  void operator()(ares_addrinfo* a) const { ares_freeaddrinfo(a); }
};

Error to_error(int status, const std::string& host) {
  int code = EAGAIN;
  switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_ENONAME: code = ENOENT; break;
    case ARES_EBADNAME:
    case ARES_EBADSTR: code = EINVAL; break;
    case ARES_ETIMEOUT: code = ETIMEDOUT; break;
    case ARES_ENOMEM: code = ENOMEM; break;
    default: break;
  }
  return Error{code, host + ": " + ares_strerror(status)};
}

Result<std::vector<Address>> to_addresses(const ares_addrinfo& answer, std::uint16_t port,
                                          const std::string& host) {
  std::vector<Address> out;
  for (const ares_addrinfo_node* n = answer.nodes; n != nullptr; n = n->ai_next) {
    if (out.size() == kAddressesMax) break;
    SockAddr name;
    if (n->ai_family == AF_INET) {
      std::copy_n(reinterpret_cast<const std::uint8_t*>(n->ai_addr), sizeof name.v4,
                  reinterpret_cast<std::uint8_t*>(&name.v4));
    } else if (n->ai_family == AF_INET6) {
      std::copy_n(reinterpret_cast<const std::uint8_t*>(n->ai_addr), sizeof name.v6,
                  reinterpret_cast<std::uint8_t*>(&name.v6));
    } else {
      continue;
    }
    Address address = name.address();
    address.port = port;
    if (std::find(out.begin(), out.end(), address) == out.end()) out.push_back(address);
  }
  if (out.empty()) return to_error(ARES_ENODATA, host);
  return out;
}

class CaresResolver final : public Resolver {
 public:
  explicit CaresResolver(Loop& loop) : loop_(loop) {}
  ~CaresResolver() override;
  Status open(const CaresOptions& options);
  void resolve(ResolveRequest& request, std::string_view host, std::uint16_t port,
               Deadline deadline) override;

 private:
  struct Query {
    Query(CaresResolver& r, ResolveRequest& q, std::uint64_t n, std::string_view h, std::uint16_t p)
        : resolver(r), request(&q), number(n), host(h), port(p) {}
    void on_deadline() { resolver.expire(*this); }

    CaresResolver& resolver;
    ResolveRequest* request;  // null: nobody waits any more
    std::uint64_t number;
    std::string host;
    std::uint16_t port;
    bool in_channel = false;  // c-ares holds our address and will call back
    Result<std::vector<Address>> result = std::vector<Address>{};
    Timer deadline{resolver.loop_, Delegate<void()>::to<&Query::on_deadline>(this)};
  };

  // One of c-ares' sockets, which it opens and closes itself.
  struct Watch {
    Watch(CaresResolver& r, int f) : resolver(r), fd(f) {}
    void arm() {
      if (!op.armed() && wanted != 0) resolver.loop_.poll(op, fd, wanted);
    }
    void on_ready(const Completion& c) { resolver.on_socket(fd, c.result); }

    CaresResolver& resolver;
    int fd;
    int wanted = 0;
    Op op{Op::Handler::to<&Watch::on_ready>(this)};
  };

  static void on_socket_state(void* self, ares_socket_t fd, int readable, int writable);
  static void on_answer(void* query, int status, int timeouts, ares_addrinfo* answer);

  void on_cancel(std::uint64_t number) override;
  void ask(Query& query);
  void done(Query& query, Result<std::vector<Address>> result);
  void deliver();
  void expire(Query& query);
  void on_socket(int fd, int result);
  void on_timer();
  void set_timer();
  void reread_configuration();

  Loop& loop_;
  std::map<std::uint64_t, std::unique_ptr<Query>> queries_;
  std::map<int, Watch> watches_;
  std::deque<std::uint64_t> done_;  // numbers; those taken back meanwhile are not in queries_
  std::uint64_t next_number_ = 1;
  std::size_t in_channel_ = 0;
  bool own_servers_ = false;
  Instant configuration_checked_;
  std::filesystem::file_time_type configuration_time_;
  Timer timer_{loop_, Delegate<void()>::to<&CaresResolver::on_timer>(this)};
  Task deliver_{Delegate<void()>::to<&CaresResolver::deliver>(this)};
  std::unique_ptr<ares_channel_t, DestroyChannel> channel_;
};

CaresResolver::~CaresResolver() {
  for (auto& [number, query] : queries_) {
    if (query->request != nullptr) forget(*std::exchange(query->request, nullptr));
  }
  channel_.reset();  // calls on_answer for whatever it holds
}

Status CaresResolver::open(const CaresOptions& options) {
  ares_options o{};
  o.sock_state_cb = &CaresResolver::on_socket_state;
  o.sock_state_cb_data = this;
  char lookups[] = "fb";  // files before DNS
  o.lookups = lookups;
  ares_channel_t* channel = nullptr;
  if (const int e = ares_init_options(&channel, &o, ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS);
      e != ARES_SUCCESS) {
    return to_error(e, "resolver");
  }
  channel_.reset(channel);
  own_servers_ = !options.servers.empty();
  if (own_servers_) {
    if (const int e = ares_set_servers_ports_csv(channel, options.servers.c_str());
        e != ARES_SUCCESS) {
      return to_error(e, options.servers);
    }
  }
  std::error_code none;
  configuration_time_ = std::filesystem::last_write_time(kConfiguration, none);
  configuration_checked_ = loop_.now();
  return {};
}

// --- questions ---

void CaresResolver::resolve(ResolveRequest& request, std::string_view host, std::uint16_t port,
                            Deadline deadline) {
  const std::uint64_t number = next_number_++;
  begin(request, number);
  auto& query = *(queries_[number] = std::make_unique<Query>(*this, request, number, host, port));
  if (const auto ip = IpAddress::parse(host)) {
    return done(query, std::vector<Address>{Address{*ip, port}});
  }
  if (host.empty() || host.find('\0') != std::string_view::npos) {
    return done(query, Error{EINVAL, "not a host name"});
  }
  if (in_channel_ >= limits::kResolvesMax) {
    return done(query, Error{EAGAIN, query.host + ": too many names are being looked up"});
  }
  query.deadline.set(deadline.instant());
  reread_configuration();
  ask(query);
}

void CaresResolver::ask(Query& query) {
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  query.in_channel = true;
  ++in_channel_;
  // May call back at once, and then the query is done.
  ares_getaddrinfo(channel_.get(), query.host.c_str(), nullptr, &hints, &CaresResolver::on_answer,
                   &query);
  set_timer();
}

// Called by c-ares, which must not be entered or destroyed from here: the answer is noted, no more.
void CaresResolver::on_answer(void* argument, int status, int, ares_addrinfo* answer) {
  const std::unique_ptr<ares_addrinfo, FreeAnswer> owned(answer);
  Query& query = *static_cast<Query*>(argument);
  CaresResolver& self = query.resolver;
  query.in_channel = false;
  --self.in_channel_;
  if (query.request == nullptr) {
    self.queries_.erase(query.number);
  } else if (status != ARES_SUCCESS || !owned) {
    self.done(query, to_error(status, query.host));
  } else {
    self.done(query, to_addresses(*owned, query.port, query.host));
  }
}

void CaresResolver::done(Query& query, Result<std::vector<Address>> result) {
  query.result = std::move(result);
  done_.push_back(query.number);
  loop_.run_later(deliver_);
}

void CaresResolver::deliver() {
  while (!done_.empty()) {
    const auto found = queries_.find(done_.front());
    done_.pop_front();
    if (found == queries_.end()) continue;
    const std::unique_ptr<Query> query = std::move(found->second);
    queries_.erase(found);
    // The others in a run of their own: the handler may be the end of this object.
    if (!done_.empty()) loop_.run_later(deliver_);
    query->deadline.stop();
    return answer(*query->request, query->result);
  }
}

void CaresResolver::expire(Query& query) {
  if (!query.in_channel) return;  // answered in this very turn
  ResolveRequest* request = std::exchange(query.request, nullptr);
  const Result<std::vector<Address>> late = to_error(ARES_ETIMEOUT, query.host);
  answer(*request, late);
}

void CaresResolver::on_cancel(std::uint64_t number) {
  const auto found = queries_.find(number);
  CHECK(found != queries_.end());
  Query& query = *found->second;
  query.request = nullptr;
  query.deadline.stop();
  if (!query.in_channel) queries_.erase(found);
}

// --- c-ares' sockets and time-outs ---

void CaresResolver::on_socket_state(void* argument, ares_socket_t fd, int readable, int writable) {
  auto& self = *static_cast<CaresResolver*>(argument);
  const int wanted = (readable != 0 ? kReadable : 0) | (writable != 0 ? kWritable : 0);
  if (wanted == 0) {
    self.watches_.erase(fd);
    return;
  }
  Watch& watch = self.watches_.try_emplace(fd, self, fd).first->second;
  const int missing = wanted & ~watch.wanted;
  watch.wanted = wanted;
  // A poll in flight for less than is wanted now ends early and is made anew.
  if (watch.op.armed() && missing != 0) self.loop_.cancel(watch.op);
  watch.arm();
}

void CaresResolver::on_socket(int fd, int result) {
  if (result >= 0) {
    ares_process_fd(channel_.get(), (result & kReadable) != 0 ? fd : ARES_SOCKET_BAD,
                    (result & kWritable) != 0 ? fd : ARES_SOCKET_BAD);
    set_timer();
  }
  // Where it cannot be watched, c-ares' own time-out goes on to the next server.
  if (result < 0 && result != -ECANCELED) return;
  // Processing may have closed it.
  if (const auto found = watches_.find(fd); found != watches_.end()) found->second.arm();
}

void CaresResolver::on_timer() {
  ares_process_fd(channel_.get(), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  set_timer();
}

void CaresResolver::set_timer() {
  timeval tv{};
  if (ares_timeout(channel_.get(), nullptr, &tv) == nullptr) return timer_.stop();
  // At least a little: c-ares reads its own clock, which may be behind the loop's by a rounding.
  const Duration left = std::chrono::seconds(tv.tv_sec) + std::chrono::microseconds(tv.tv_usec);
  timer_.set(loop_.now() + std::max<Duration>(left, 1ms));
}

// A laptop that moves between networks gets other servers.
void CaresResolver::reread_configuration() {
  if (own_servers_ || loop_.now() - configuration_checked_ < kConfigurationCheck) return;
  configuration_checked_ = loop_.now();
  std::error_code failed;
  const auto time = std::filesystem::last_write_time(kConfiguration, failed);
  if (failed || time == configuration_time_) return;
  configuration_time_ = time;
  ares_reinit(channel_.get());  // failing leaves what was
}

}  // namespace

Result<std::unique_ptr<Resolver>> make_cares_resolver(Loop& loop, const CaresOptions& options) {
  auto resolver = std::make_unique<CaresResolver>(loop);
  if (Status s = resolver->open(options); !s) return std::move(s).error();
  return std::unique_ptr<Resolver>(std::move(resolver));
}

}  // namespace adit::io
