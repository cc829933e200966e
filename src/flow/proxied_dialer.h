// A TCP connection to where a user wants to go, through the HTTP proxy that the network asks for
// (CONNECT, RFC 9110 §9.3.6), or without one.
#pragma once

#include <memory>
#include <string>

#include "base/address.h"
#include "flow/dialer.h"
#include "flow/duplex.h"
#include "flow/head_exchange.h"
#include "io/loop.h"
#include "io/resolver.h"

namespace adit::flow {

struct HttpProxy {
  HostPort address;
  std::string authorization;  // "Basic …" or empty
};

class ProxiedDialer {
 public:
  // Called once, as the last thing; the dialer may be destroyed in it. Errors are in words for
  // people.
  using Done = Delegate<void(Result<std::unique_ptr<Duplex>>)>;

  ProxiedDialer(io::Loop& loop, io::Resolver& resolver, Done done);

  // Once. `to` is what a proxy is asked for, as the user named it: the proxy resolves it. Without a
  // proxy (null) `direct` is dialled. `proxy` outlives the dialer.
  void dial(const HostPort& to, const HostPort& direct, const HttpProxy* proxy, Deadline deadline);

 private:
  void on_dialled(Result<io::Socket> socket);
  void on_connected(Result<http1::Head> answer);

  io::Loop& loop_;
  Done done_;
  Dialer dialer_;
  HostPort to_;
  const HttpProxy* proxy_ = nullptr;
  Deadline deadline_ = Deadline::never();  // until dial()
  std::unique_ptr<HeadExchange> connect_;
};

}  // namespace adit::flow
