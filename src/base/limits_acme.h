// Bounds of certificates by ACME, beside limits.h: only their own code has to know them.
#pragma once

#include "base/limits.h"

namespace adit::limits {

// Of an answer; sizes of chunks included.
inline constexpr std::size_t kHttpAnswerHeadBytesMax = 32_KiB;
inline constexpr std::size_t kHttpBodyBytesMax = 1_MiB;    // a chain is some 4 to 8 KiB
inline constexpr Duration kHttpDeadline = 30s;             // one request, from look-up to answer
inline constexpr std::size_t kAcmeNamesMax = 100;          // of one certificate: Let's Encrypt's
inline constexpr std::size_t kAcmeUrlsMax = 200;           // authorizations of an order
inline constexpr unsigned kAcmeNonceRetriesMax = 10;       // of one request
inline constexpr unsigned kAcmeTransportRetriesMax = 2;    // of one request
inline constexpr Duration kAcmeAttemptMax = 15min;         // one order, from directory to chain
inline constexpr unsigned kAcmePollsMax = 200;             // of one order
inline constexpr Duration kAcmePollDelayMax = 15s;         // where the CA says nothing
inline constexpr Duration kAcmeRetryUnreachableMax = 10min;  // doubling from 30 s
inline constexpr Duration kAcmeRetryRefusedMax = 6h;       // times four from 1 min
inline constexpr Duration kAcmeRateLimitDefault = 1h;      // where the CA gives no time
inline constexpr Duration kAcmeHookDeadline = 2min;        // one run of the DNS program
inline constexpr Duration kAcmeChallengeDeadline = 10s;    // a validator's whole visit
inline constexpr std::size_t kAcmeChallengeVisitsMax = 64; // at a time, per thread

static_assert(kHttpDeadline * 2 < kAcmeAttemptMax, "an order outlives a server that is slow once");

}  // namespace adit::limits
