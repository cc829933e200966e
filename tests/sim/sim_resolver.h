// Names of the simulated world, and the Resolver over them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "io/resolver.h"

namespace adit::sim {

// What all resolvers of a world know. May change at any time.
class SimNames {
 public:
  Duration delay = 5ms;     // of every answer
  int failing = 0;          // an errno: every question fails so; 0: none
  bool silent = false;      // no server answers: every question runs into its deadline

  void set(std::string_view name, std::vector<IpAddress> addresses);
  void remove(std::string_view name);  // ENOENT from now on
  const std::vector<IpAddress>* find(std::string_view name) const;

 private:
  std::map<std::string, std::vector<IpAddress>, std::less<>> names_;
};

class SimResolver final : public io::Resolver {
 public:
  SimResolver(io::Loop& loop, const SimNames& names);
  ~SimResolver() override;

  void resolve(io::ResolveRequest& request, std::string_view host, std::uint16_t port,
               Deadline deadline) override;
  std::uint64_t asked() const { return next_number_ - 1; }

 private:
  class Query;
  void on_cancel(std::uint64_t number) override;
  void finish(std::uint64_t number);
  Result<std::vector<Address>> look_up(const Query& query) const;

  io::Loop& loop_;
  const SimNames& names_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, std::unique_ptr<Query>> queries_;
};

}  // namespace adit::sim
