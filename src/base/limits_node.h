// The bounds of the HTTP tunnel node, apart from limits.h because only it needs them.
#pragma once

#include "base/limits.h"

namespace adit::limits {

// A client's batch is 4 MiB of base64 at most.
inline constexpr std::size_t kNodeBodyBytesMax = 16_MiB;
// Strings longer than this are set aside before the JSON parser; the longest host name is not.
inline constexpr std::size_t kNodeInlineStringBytesMax = 256;
// Without a key in it; the key comes first in what clients send.
inline constexpr std::size_t kNodeBlindBytesMax = 1_MiB;
// Larger replies are not worth the encoder's time, which all clients share.
inline constexpr std::size_t kNodeSqueezeBytesMax = 8_MiB;
// A request beyond its key's rate waits so long at most.
inline constexpr Duration kNodeRateWait = 5s;
// What is left for the JSON parser: some 3 ms of its time.
inline constexpr std::size_t kNodeSkeletonBytesMax = 256_KiB;
inline constexpr std::size_t kNodeValuesMax = 16384;
inline constexpr std::size_t kNodeDepthMax = 128;
inline constexpr std::size_t kNodeOpsMax = 1024;  // of a batch; clients send some 50
inline constexpr std::size_t kNodeKeysMax = 256;
// A client's batches take some seconds on their way, so it sends ahead of what has been missing.
inline constexpr std::size_t kNodeChunksAheadMax = 32;
// Of one session, in and out of order: what its upstream has not taken.
inline constexpr std::size_t kNodeUploadBytesMax = 16_MiB;
// Beyond it answers to the session's uploads are held back, the longer the more waits.
inline constexpr std::size_t kNodeUploadBytesSoft = 2_MiB;
// Of one session, read from its upstream and not fetched.
inline constexpr std::size_t kNodeDownloadBytesMax = 16_MiB;
inline constexpr std::size_t kNodeDownloadBytesMin = 16_KiB;
// Of one reply, before base64: bridges cut bodies off at 50 MiB.
inline constexpr std::size_t kNodeReplyBytesMax = 32_MiB;
// Of all sessions together, on a machine of 256 MiB.
inline constexpr std::size_t kNodeBufferBytesMax = 96_MiB;
// From a request's head to the end of its body: the longest at 1 Mbit/s. Without a byte the
// connection gives up sooner.
inline constexpr Duration kNodeBodyDeadline = 2min;
// Bodies of requests, of all together.
inline constexpr std::size_t kNodeBodiesBytesMax = 48_MiB;
inline constexpr std::size_t kNodeSessionsMax = 20'000;
// Of clients; held polls of a fleet of bridges are some hundreds.
inline constexpr std::size_t kNodeConnectionsMax = 4096;
inline constexpr std::size_t kNodeUdpQueueDatagramsMax = 256;  // of one session; the oldest goes
inline constexpr std::size_t kNodeUdpQueueBytesMax = 1_MiB;
inline constexpr unsigned kNodeUdpErrorsMax = 3;  // in a row, until a UDP session is over
// Answers that may be asked for once more, of one session.
inline constexpr std::size_t kNodeAnswersMax = 256;
inline constexpr Duration kNodeReplayWindow = 60s;
inline constexpr std::size_t kNodeReplayBytesMax = 16_MiB;  // of one session
// Polls ahead of one that does not come: after so long it is taken for lost.
inline constexpr Duration kNodeMissingPoll = 30s;
// Clients give a plain connect 10 s, and the bridge before us takes up to 3 s of them.
inline constexpr Duration kNodeConnectDeadline = 8s;
inline constexpr Duration kNodeConnectStagger = 250ms;  // RFC 8305 §8
// After this a connect that others in its batch wait for is answered as if it were done.
inline constexpr Duration kNodeConnectGrace = 1s;
inline constexpr Duration kNodeActiveWait = 350ms;
inline constexpr Duration kNodeSettleStep = 10ms;
inline constexpr Duration kNodeSettleMax = 1s;
inline constexpr Duration kNodeLongPoll = 4s;
// Faster empty answers look to clients like a node without long polls (at 1.5 s).
inline constexpr Duration kNodeLongPollMin = 1600ms;
inline constexpr Duration kNodeSingleWait = 5s;
inline constexpr Duration kNodeSingleQuiet = 100ms;
inline constexpr Duration kNodeDuplicateWait = 12s;  // for the answer to the first of two alike
inline constexpr Duration kNodeTcpIdle = 5min;
inline constexpr Duration kNodeUdpIdle = 2min;
inline constexpr Duration kNodeReaperPeriod = 30s;
inline constexpr Duration kNodeDrainDeadline = 5s;
// Decoded in one turn, before others run.
inline constexpr std::size_t kNodeTurnBytesMax = 1_MiB;
static_assert(kNodeLongPollMin < kNodeLongPoll);
static_assert(kNodeUploadBytesSoft < kNodeUploadBytesMax);
static_assert(kNodeReplyBytesMax / 3 * 4 < 45_MiB, "what a bridge passes on");

}  // namespace adit::limits
