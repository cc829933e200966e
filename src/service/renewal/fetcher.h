// How a renewal asks its ACME server; an interface so that tests answer in its place.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "flow/https_client.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "proto/http/message.h"

namespace adit::service {

class Fetcher {
 public:
  using Done = Delegate<void(Result<http::Response>)>;

  virtual ~Fetcher() = default;
  // One request at a time; `done` is called once, never during the call.
  virtual void fetch(const http::Request& request, Done done) = 0;
  // Nothing is under way any more; what was remembered for further requests is dropped.
  virtual void rest() = 0;
};

class HttpsFetcher final : public Fetcher {
 public:
  // `roots_pem_file`: the authorities that may vouch for the server; empty: the system's. Read when
  // the first request comes, and again after rest(): a broken file stops no program. `proxy`: what
  // the network wants to be asked, if anything.
  HttpsFetcher(io::Loop& loop, io::Resolver& resolver, std::string roots_pem_file,
               std::optional<flow::HttpProxy> proxy);

  void fetch(const http::Request& request, Done done) override;
  void rest() override;

 private:
  void on_done(Result<http::Response> result);
  void on_failure();

  io::Loop& loop_;
  io::Resolver& resolver_;
  const std::string roots_pem_file_;
  const std::optional<flow::HttpProxy> proxy_;
  std::optional<crypto::TlsContext> tls_;
  std::unique_ptr<flow::HttpsClient> client_;
  Done done_;
  std::optional<Error> failure_;
  io::Timer failed_;
};

}  // namespace adit::service
