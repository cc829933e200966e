// Every bound of the program, with its reason. Configuration may lower or raise some of them; these
// are the values without configuration. Relations between them are asserted below.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace adit::limits {

inline constexpr std::size_t operator""_KiB(unsigned long long n) { return n << 10; }
inline constexpr std::size_t operator""_MiB(unsigned long long n) { return n << 20; }

// --- visitors ---
// A hello with post-quantum key shares and ECH is some 2 to 6 KiB; a TLS record holds 16 KiB.
inline constexpr std::size_t kHelloBytesMax = 16_KiB;
// Browsers offer two or three protocols; each kept name costs some 32 bytes for 2 on the wire.
inline constexpr std::size_t kAlpnNamesMax = 64;
// From accept to a whole ClientHello; a slow phone on a lossy network needs a few seconds.
inline constexpr Duration kHelloDeadline = 10s;
// Visitors whose hello is not complete, per thread: beyond it the oldest is closed.
inline constexpr std::size_t kHalfOpenVisitorsMax = 16384;
// Connections of one source address at a time, hello or forwarded.
inline constexpr std::size_t kVisitorsPerAddressMax = 1024;
inline constexpr std::size_t kVisitorsMax = 100'000;  // per thread
// A forwarded connection on which nothing moves.
inline constexpr Duration kVisitorIdle = 1h;
// After one direction ended, the other may stay quiet this long.
inline constexpr Duration kHalfClosedIdle = 5min;
inline constexpr Duration kDialDeadline = 10s;
// Pause of a listener when descriptors or memory ran out (EMFILE, ENFILE, ENOBUFS, ENOMEM).
inline constexpr Duration kAcceptPause = 100ms;
inline constexpr int kListenBacklog = 4096;
// TCP_USER_TIMEOUT is left alone: it would also end a connection whose peer answers but reads
// nothing for so long (a paused video), because the kernel counts window probes that are answered
// as well (tcp(7)). So a vanished peer is noticed by keep-alive where the connection is silent, at
// 60 + 4 * 15 = 120 s (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT) ...
inline constexpr Duration kTcpKeepAliveIdle = 60s;
inline constexpr Duration kTcpKeepAliveInterval = 15s;
inline constexpr int kTcpKeepAliveProbes = 4;
// ... and by the kernel's retransmission where data is outstanding: its usual 15 tries, this much
// apart at most (TCP_RTO_MAX_MS, Linux 6.15), take some two minutes. Older kernels need some 15.
inline constexpr Duration kTcpRetransmitIntervalMax = 10s;

// --- loop ---
inline constexpr std::size_t kReceiveBufferBytes = 16_KiB;
inline constexpr std::size_t kReceiveBuffers = 256;     // per thread, in the provided ring
// Hold a burst of coalesced datagrams (UDP_GRO): at most 64 KiB by the IP length field.
inline constexpr std::size_t kDatagramBufferBytes = 64_KiB + 512;
inline constexpr std::size_t kDatagramBuffers = 64;     // per thread
inline constexpr std::size_t kCompletionsPerTurnMax = 512;
inline constexpr std::size_t kSplicePipeBytes = 1_MiB;  // asked for; 256 KiB is taken where refused
inline constexpr std::size_t kSplicePipeBytesMin = 256_KiB;
// Lent at a time, per thread; the rest copies
inline constexpr std::size_t kSplicePipesMax = 256;
inline constexpr std::size_t kSplicePipesIdleMax = 16;  // kept for the next bulk stream, per thread
// Bytes one direction may move in one turn before others run.
inline constexpr std::size_t kPumpTurnBytesMax = 1_MiB;
// Promotion to splice: bytes received in one turn, seen this many turns in a row.
inline constexpr std::size_t kPromoteTurnBytes = 48_KiB;
inline constexpr unsigned kPromoteTurns = 2;
inline constexpr std::size_t kMailboxMessagesMax = 65536;  // waiting for one thread
// Names being looked up at a time, per thread; more are refused with EAGAIN.
inline constexpr std::size_t kResolvesMax = 1024;

