// What an agent exposes, and one visitor of it: dials the local target, ends TLS or passes it
// through, pumps.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/port_range.h"
#include "crypto/tls_context.h"
#include "flow/bulk_queue.h"
#include "flow/dialer.h"
#include "flow/pump.h"
#include "proto/link/frames.h"
#include "proto/proxy_header/proxy_header.h"
#include "proto/tls_hello/tls_alert.h"
#include "service/agent/http_service.h"
#include "service/agent/http_visit.h"
#include "service/agent/probe_reply.h"
#include "service/agent/visitor_ways.h"
#include "service/edge/owned_list.h"
#include "service/renewal/alpn_answers.h"

namespace adit::service {

// What a connection to a local service begins with: who is at its far end.
enum class ProxyHeader : std::uint8_t { None, V1, V2 };

enum class ServiceKind : std::uint8_t {
  Tls,  // names on the relay's own port
  Tcp,  // public ports of the relay, whatever is spoken there
  Udp,
};

// As in HELLO: "tls".
std::string_view kind_word(ServiceKind kind);

struct LocalServiceSettings {
  ServiceNumber number;
  ServiceKind kind = ServiceKind::Tls;
  std::vector<std::string> names;  // wanted; Tls
  // Wanted, of the other kinds; what comes to the first goes to the port of `to`, what comes to the
  // next to the next.
  std::optional<PortRange> ports{};
  HostPort to;
  std::optional<HostPort> to_udp{};  // of visitors by QUIC; Tls
  bool passthrough = false;
  // TLS ends here and each request goes to `to` by itself, as HTTP/1.1; Tls, not with passthrough
  // or a PROXY header: connections to `to` are not a visitor's.
  bool http = false;
  Duration answer_within = limits::kServiceAnswerDeadline;  // of http
  // Terminate only; empty: a self-signed certificate for the names granted.
  std::string certificate_pem, key_pem;
  ProxyHeader proxy = ProxyHeader::None;
  bool transparent = false;  // it sees visitors' own addresses; see visitor_ways.h
};

// Where a visitor of this service goes who connected to `port` of the relay.
HostPort target_of(const LocalServiceSettings& service, std::uint16_t port);

class ServedStream;

// Told of the names that services without a certificate of their own are reached by.
class GrantedNames {
 public:
  // All names of the service so far; `service` is an index of settings().
  virtual void on_names(std::size_t service, const std::vector<std::string>& names) = 0;

 protected:
  ~GrantedNames() = default;
};

// All streams of one agent, of every relay.
class LocalServices {
 public:
  // `self_signed_key_pem`: for services without a certificate of their own.
  LocalServices(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics,
                std::vector<LocalServiceSettings> services, std::string self_signed_key_pem);
  ~LocalServices();

  const std::vector<LocalServiceSettings>& settings() const { return settings_; }
  // Reads the certificates, and sets up what transparent services need; the error names the
  // service.
  Status load();
  // The relay granted these names: a self-signed service gets a certificate for them.
  Status granted(ServiceNumber service, const std::vector<std::string>& names);
  void serve(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end);
  void set_listener(GrantedNames* listener) { listener_ = listener; }
  // In place of the self-signed one, for new visitors; by the key of self-signed certificates.
  Status set_certificate(std::size_t service, const std::string& chain_pem);
  bool is_self_signed(std::size_t service) const;
  AlpnAnswers& alpn_answers() { return answers_; }
  std::size_t open() const { return streams_.size(); }
  // The last visitors, for `adit explain`.
  const VisitorJournal& journal() const { return journal_; }
  void abort_all();
  // Null where no service is transparent.
  VisitorWays* ways() { return ways_.get(); }
  const VisitorWays* ways() const { return ways_.get(); }

 private:
  friend class ServedStream;
  struct Tls {
    std::vector<std::string> names;
    std::optional<crypto::TlsContext> context;
    std::int64_t not_after = 0;  // of the certificate, seconds since 1970; 0: none yet
    bool issued = false;  // by an authority, for some of the names
  };

  Status make_self_signed(std::size_t service);
  crypto::ServerTls tls_options(std::size_t service, const std::string& chain_pem,
                                const std::string& key_pem) const;

  io::Loop& loop_;
  io::Resolver& resolver_;
  Log& log_;
  Metrics& metrics_;
  std::vector<LocalServiceSettings> settings_;
  std::string self_signed_key_pem_;
  std::vector<Tls> tls_;  // by index of settings_
  std::unique_ptr<VisitorWays> ways_;
  GrantedNames* listener_ = nullptr;
  AlpnAnswers answers_;
  flow::PumpLimits pump_limits_{limits::kVisitorIdle, limits::kHalfClosedIdle};
  flow::BulkQueue bulk_;
  LogRateLimit once_;
  VisitorJournal journal_{0, limits::kAgentExplainedMax};  // ids are the relays'
  std::vector<std::unique_ptr<HttpService>> http_;  // by index of settings_; null: another kind
  void answer_probe(std::size_t service, std::unique_ptr<flow::Duplex> end);
  void on_probe_done(ProbeReply& probe) { probes_.erase(probe); }

  OwnedList<ServedStream> streams_;
  OwnedList<ProbeReply> probes_;
};

class ServedStream final : public ListNode<ServedStream> {
 public:
  ServedStream(LocalServices& owner, std::size_t service, const ProxiedConnection& from,
               const VisitorTag& tag, std::string sni, std::unique_ptr<flow::Duplex> end);
  ~ServedStream();
  // States: dialling (the visitor's bytes wait in the stream), pumping; or, of an HTTP service,
  // visiting, which dials for itself; or parting: an alert is on its way to the visitor, and what
  // it still sends is dropped until it ends or a short deadline passes.
  void start();
  // Instead of start().
  void refuse(TlsAlert alert) { turn_away(alert); }

 private:
  struct Parting final : flow::DuplexListener {
    explicit Parting(ServedStream& s);
    void on_readable() override;
    void on_writable() override {}
    void on_failed(const Error&) override { over(); }
    void on_deadline();
    void over();

    ServedStream& stream;
    io::Timer deadline;
  };

  void dial(const HostPort& to, const std::optional<Address>& as);
  void on_dialled(Result<io::Socket> socket);
  void visit_http();
  std::optional<crypto::TlsSession> tls_session();
  void on_done(flow::PumpEnd end);
  void note_end(std::string_view outcome, std::uint64_t bytes_in = 0, std::uint64_t bytes_out = 0);
  void on_http_over();
  void turn_away(TlsAlert alert);
  void finish();

  LocalServices& owner_;
  const std::size_t service_;
  const ProxiedConnection from_;
  const VisitorTag tag_;  // its id is the relay's
  const std::string sni_;
  VisitorWays::Hold hold_;
  std::unique_ptr<flow::Duplex> end_;  // until the pump has it
  std::unique_ptr<flow::Dialer> dialer_;
  std::unique_ptr<flow::Pump> pump_;
  std::unique_ptr<HttpVisit> http_;
  std::unique_ptr<Parting> parting_;
};

}  // namespace adit::service
