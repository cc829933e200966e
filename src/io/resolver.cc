#include "io/resolver.h"

#include "base/check.h"

namespace adit::io {

void ResolveRequest::cancel() {
  if (resolver_ == nullptr) return;
  Resolver* resolver = resolver_;
  resolver_ = nullptr;
  resolver->on_cancel(number_);
}

void Resolver::begin(ResolveRequest& request, std::uint64_t number) {
  CHECK(!request.waiting());
  request.resolver_ = this;
  request.number_ = number;
}

void Resolver::answer(ResolveRequest& request, const Result<std::vector<Address>>& result) {
  request.resolver_ = nullptr;
  request.handler_(result);
}

}  // namespace adit::io
