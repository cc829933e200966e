// Load generator of the benchmarks: the servers behind a proxy and the clients before it. Clients
// print one line of JSON. `load` without arguments prints the usage.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdlib>

#include "load_roles.h"

namespace adit::perf {
namespace {

constexpr Nanos kServeTimeMax = 3600 * kSecond;  // no benchmark lasts longer

constexpr const char* kUsage =
    "usage: load serve [--bulk IP:PORT]... [--echo IP:PORT]... [--small IP:PORT]...\n"
    "       load bulk     --to IP:PORT --sni NAME [--connections C] [--bytes N] [--verify]\n"
    "       load short    --to IP:PORT --sni NAME [--connections C] [--sources N]\n"
    "       load pingpong --to IP:PORT --sni NAME [--connections C] [--pause S]\n"
    "                     [--warm-up S]\n"
    "       load mixed    --to IP:PORT --sni NAME --bulk-to IP:PORT --bulk-sni NAME\n"
    "                     [--connections C] [--bulk-connections C] [--pause S] [--warm-up S]\n"
    "       load idle     --to IP:PORT --sni NAME [--connections C] [--sources N]\n"
    "each client: [--seconds S], fractions allowed\n";

template <class T>
T number(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    die("no number: " + std::string(text));
  return value;
}

Nanos seconds(std::string_view text) {
  double s = number<double>(text);
  if (!(s >= 0 && s <= 3600)) die("seconds out of range: " + std::string(text));
  return static_cast<Nanos>(s * static_cast<double>(kSecond));
}

double to_seconds(Nanos t) { return static_cast<double>(t) / static_cast<double>(kSecond); }
double to_micros(Nanos t) { return static_cast<double>(t) / 1000.0; }

using Args = std::span<char* const>;

std::vector<Listen> parse_serve(Args args) {
  std::vector<Listen> out;
  for (std::size_t i = 0; i + 1 < args.size(); i += 2) {
    std::string_view key = args[i];
    Kind kind = Kind::Bulk;
    if (key == "--echo") {
      kind = Kind::Echo;
    } else if (key == "--small") {
      kind = Kind::Small;
    } else if (key != "--bulk") {
      die("unknown option " + std::string(key));
    }
    out.push_back({kind, parse_address(args[i + 1])});
  }
  if (out.empty()) die("nothing to serve");
  return out;
}

ClientOptions parse_client(Args args) {
  ClientOptions o;
  for (std::size_t i = 0; i < args.size(); ++i) {
    std::string_view key = args[i];
    if (key == "--verify") {
      o.verify = true;
      continue;
    }
    if (i + 1 == args.size()) die("no value for " + std::string(key));
    std::string_view value = args[++i];
    if (key == "--to") o.to = parse_address(value);
    else if (key == "--sni") o.sni = value;
    else if (key == "--connections") o.connections = number<unsigned>(value);
    else if (key == "--seconds") o.seconds = seconds(value);
    else if (key == "--warm-up") o.warm_up = seconds(value);
    else if (key == "--bytes") o.bytes = number<std::uint64_t>(value);
    else if (key == "--sources") o.sources = number<unsigned>(value);
    else if (key == "--pause") o.pause = seconds(value);
    else if (key == "--bulk-to") o.bulk_to = parse_address(value);
    else if (key == "--bulk-sni") o.bulk_sni = value;
    else if (key == "--bulk-connections") o.bulk_connections = number<unsigned>(value);
    else die("unknown option " + std::string(key));
  }
  if (o.to.port == 0 || o.sni.empty() || o.connections == 0) die("--to and --sni are needed");
  if (o.sources > 250) die("--sources: at most 250");
  return o;
}

void print_bulk(const BulkResult& r) {
  std::printf("\"bytes\":%llu,\"seconds\":%.6f,\"failed\":%llu",
              static_cast<unsigned long long>(r.bytes), to_seconds(r.elapsed),
              static_cast<unsigned long long>(r.failed));
}

void print_pingpong(const PingpongResult& r) {
  std::printf("\"messages\":%llu,\"seconds\":%.6f,\"failed\":%llu,\"samples\":%llu,"
              "\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f",
              static_cast<unsigned long long>(r.messages), to_seconds(r.elapsed),
              static_cast<unsigned long long>(r.failed),
              static_cast<unsigned long long>(r.latency.count()),
              to_micros(r.latency.quantile(0.50)), to_micros(r.latency.quantile(0.99)),
              to_micros(r.latency.max()));
}

// The bulk side is a process of its own that gives way to the ping-pong on the shared core, so that
// what is measured is the proxy's order of service and not the load generator's.
void run_mixed(const ClientOptions& options) {
  ClientOptions bulk = options;
  bulk.to = options.bulk_to;
  bulk.sni = options.bulk_sni;
  bulk.connections = options.bulk_connections;
  bulk.background = true;
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) die_errno("pipe");
  Fd reader(pipe_ends[0]);
  Fd writer(pipe_ends[1]);
  pid_t child = fork();
  if (child < 0) die_errno("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    BulkResult r = run_bulk(bulk);
    bool written = write(writer.get(), &r, sizeof r) == static_cast<ssize_t>(sizeof r);
    _exit(written ? 0 : 1);
  }
  writer.reset();
  PingpongResult pingpong = run_pingpong(options);
  BulkResult r;
  if (read(reader.get(), &r, sizeof r) != static_cast<ssize_t>(sizeof r)) die("bulk side failed");
  int status = 0;
  waitpid(child, &status, 0);
  std::printf("{");
  print_pingpong(pingpong);
  std::printf(",\"bulk\":{");
  print_bulk(r);
  std::printf("}}\n");
}

int run_client(std::string_view role, const ClientOptions& options) {
  if (role == "bulk") {
    std::printf("{");
    print_bulk(run_bulk(options));
    std::printf("}\n");
  } else if (role == "short") {
    ShortResult r = run_short(options);
    std::printf("{\"done\":%llu,\"failed\":%llu,\"seconds\":%.6f}\n",
                static_cast<unsigned long long>(r.done),
                static_cast<unsigned long long>(r.failed), to_seconds(r.elapsed));
  } else if (role == "pingpong") {
    std::printf("{");
    print_pingpong(run_pingpong(options));
    std::printf("}\n");
  } else if (role == "mixed") {
    run_mixed(options);
  } else if (role == "idle") {
    std::printf("{\"lost\":%llu}\n", static_cast<unsigned long long>(run_idle(options)));
  } else {
    std::fputs(kUsage, stderr);
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace adit::perf

int main(int argc, char** argv) {
  using namespace adit::perf;
  if (argc < 3) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  raise_fd_limit();
  std::string_view role = argv[1];
  Args args(argv + 2, static_cast<std::size_t>(argc - 2));
  if (role == "serve") {
    serve(parse_serve(args), kServeTimeMax);
    return 0;
  }
  return run_client(role, parse_client(args));
}
