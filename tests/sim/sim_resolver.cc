#include "sim/sim_resolver.h"

#include <cerrno>

namespace adit::sim {

void SimNames::set(std::string_view name, std::vector<IpAddress> addresses) {
  names_[std::string(name)] = std::move(addresses);
}

void SimNames::remove(std::string_view name) { names_.erase(std::string(name)); }

const std::vector<IpAddress>* SimNames::find(std::string_view name) const {
  const auto it = names_.find(name);
  return it == names_.end() ? nullptr : &it->second;
}

class SimResolver::Query {
 public:
  Query(SimResolver& resolver, io::ResolveRequest& r, std::uint64_t n, HostPort what,
        Deadline limit)
      : request(r),
        number(n),
        wanted(std::move(what)),
        deadline(limit),
        timer(resolver.loop_, Delegate<void()>::to<&Query::on_timer>(this)),
        resolver_(resolver) {}

  io::ResolveRequest& request;
  std::uint64_t number;
  HostPort wanted;
  Deadline deadline;
  io::Timer timer;

 private:
  void on_timer() { resolver_.finish(number); }
  SimResolver& resolver_;
};

SimResolver::SimResolver(io::Loop& loop, const SimNames& names) : loop_(loop), names_(names) {}

SimResolver::~SimResolver() {
  for (auto& [number, query] : queries_) forget(query->request);
}

void SimResolver::resolve(io::ResolveRequest& request, std::string_view host, std::uint16_t port,
                          Deadline deadline) {
  const std::uint64_t number = next_number_++;
  begin(request, number);
  HostPort wanted{std::string(host), port};
  auto query = std::make_unique<Query>(*this, request, number, std::move(wanted), deadline);
  const bool literal = static_cast<bool>(IpAddress::parse(host));
  const Instant answer = names_.silent && !literal ? Instant::never()
                         : literal                 ? loop_.now()
                                                   : loop_.now() + names_.delay;
  query->timer.set(std::min(answer, deadline.instant()));
  queries_.emplace(number, std::move(query));
}

void SimResolver::on_cancel(std::uint64_t number) { queries_.erase(number); }

Result<std::vector<Address>> SimResolver::look_up(const Query& query) const {
  if (auto ip = IpAddress::parse(query.wanted.host))
    return std::vector{Address{*ip, query.wanted.port}};
  if (names_.silent || query.deadline.expired(loop_.now()))
    return errno_error(ETIMEDOUT, "resolve");
  if (names_.failing != 0) return errno_error(names_.failing, "resolve");
  const std::vector<IpAddress>* found = names_.find(query.wanted.host);
  if (found == nullptr || found->empty()) return errno_error(ENOENT, "resolve");
  std::vector<Address> out;
  for (const IpAddress& ip : *found) out.push_back({ip, query.wanted.port});
  return out;
}

void SimResolver::finish(std::uint64_t number) {
  const auto it = queries_.find(number);
  CHECK(it != queries_.end());
  const std::unique_ptr<Query> query = std::move(it->second);
  queries_.erase(it);
  answer(query->request, look_up(*query));
}

}  // namespace adit::sim
