// Load for the HTTP tunnel node: what stands behind it and a client that sends batches, and the
// same work over plain HTTP for comparison.
//
//   node_load echo-tcp ADDRESS          what comes goes back
//   node_load echo-http ADDRESS         bodies of POSTs go back
//   node_load client KIND TO ECHO KEY BYTES CONNECTIONS SECONDS
//     KIND node: every connection has a session to ECHO; a batch carries BYTES up and, when they
//     are back, is done. KIND http: a POST of as long a body. Prints one line of JSON.

#include <sys/socket.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include "load_net.h"

namespace adit::perf {
namespace {

constexpr std::size_t kReadBytes = 256 << 10;

std::size_t number(std::string_view text) {
  std::size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::uint32_t key_of(std::size_t index) { return static_cast<std::uint32_t>(index); }

// A connection with what came and what is to go.
struct Pipe {
  Fd fd;
  std::string in, out;
  std::size_t sent = 0;
  bool dead = false;

  void send_some() {
    while (sent < out.size() && !dead) {
      const std::string_view rest = std::string_view(out).substr(sent);
      const auto r = write_some(
          fd, {reinterpret_cast<const std::uint8_t*>(rest.data()), rest.size()});
      if (r.state == Io::Again) return;
      if (r.state == Io::Closed) dead = true;
      sent += r.bytes;
    }
    out.clear();
    sent = 0;
  }
  void receive_some() {
    static std::vector<std::uint8_t> buffer(kReadBytes);
    while (!dead) {
      const auto r = read_some(fd, buffer);
      if (r.state == Io::Again) return;
      if (r.state == Io::Closed) dead = true;
      in.append(reinterpret_cast<const char*>(buffer.data()), r.bytes);
      if (r.bytes < buffer.size()) return;
    }
  }
  bool sending() const { return sent < out.size(); }
};

// The first message in `in`, with its head: its size, or 0 while it is not whole.
std::size_t message_size(std::string_view in, std::size_t& head) {
  const std::size_t end = in.find("\r\n\r\n");
  if (end == in.npos) return 0;
  head = end + 4;
  std::size_t body = 0;
  for (std::size_t at = 0; at < end; at = in.find("\r\n", at) + 2) {
    constexpr std::string_view kName = "content-length:";
    if (in.size() - at < kName.size()) break;
    bool same = true;
    for (std::size_t i = 0; i < kName.size(); ++i)
      same = same && (in[at + i] | (kName[i] == '-' || kName[i] == ':' ? 0 : 0x20)) == kName[i];
    if (!same) continue;
    std::size_t value = at + kName.size();
    while (in[value] == ' ') ++value;
    body = number(in.substr(value, end - value));
  }
  return in.size() >= head + body ? head + body : 0;
}

// --- servers ---

void answer(Pipe& pipe, bool http) {
  if (!http) {
    pipe.out += pipe.in;
    pipe.in.clear();
    return;
  }
  for (std::size_t head = 0, size = 0; (size = message_size(pipe.in, head)) != 0;) {
    pipe.out += "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
                std::to_string(size - head) + "\r\n\r\n";
    pipe.out.append(pipe.in, head, size - head);
    pipe.in.erase(0, size);
  }
}

[[noreturn]] void serve(std::string_view at, bool http) {
  const Fd listener = listen_tcp(parse_address(at));
  Poller poller;
  poller.add(listener, 0, true, false);
  std::map<std::uint32_t, Pipe> pipes;
  std::uint32_t next = 1;
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    for (const Event& e : poller.wait(now_ns() + kSecond)) {
      if (e.key == 0) {
        for (Fd fd = accept_tcp(listener); fd; fd = accept_tcp(listener)) {
          poller.add(fd, next, true, false);
          pipes[next++].fd = std::move(fd);
        }
        continue;
      }
      Pipe& pipe = pipes[e.key];
      if (e.readable) pipe.receive_some();
      answer(pipe, http);
      pipe.send_some();
      if (pipe.dead) {
        pipes.erase(e.key);
      } else {
        poller.change(pipe.fd, e.key, !pipe.sending(), pipe.sending());
      }
    }
  }
}

// --- the client ---

struct Plan {
  bool node = false;
  std::string to, echo_host, echo_port, key;
  std::size_t bytes = 0, connections = 0, seconds = 0;
  std::string payload;  // base64 of `bytes`
};

std::string post(std::string_view path, const std::string& body) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: bench\r\n" +
         "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

// Bytes that base64 of this length stands for.
std::size_t plain_bytes(std::string_view text) {
  std::size_t n = text.size() / 4 * 3;
  while (text.ends_with('=')) {
    text.remove_suffix(1);
    --n;
  }
  return n;
}

class Visitor {
 public:
  explicit Visitor(const Plan& plan) : plan_(plan) {}
  Pipe pipe;