// --- links and sessions ---
inline constexpr std::size_t kControlFrameBytesMax = 64_KiB;
inline constexpr std::size_t kPreambleBytesMax = 1_KiB;
inline constexpr std::size_t kServicesPerAgentMax = 64;
inline constexpr std::size_t kNamesPerServiceMax = 16;
inline constexpr std::size_t kStreamsPerSessionMax = 1024;
inline constexpr std::size_t kLinksPerKeyMax = 4;       // the oldest is closed beyond it
inline constexpr std::size_t kLinkConnectionsMax = 8;   // of one link over TCP
inline constexpr std::size_t kLinkConnections = 4;      // unless configured
// Until an agent replaces a connection that has left its link.
inline constexpr Duration kLinkConnectionAgain = 5s;
// A link without visitors for so long, and twice as long at most, goes back to one connection.
inline constexpr Duration kLinkConnectionsIdle = 60s;
inline constexpr std::size_t kUnauthenticatedLinksMax = 1024;  // in handshake or before HELLO
// Of them over TCP from one address, so that one address does not keep all agents out.
inline constexpr std::size_t kUnauthenticatedLinksPerAddressMax = 128;
// What a sender keeps of one stream until the far side has handed it on: 1 bandwidth-delay product
// at 320 Mbit/s and 100 ms.
inline constexpr std::size_t kStreamRetainBytesMax = 4_MiB;
inline constexpr std::size_t kSessionRetainBytesMax = 64_MiB;
// Flow-control credit that a receiver gives on one stream: what it may have to buffer when the
// socket behind it does not take anything.
inline constexpr std::size_t kStreamWindowBytes = 4_MiB;
// Credit for all streams of a link together. A sender has never more under way, or lying unread at
// the receiver, than it retains; with credit for all of that, and for the preambles and the control
// channel besides, streams that nobody reads cannot stop the others: how a session shares what it
// may retain (session.h) decides alone.
inline constexpr std::size_t kLinkWindowBytes = kSessionRetainBytesMax + 4_MiB;
inline constexpr Duration kLinkHandshakeDeadline = 10s;
// From handshake to HELLO, from HELLO to WELCOME
inline constexpr Duration kHelloFrameDeadline = 10s;
inline constexpr Duration kLinkIdleTimeout = 15s;
inline constexpr Duration kLinkKeepAlive = 5s;
inline constexpr Duration kSessionResumeWindow = 30s;
inline constexpr Duration kReconnectDelayMin = 200ms;
inline constexpr Duration kReconnectDelayMax = 60s;
inline constexpr Duration kDrainDeadline = 30s;
inline constexpr std::size_t kAckEveryBytes = 64_KiB;   // an ACK frame at the latest after so many
inline constexpr Duration kAckDelayMax = 25ms;          // or so long

// --- HTTP ---
// Cookies and tokens of a proxy or a browser fit.
inline constexpr std::size_t kHttpHeadBytesMax = 16_KiB;
inline constexpr Duration kHttpHeadDeadline = 10s;
// Between two requests of a connection; browsers let go after some minutes, pools after one or two.
inline constexpr Duration kHttpKeepAliveIdle = 75s;
// A client that is to send its body, and sends none of it.
inline constexpr Duration kHttpBodyStall = 60s;
// A client that takes nothing of its response: a paused video reads on within this time.
inline constexpr Duration kHttpResponseStall = 10min;
// After the last response: for the client's end to come, so that no reset overtakes the response.
inline constexpr Duration kHttpLinger = 5s;
// Pipelined requests that are served in one turn before others run.
inline constexpr unsigned kHttpRequestsPerTurnMax = 16;
// What waits to be written, of a connection (HTTP/1) or of a stream (HTTP/2); a chunk is no longer.
inline constexpr std::size_t kHttpSendBytes = 32_KiB;
// HTTP/2: RFC 9113 §6.5.2 recommends no fewer than 100.
inline constexpr std::size_t kHttpStreamsMax = 100;
// Credit for request bodies: of a stream, and of all of a connection that nobody reads.
inline constexpr std::size_t kHttpStreamWindowBytes = 256_KiB;
inline constexpr std::size_t kHttpConnectionWindowBytes = 1_MiB;
// HTTP/2: streams of a connection that the client makes the server reset, by breaking the protocol
// in them: so many at once, and a second. Each is a request begun for nothing (CVE-2025-8671).
inline constexpr std::size_t kHttpProvokedResets = 1000;
inline constexpr std::size_t kHttpProvokedResetsPerSecond = 33;
// HTTP/2: a head, or trailers, over so many times the head's bound is not read to its end: a table
// of HPACK makes a byte on the wire into thousands.
inline constexpr std::size_t kHttpHeadReadFactor = 4;
// Connections to the relay's own HTTPS before their request, per thread.
inline constexpr std::size_t kSiteVisitsMax = 1024;

// --- bodies that come encoded ---
// What a decoder adds at a time to what it has decoded.
inline constexpr std::size_t kCodecStepBytes = 128_KiB;
// RFC 8878 §3.1.1.1.2 asks decoders for 8 MiB, and encoders not to need more.
inline constexpr int kZstdWindowLogMax = 23;

// --- the UDP gateway inside a stream (udpgw) ---
inline constexpr std::size_t kUdpgwFlowsMax = 256;         // of one stream: each is a socket
inline constexpr Duration kUdpgwIdle = 2min;               // as for other flows
inline constexpr std::size_t kUdpgwQueueFramesMax = 256;   // answers that wait for the client
inline constexpr std::size_t kUdpgwDatagramMax = 10'240;   // of an answer; clients take no more

