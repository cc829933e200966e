// Names to addresses.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/delegate.h"
#include "base/result.h"
#include "base/time.h"

namespace adit::io {

class Resolver;

// One question at a time, embedded by whoever asks; destroying it takes the question back. It may
// be used again after its answer, from within the handler too.
class ResolveRequest {
 public:
  // At least one address when there is a result. Error codes: ENOENT no such name, ETIMEDOUT,
  // EAGAIN (too many questions, or a server in trouble), EINVAL (not a name).
  using Handler = Delegate<void(const Result<std::vector<Address>>&)>;

  explicit ResolveRequest(Handler handler) : handler_(handler) {}
  ~ResolveRequest() { cancel(); }
  ResolveRequest(const ResolveRequest&) = delete;
  ResolveRequest& operator=(const ResolveRequest&) = delete;

  bool waiting() const { return resolver_ != nullptr; }
  // No answer will come.
  void cancel();

 private:
  friend class Resolver;
  Handler handler_;
  Resolver* resolver_ = nullptr;
  std::uint64_t number_ = 0;
};

class Resolver {
 public:
  virtual ~Resolver() = default;

  // Answers `request`, which must not be waiting, once and never during the call. Addresses carry
  // `port` and stand in the order in which to try them. An IP literal is its own answer. Beyond the
  // deadline the answer is ETIMEDOUT.
  virtual void resolve(ResolveRequest& request, std::string_view host, std::uint16_t port,
                       Deadline deadline) = 0;

 protected:
  friend class ResolveRequest;

  // --- for the implementations ---
  // Ties the request to this resolver under a number that the implementation picks.
  void begin(ResolveRequest& request, std::uint64_t number);
  // Unties the request without an answer, as when the resolver dies first.
  static void forget(ResolveRequest& request) { request.resolver_ = nullptr; }
  // Unties the request and calls its handler, which may destroy it or ask again.
  static void answer(ResolveRequest& request, const Result<std::vector<Address>>& result);
  // The request is gone.
  virtual void on_cancel(std::uint64_t number) = 0;
};

}  // namespace adit::io
