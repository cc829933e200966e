// What the proof in a JOIN covers, as both ends compute it.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "flow/carrier.h"
#include "proto/link/messages.h"

namespace adit::service {

// `connection` wants to join the pool of `link`. The exports of both (RFC 8446 §7.5): neither on
// another connection nor for another link of the session is the proof worth anything. Errors: the
// carriers'.
inline Result<ByteVector> join_export(const flow::Carrier& connection, const flow::Carrier& link) {
  auto out = connection.export_keying_material(link::kJoinLabel, link::kResumeExportBytes);
  if (!out) return out;
  const auto of_link = link.export_keying_material(link::kJoinLabel, link::kResumeExportBytes);
  if (!of_link) return of_link.error();
  out->insert(out->end(), of_link->begin(), of_link->end());
  return out;
}

}  // namespace adit::service
