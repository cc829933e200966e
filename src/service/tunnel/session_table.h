// The live sessions of one thread of the relay, by number and by the id that agents resume with.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "service/tunnel/relay_session.h"

namespace adit::service {

class SessionTable {
 public:
  using Map = std::map<std::uint64_t, std::unique_ptr<RelaySession>>;

  // Null: there is none, or no more.
  RelaySession* find(std::uint64_t number) const {
    const auto found = by_number_.find(number);
    return found == by_number_.end() ? nullptr : found->second.get();
  }
  RelaySession* find_id(const std::string& id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : find(found->second);
  }
  RelaySession& add(std::unique_ptr<RelaySession> session) {
    RelaySession& out = *session;
    by_id_.emplace(out.id(), out.number());
    by_number_.emplace(out.number(), std::move(session));
    return out;
  }
  // Null: there is none.
  std::unique_ptr<RelaySession> take(std::uint64_t number) {
    auto node = by_number_.extract(number);
    if (node.empty()) return nullptr;
    by_id_.erase(node.mapped()->id());
    return std::move(node.mapped());
  }
  const Map& all() const { return by_number_; }
  std::size_t size() const { return by_number_.size(); }
  // Of all sessions, with those whose visitor is gone already.
  std::size_t streams() const {
    std::size_t n = 0;
    for (const auto& [number, session] : by_number_) n += session->streams().stream_count();
    return n;
  }

 private:
  Map by_number_;
  std::unordered_map<std::string, std::uint64_t> by_id_;
};

}  // namespace adit::service