// --- HTTP services of an agent ---
// Of a local service's responses: tokens, policies and cookies together are longer than requests.
inline constexpr std::size_t kServiceHeadBytesMax = 64_KiB;
// Requests of one service under way, of all visitors; each may have a connection of its own.
inline constexpr std::size_t kServiceRequestsMax = 1024;
// Connections to one service that wait for the next request, and how long.
inline constexpr std::size_t kServiceIdleConnectionsMax = 32;
inline constexpr Duration kServiceIdle = 30s;
// Until a local service begins its response, unless configured; a long poll may take a minute.
inline constexpr Duration kServiceAnswerDeadline = 2min;
// What an agent remembers of its visitors, for `adit explain`.
inline constexpr std::size_t kAgentExplainedMax = 512;

// --- public ports ---
// Public ports of one session, TCP and UDP together: each is a descriptor of the relay.
inline constexpr std::size_t kPortsPerSessionMax = 256;
// A port that is still somebody's is tried again this long: the socket of a session that is just
// over, or of a killed program, goes when the kernel has dropped its io_uring.
inline constexpr Duration kPortBindDeadline = 2s;

// --- transparent services ---
// Addresses of visitors that are routed back to an agent at a time; each is a route of the kernel.
inline constexpr std::size_t kForeignVisitorsMax = 65536;
// After the last socket of one is closed: TIME_WAIT and FIN_WAIT_2 take the kernel a minute each.
inline constexpr Duration kForeignVisitorLinger = 2min;

// --- flows: visitors by UDP ---
inline constexpr std::size_t kFlowsPerSessionMax = 1024;
// RFC 4787 REQ-5: a NAT keeps a mapping for two minutes at least. For a flow in which nothing has
// come back so far, half a minute is enough for any answer.
inline constexpr Duration kFlowIdle = 2min;
inline constexpr Duration kFlowUnansweredIdle = 30s;
// The relay decides when a flow is over; an agent that never hears of it forgets it at last.
inline constexpr Duration kAgentFlowIdle = 10min;
// Datagrams of one flow that wait for the link; the oldest gives way to the newest, since what is
// late is what a UDP protocol has given up already. 64 of 1400 bytes are 15 ms at 50 Mbit/s.
inline constexpr std::size_t kFlowQueueDatagramsMax = 64;
// Of all flows of a session together; beyond it the flow with the newest datagram loses its oldest.
inline constexpr std::size_t kFlowsQueueBytesMax = 8_MiB;
// Of an IPv4 datagram.
inline constexpr std::size_t kDatagramPayloadMax = 65507;
// A record on a flow stream: a datagram, and addresses and names beside it.
inline constexpr std::size_t kFlowRecordBytesMax = kDatagramPayloadMax + 1_KiB;
// What the sending end of a flow stream holds beyond its queues.
inline constexpr std::size_t kFlowStreamBytes = 64_KiB;
inline constexpr std::size_t kFlowSocketBufferBytes = 256_KiB;
// Of one flow, while its server's name is looked up.
inline constexpr std::size_t kEarlyDatagramsMax = 16;

// --- QUIC that is passed through ---
// A hello with post-quantum key shares spans two or three datagrams; a peer that needs more than
// this sends no ClientHello.
inline constexpr std::size_t kInitialDatagramsMax = 8;
inline constexpr std::size_t kHelloAssembliesMax = 1024;  // under way, per thread
inline constexpr Duration kHelloAssemblyDeadline = 3s;
inline constexpr std::size_t kPassedFlowsMax = 16384;      // per thread
inline constexpr std::size_t kPassedIdsMax = 2 * kPassedFlowsMax;

// --- the operator's socket ---
inline constexpr std::size_t kAdminConnectionsMax = 64;    // per listener
inline constexpr std::size_t kAdminHeadBytesMax = 8_KiB;
inline constexpr Duration kAdminHeadDeadline = 5s;         // from accept to a whole request
inline constexpr Duration kAdminAnswerDeadline = 10s;      // from there until the client has it all
inline constexpr Duration kStatusDeadline = 1s;            // for all threads to say what they have

static_assert(kStreamWindowBytes <= kStreamRetainBytesMax,
              "what is in flight towards a blocked receiver must fit what the sender retains");
static_assert(kStreamRetainBytesMax * 16 <= kSessionRetainBytesMax,
              "a few bulk streams must not use up a session");
static_assert(kSessionRetainBytesMax + kStreamsPerSessionMax * kPreambleBytesMax <
                  kLinkWindowBytes,
              "streams that are not read would block the link");
static_assert(kHelloBytesMax <= kStreamRetainBytesMax);
static_assert(kLinkKeepAlive * 2 < kLinkIdleTimeout, "one lost PING must not end a link");
static_assert(kLinkIdleTimeout < kSessionResumeWindow,
              "an agent that notices a dead link late still finds its session");
static_assert(kPreambleBytesMax < kControlFrameBytesMax);
static_assert(kStatusDeadline * 2 < kAdminAnswerDeadline,
              "a question may have to wait for the one before it");

}  // namespace adit::limits
