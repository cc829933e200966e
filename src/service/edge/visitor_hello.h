// One visitor from accept to a whole ClientHello. Waits: its receive op and its deadline.
#pragma once

#include <memory>
#include <optional>

#include "base/list.h"
#include "io/loop.h"
#include "proto/proxy_header/proxy_header.h"
#include "proto/tls_hello/hello_reader.h"

namespace adit::service {

class Edge;

class VisitorHello final : public ListNode<VisitorHello> {
 public:
  VisitorHello(Edge& edge, io::Socket socket, const Address& peer, std::uint16_t local_port);
  void start(Instant deadline);

 private:
  friend class Edge;
  void on_receive(const io::Completion& c);
  void on_proxy_header(Bytes bytes);
  void on_hello_bytes(Bytes bytes);
  void drop(std::string_view reason);
  void on_deadline();
  void refuse(const Error& error);
  void finish();

  Edge& edge_;
  io::Socket socket_;
  Address peer_;
  std::uint16_t local_port_;
  std::unique_ptr<ProxyHeaderReader> proxy_;  // while a balancer's header is read
  std::optional<Address> destination_;        // that it named
  HelloReader reader_;
  io::Op receive_;
  io::Timer deadline_;
};

}  // namespace adit::service
