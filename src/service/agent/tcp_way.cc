#include "service/agent/tcp_way.h"

#include <utility>

#include "flow/tls_stream.h"
#include "flow/ws_stream.h"
#include "proto/ws/handshake.h"
#include "service/tunnel/ws_link.h"

namespace adit::service {

namespace {
using Kind = http1::HeadReader::Kind;
}  // namespace

TcpWay::TcpWay(io::Loop& loop, io::Resolver& resolver, const TcpWayOptions& options,
               Deadline deadline, Done done)
    : loop_(loop),
      options_(options),
      deadline_(deadline),
      done_(done),
      dialer_(loop, resolver, flow::ProxiedDialer::Done::to<&TcpWay::on_tcp>(this)) {
  dialer_.dial(options_.relay, {options_.address.ip.text(), options_.address.port},
               options_.proxy, deadline);
}

std::string TcpWay::host_field() const {
  const bool usual = options_.relay.port == 443;
  return options_.server_name + (usual ? "" : ":" + std::to_string(options_.relay.port));
}

void TcpWay::on_tcp(Result<std::unique_ptr<flow::Duplex>> stream) {
  if (!stream || options_.kind != LinkCarrier::Ws) return done_(std::move(stream));
  auto session = crypto::TlsSession::client(*options_.https, options_.server_name, {});
  if (!session) return done_(std::move(session).error());
  auto tls = std::make_unique<flow::TlsStream>(loop_, std::move(*stream), std::move(*session));
  key_ = ws::new_key();
  std::string target(kWsLinkPath);
  if (options_.affinity) target += "?thread=" + std::to_string(*options_.affinity);
  upgrade_ = std::make_unique<flow::HeadExchange>(
      loop_, std::move(tls), Kind::Response,
      ws::upgrade_request(host_field(), target, key_, kWsLinkProtocol), deadline_.instant(),
      flow::HeadExchange::Done::to<&TcpWay::on_upgraded>(this));
}

void TcpWay::on_upgraded(Result<http1::Head> answer) {
  if (!answer) return done_(std::move(answer).error().with("WebSocket"));
  if (auto ok = ws::check_response(*answer, key_, kWsLinkProtocol); !ok)
    return done_(std::move(ok).error().with("WebSocket"));
  auto stream = upgrade_->take();
  std::unique_ptr<flow::Duplex> inside =
      std::make_unique<flow::WsStream>(loop_, std::move(stream), ws::Role::Client);
  done_(std::move(inside));
}

}  // namespace adit::service
