#include "service/probe/probe.h"

#include <algorithm>

#include "crypto/tls_session.h"
#include "proto/tls_hello/tls_alert.h"

namespace adit::service {

namespace {

constexpr std::string_view kWord = "adit-probed/1 ";
constexpr std::size_t kRandomBytes = 32;
constexpr std::size_t kRandomBegin = kHelloRandomEnd - kRandomBytes;
constexpr std::size_t kAnswerBytesMax = 256;
// PROXY protocol: of a balancer that asks for itself.
constexpr std::string_view kProxyUnknown = "PROXY UNKNOWN\r\n";

std::string hex(Bytes bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

std::string_view word(ProbeAnswer::Certificate certificate) {
  switch (certificate) {
    case ProbeAnswer::Certificate::Ok: return "ok";
    case ProbeAnswer::Certificate::Expired: return "expired";
    case ProbeAnswer::Certificate::None: return "none";
  }
  return "none";
}

}  // namespace

std::string_view name(ProbeLeg leg) {
  switch (leg) {
    case ProbeLeg::None: return "none";
    case ProbeLeg::Relay: return "relay";
    case ProbeLeg::Routing: return "routing";
    case ProbeLeg::Link: return "link";
    case ProbeLeg::Answer: return "answer";
    case ProbeLeg::Certificate: return "certificate";
    case ProbeLeg::Service: return "service";
  }
  return "unknown";
}

std::string probe_answer_text(Bytes random, const ProbeAnswer& answer) {
  return std::string(kWord) + hex(random) + " service=" + (answer.service ? "ok" : "down") +
         " certificate=" + std::string(word(answer.certificate)) + "\n";
}

std::optional<ProbeResult> judge_probe(std::string_view received, bool ended, Bytes random) {
  const std::size_t end = received.find('\n');
  // A record of an alert (RFC 8446 §6): the edge, or the session at the relay, turned us away.
  if (received.size() >= 7 && received[0] == 21) {
    const auto alert = static_cast<std::uint8_t>(received[6]);
    return ProbeResult{ProbeLeg::Routing,
                       "turned away with TLS alert " + std::to_string(alert), {}};
  }
  if (end == received.npos) {
    if (!ended && received.size() < kAnswerBytesMax) return std::nullopt;
    // Whoever closes is there: the edge at its bounds, or an agent that is going.
    if (received.empty()) return ProbeResult{ProbeLeg::Routing, "closed without an answer", {}};
    return ProbeResult{ProbeLeg::Answer, "what answers is no agent", {}};
  }
  const std::string_view line = received.substr(0, end);
  if (!line.starts_with(std::string(kWord) + hex(random)))
    return ProbeResult{ProbeLeg::Answer, "the answer is to another question", {}};
  const auto says = [line](std::string_view what) { return line.find(what) != line.npos; };
  if (says(" certificate=expired"))
    return ProbeResult{ProbeLeg::Certificate, "the agent's certificate has expired", {}};
  if (!says(" service=ok"))
    return ProbeResult{ProbeLeg::Service, "the local service takes no connection", {}};
  return ProbeResult{};
}

// RFC 8446 §5.1, §4: record header of 5 bytes, handshake header of 4, version of 2.
std::optional<Bytes> random_of_hello(Bytes stream) {
  if (stream.size() < kHelloRandomEnd || stream[0] != 22 || stream[5] != 1) return std::nullopt;
  return stream.subspan(kRandomBegin, kRandomBytes);
}

Probe::Probe(io::Loop& loop, std::uint64_t session, Done done)
    : loop_(loop),
      session_(session),
      done_(done),
      connect_(io::Op::Handler::to<&Probe::on_connected>(this)),
      receive_(io::Op::Handler::to<&Probe::on_receive>(this)),
      deadline_(loop, Delegate<void()>::to<&Probe::on_deadline>(this)),
      failed_(Delegate<void()>::to<&Probe::on_deadline>(this)) {}

void Probe::start(const Address& relay, bool by_balancer, const crypto::TlsContext& tls,
                  const std::string& host, Duration deadline) {
  begin_ = loop_.now();
  deadline_.set(begin_ + deadline);
  auto session = crypto::TlsSession::client(tls, host);
  auto socket = loop_.open_tcp(relay);
  if (!session || !socket) {
    failure_ = session ? socket.error().what : session.error().what;
    return loop_.run_later(failed_);
  }
  const Bytes hello = session->output();
  const auto random = random_of_hello(hello);
  if (by_balancer) out_.assign(kProxyUnknown.begin(), kProxyUnknown.end());
  out_.insert(out_.end(), hello.begin(), hello.end());
  if (random) random_.assign(random->begin(), random->end());
  socket_ = std::move(*socket);
  loop_.connect(connect_, socket_, relay);
}

void Probe::on_connected(const io::Completion& c) {
  if (c.result < 0) return finish(ProbeLeg::Relay, errno_error(-c.result, "connect").what);
  connected_ = true;
  // Into an empty socket buffer.
  const auto sent = loop_.send(socket_, out_);
  if (!sent || *sent != out_.size()) return finish(ProbeLeg::Relay, "the hello was not taken");
  loop_.receive(receive_, socket_);
}

void Probe::on_receive(const io::Completion& c) {
  if (c.result < 0) return finish(ProbeLeg::Routing, errno_error(-c.result, "receive").what);
  received_ += as_text(c.data);
  if (auto result = judge_probe(received_, c.result == 0, random_)) return finish(*result);
  if (!c.more) loop_.receive(receive_, socket_);
}

void Probe::on_deadline() {
  if (!failure_.empty()) return finish(ProbeLeg::Relay, failure_);
  finish(connected_ ? ProbeLeg::Link : ProbeLeg::Relay, "no answer in time");
}

void Probe::finish(ProbeLeg leg, std::string what) { finish({leg, std::move(what), {}}); }

void Probe::finish(ProbeResult result) {
  deadline_.stop();
  result.took = loop_.now() - begin_;
  done_(*this, result);
}

}  // namespace adit::service