  void begin() {
    if (!plan_.node) return next();
    ask("{\"op\":\"connect\",\"host\":\"" + plan_.echo_host + "\",\"port\":" + plan_.echo_port +
        "}");
  }
  // Whole answers that have come; false when one is wrong.
  bool work(Histogram& latencies, std::uint64_t& requests) {
    for (std::size_t head = 0, size = 0; (size = message_size(pipe.in, head)) != 0;) {
      const std::string reply = pipe.in.substr(head, size - head);
      const bool good = pipe.in.starts_with("HTTP/1.1 200");
      pipe.in.erase(0, size);
      ++requests;
      if (!good || !take(reply, latencies)) return false;
    }
    return true;
  }

 private:
  bool take(const std::string& reply, Histogram& latencies) {
    if (plan_.node && sid_.empty()) {
      sid_ = field(reply, "sid");
      if (!sid_.empty()) next();
      return !sid_.empty();
    }
    if (plan_.node) {
      if (reply.find("\"e\":") != reply.npos) return false;
      const std::string_view text = field(reply, "d");
      back_ += plain_bytes(text);
      if (back_ < plan_.bytes) return ask("{\"op\":\"data\",\"sid\":\"" + sid_ + "\"}"), true;
    }
    latencies.add(now_ns() - began_);
    next();
    return true;
  }
  static std::string field(const std::string& reply, const std::string& name) {
    const std::string mark = "\"" + name + "\":\"";
    const std::size_t at = reply.find(mark);
    if (at == reply.npos) return {};
    const std::size_t from = at + mark.size();
    return reply.substr(from, reply.find('"', from) - from);
  }
  void next() {
    began_ = now_ns();
    back_ = 0;
    const std::string op = "{\"op\":\"data\",\"sid\":\"" + sid_ + "\",\"d\":\"" + plan_.payload +
                           "\"}";
    ask(op);
  }
  void ask(const std::string& op) {
    pipe.out += post("/tunnel/batch", "{\"k\":\"" + plan_.key + "\",\"ops\":[" + op + "]}");
  }

  const Plan& plan_;
  std::string sid_;
  std::size_t back_ = 0;
  Nanos began_ = 0;
};

int client(const Plan& plan) {
  raise_fd_limit();
  Poller poller;
  std::vector<std::unique_ptr<Visitor>> visitors;
  for (std::size_t i = 0; i < plan.connections; ++i) {
    visitors.push_back(std::make_unique<Visitor>(plan));
    Visitor& v = *visitors.back();
    v.pipe.fd = connect_tcp(parse_address(plan.to), std::nullopt);
    if (!v.pipe.fd) die("cannot connect");
    v.begin();
    poller.add(v.pipe.fd, key_of(i), true, true);
  }
  Histogram latencies;
  std::uint64_t requests = 0, failed = 0;
  const Nanos began = now_ns(), end = began + plan.seconds * kSecond;
  while (now_ns() < end && failed < visitors.size()) {
    for (const Event& e : poller.wait(end)) {
      Visitor& v = *visitors[e.key];
      if (v.pipe.dead) continue;
      if (e.readable) v.pipe.receive_some();
      if (!v.work(latencies, requests)) v.pipe.dead = true;
      v.pipe.send_some();
      if (v.pipe.dead) {
        ++failed;
        poller.change(v.pipe.fd, e.key, false, false);
      } else {
        poller.change(v.pipe.fd, e.key, true, v.pipe.sending());
      }
    }
  }
  const double seconds = static_cast<double>(now_ns() - began) / static_cast<double>(kSecond);
  std::printf("{\"seconds\":%.3f,\"done\":%llu,\"requests\":%llu,\"failed\":%llu,\"p50_ms\":%.3f,"
              "\"p99_ms\":%.3f}\n",
              seconds, static_cast<unsigned long long>(latencies.count()),
              static_cast<unsigned long long>(requests), static_cast<unsigned long long>(failed),
              static_cast<double>(latencies.quantile(0.5)) / 1e6,
              static_cast<double>(latencies.quantile(0.99)) / 1e6);
  return 0;
}

std::string base64_of_zeros(std::size_t bytes) {
  std::string out((bytes + 2) / 3 * 4, 'A');
  if (bytes % 3 != 0) out.back() = '=';
  if (bytes % 3 == 1) out[out.size() - 2] = '=';
  return out;
}

int run(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "echo-tcp") serve(words[1], false);
  if (words.size() == 2 && words[0] == "echo-http") serve(words[1], true);
  if (words.size() != 8 || words[0] != "client") die("see the head of node_load.cc");
  const std::size_t colon = words[3].find(':');
  Plan plan{words[1] == "node",     words[2],          words[3].substr(0, colon),
            words[3].substr(colon + 1), words[4],      number(words[5]),
            number(words[6]),       number(words[7]),  {}};
  plan.payload = base64_of_zeros(plan.bytes);
  return client(plan);
}

}  // namespace
}  // namespace adit::perf

int main(int argc, char** argv) { return adit::perf::run(argc, argv); }
