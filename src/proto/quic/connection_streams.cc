// The part of a connection's public face that is about streams and datagrams.
#include <ngtcp2/ngtcp2.h>

#include <cerrno>

#include "proto/quic/connection.h"
#include "proto/quic/impl.h"

namespace adit::quic {

Result<QuicStream> Connection::open_stream() {
  if (impl_->phase != Phase::Open) return Error{ENOTCONN, "the connection is closed"};
  QuicStream id = -1;
  const int rv = ngtcp2_conn_open_bidi_stream(impl_->conn.get(), &id, nullptr);
  if (rv == NGTCP2_ERR_STREAM_ID_BLOCKED)
    return Error{EAGAIN, "the peer allows no more streams now"};
  if (rv != 0) return Error{ENOMEM, ngtcp2_strerror(rv)};
  impl_->streams.add(id);
  return id;
}

void Connection::attach(QuicStream id, StreamSource* source) {
  Stream* s = impl_->streams.find(id);
  if (s == nullptr || s->closed || impl_->phase != Phase::Open) return;
  CHECK(source != nullptr);
  CHECK(s->source == nullptr);
  s->source = source;
  impl_->streams.make_ready(*s);
}

void Connection::detach(QuicStream id) {
  Stream* s = impl_->streams.find(id);
  if (s == nullptr || s->source == nullptr) return;
  s->unlink();
  s->source = nullptr;
  // The library holds pointers into what is not acknowledged; a reset makes it drop them.
  if (s->sent > s->acked && !s->write_shut && !s->closed) reset(id, 0);
}

void Connection::wake(QuicStream id) {
  if (Stream* s = impl_->streams.find(id)) impl_->streams.make_ready(*s);
}

Bytes Connection::readable(QuicStream id) const {
  const Stream* s = impl_->streams.find(id);
  return s == nullptr ? Bytes{} : s->received.peek(s->received.begin());
}

void Connection::consume(QuicStream id, std::size_t n) {
  if (n == 0) return;
  Stream* s = impl_->streams.find(id);
  CHECK(s != nullptr);
  CHECK(n <= s->received.size());
  s->received.release(s->received.begin() + n);
  if (s->received.empty()) impl_->streams.emptied(*s);
  if (impl_->phase != Phase::Open) return;
  ngtcp2_conn_extend_max_offset(impl_->conn.get(), n);
  // Fails only where memory does; the credit then goes out with the next one.
  (void)ngtcp2_conn_extend_max_stream_offset(impl_->conn.get(), id, n);
}

bool Connection::at_end(QuicStream id) const {
  const Stream* s = impl_->streams.find(id);
  return s != nullptr && s->finished && !s->reset_by_peer && !s->discarding && s->received.empty();
}

void Connection::reset(QuicStream id, std::uint64_t code) {
  Stream* s = impl_->streams.find(id);
  if (s == nullptr || s->closed || impl_->phase != Phase::Open) return;
  s->write_shut = true;
  s->unlink();
  (void)ngtcp2_conn_shutdown_stream_write(impl_->conn.get(), 0, id, code);
}

void Connection::stop_sending(QuicStream id, std::uint64_t code) {
  Stream* s = impl_->streams.find(id);
  if (s == nullptr || impl_->phase != Phase::Open) return;
  s->discarding = true;
  impl_->drop_received(*s);
  ngtcp2_conn_extend_max_offset(impl_->conn.get(), std::exchange(impl_->credit_due, 0));
  if (!s->closed) (void)ngtcp2_conn_shutdown_stream_read(impl_->conn.get(), 0, id, code);
}

std::size_t Connection::datagram_bytes_max() const { return impl_->datagram_bytes_max(); }

std::size_t Connection::datagrams_waiting() const { return impl_->datagrams.size(); }

Status Connection::send_datagram(Bytes payload) {
  if (impl_->phase != Phase::Open) return Error{ENOTCONN, "the connection is closed"};
  if (payload.size() > impl_->datagram_bytes_max()) return Error{EMSGSIZE, "datagram too long"};
  if (impl_->datagrams.size() >= kDatagramQueueMax) return Error{EAGAIN, "datagram queue full"};
  impl_->datagrams.emplace_back(payload.begin(), payload.end());
  return {};
}

}  // namespace adit::quic
