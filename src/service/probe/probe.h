// One look at an agent's public name, as a visitor would take it: a connection to the relay's own
// port, a ClientHello with the name, through edge, router, session and link to the agent, which
// answers before its local service gets anything. The answer repeats the hello's random value, so
// that nothing old or foreign passes for it.
//
// The ClientHello offers ALPN "adit-probe/1" alone. What comes back is one line:
//
//   adit-probed/1 RANDOM(64 hexadecimal digits) service=ok|down certificate=ok|expired|none
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"
#include "base/time.h"
#include "crypto/tls_context.h"
#include "io/loop.h"

namespace adit::service {

inline constexpr std::string_view kAlpnProbe = "adit-probe/1";

// The first thing on the way that does not work.
enum class ProbeLeg : std::uint8_t {
  None,         // all of them do
  Relay,        // the relay's own port takes no connection
  Routing,      // the edge or the router turned the visitor away
  Link,         // nothing came back from the agent
  Answer,       // something else did
  Certificate,  // the agent's for the name is out of date
  Service,      // the agent's local service takes no connection
};
std::string_view name(ProbeLeg leg);  // "link"

struct ProbeResult {
  ProbeLeg leg = ProbeLeg::None;
  std::string what;  // for people; empty where all is well
  Duration took{};
};

// What an agent says of itself in its answer.
struct ProbeAnswer {
  bool service = false;
  enum class Certificate : std::uint8_t { Ok, Expired, None } certificate = Certificate::None;
};
std::string probe_answer_text(Bytes random, const ProbeAnswer& answer);
// `received`: all that came. nullopt: more may come.
std::optional<ProbeResult> judge_probe(std::string_view received, bool ended, Bytes random);
// The random value of a ClientHello at the start of `stream` (RFC 8446 §4.1.2), where its first 43
// bytes are there. Empty: they are not, or it is no hello.
std::optional<Bytes> random_of_hello(Bytes stream);
inline constexpr std::size_t kHelloRandomEnd = 43;

class Probe {
 public:
  // Called once; the probe may be destroyed in it.
  using Done = Delegate<void(Probe&, const ProbeResult&)>;

  // `by_balancer`: our own address counts as a balancer's, whose connections begin with a header.
  Probe(io::Loop& loop, std::uint64_t session, Done done);
  void start(const Address& relay, bool by_balancer, const crypto::TlsContext& tls,
             const std::string& host, Duration deadline);
  std::uint64_t session() const { return session_; }

 private:
  void on_connected(const io::Completion& c);
  void on_receive(const io::Completion& c);
  void on_deadline();
  void finish(ProbeLeg leg, std::string what);
  void finish(ProbeResult result);

  io::Loop& loop_;
  const std::uint64_t session_;
  const Done done_;
  Instant begin_;
  ByteVector out_;
  ByteVector random_;
  std::string received_;
  bool connected_ = false;
  io::Socket socket_;
  io::Op connect_;
  io::Op receive_;
  io::Timer deadline_;
  io::Task failed_;  // says, outside of start(), that it could not begin
  std::string failure_;
};

}  // namespace adit::service
