// The roles of the load generator.
#pragma once

#include <cstdio>

#include "load_net.h"

namespace adit::perf {

// What a listening port does once it has read a whole ClientHello.
enum class Kind {
  Bulk,   // reads a count, sends so many bytes of pattern()
  Echo,   // sends back what comes
  Small,  // reads a request, sends one response, closes
};

struct Listen {
  Kind kind;
  Address at;
};

// Serves until a signal ends the process, `time_max` at the latest.
void serve(const std::vector<Listen>& listens, Nanos time_max);

struct ClientOptions {
  Address to;
  std::string sni;
  unsigned connections = 1;
  Nanos seconds = 2 * kSecond;  // how long; for idle the longest hold
  Nanos warm_up = 0;            // pingpong, mixed: latencies of the start that are not counted
  std::uint64_t bytes = 0;      // bulk, each connection; 0 = as many as fit in `seconds`
  bool verify = false;          // bulk: compare every byte with pattern()
  bool background = false;      // SCHED_IDLE
  unsigned sources = 1;         // from 127.0.2.1 … 127.0.2.N in turn; 1 = the default address
  Nanos pause = 0;              // pingpong, mixed: mean time between an answer and the next message
  Address bulk_to;              // mixed: where the bulk connections go
  std::string bulk_sni;
  unsigned bulk_connections = 8;
};

struct BulkResult {
  std::uint64_t bytes = 0;
  Nanos elapsed = 0;
  std::uint64_t failed = 0;  // connections refused, broken, ended early or with a wrong byte
};

struct ShortResult {
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  Nanos elapsed = 0;
};

struct PingpongResult {
  std::uint64_t messages = 0;  // round trips, those of the warm-up too
  std::uint64_t failed = 0;    // connections
  Nanos elapsed = 0;
  Histogram latency;
};

BulkResult run_bulk(const ClientOptions& options);
ShortResult run_short(const ClientOptions& options);
PingpongResult run_pingpong(const ClientOptions& options);
// Opens everything, prints "ready OPENED FAILED", holds until standard input (a pipe) ends; returns
// how many of the opened connections were lost meanwhile.
std::uint64_t run_idle(const ClientOptions& options);

}  // namespace adit::perf
