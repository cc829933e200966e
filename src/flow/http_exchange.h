// One HTTP request and its response, as a server's owner sees them, whichever version carries them.
// Bytes are taken from where they lie and written from where they lie, as with Duplex; what is not
// read is not received, what cannot be written is not taken.
#pragma once

#include <cstddef>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"
#include "flow/duplex.h"
#include "proto/http/fields.h"

namespace adit::flow {

// Called from the loop, never from inside a call into the exchange. The listener may destroy the
// exchange.
class HttpExchangeListener {
 public:
  virtual void on_body() = 0;      // new bytes of the request's body, or its end
  virtual void on_writable() = 0;  // after a write that was cut short: there is room again
  // The client is gone, has broken the protocol or has stalled: nothing more can be read or written
  // (calls do nothing). Said once. A client that ends its direction while it waits for a response
  // counts as gone, as with most servers, so that work for nobody stops.
  virtual void on_gone(const Error& error) = 0;

 protected:
  ~HttpExchangeListener() = default;
};

class HttpExchange {
 public:
  // After finish() nothing happens, and the rest of the request is not waited for. Before, the
  // client sees the response cut: a reset or a connection that breaks, never an end.
  virtual ~HttpExchange() = default;

  const http::RequestHead& request() const { return request_; }
  // May be set later than the exchange is given; what is readable then is not announced again.
  void set_listener(HttpExchangeListener* listener) { listener_ = listener; }

  // --- the request's body; looking for it answers Expect: 100-continue ---
  // The next run; valid until consume() or the next turn. Empty: none now, or the end.
  virtual Bytes readable() = 0;
  virtual void consume(std::size_t n) = 0;
  virtual bool at_end() = 0;  // the whole body is consumed

  // --- the response ---
  // 1xx but 101, any number of times.
  virtual void inform(const http::ResponseHead& head) = 0;
  // Once, with a final status. With a `length` exactly as many bytes are to be written.
  virtual void respond(const http::ResponseHead& head) = 0;
  // Takes what there is room for and says how much; fewer than given: on_writable follows. What
  // has no place in the response (to HEAD; beyond its length) is taken and dropped.
  virtual std::size_t write(Bytes bytes) = 0;
  // Ends the response behind what was written; where its length was more, it is cut instead.
  virtual void finish() = 0;
  virtual void abort() = 0;  // as destroying it before finish()

  // Instead of respond(): the protocol changes (101, or 2xx for CONNECT; fields as they are to be,
  // `connection` is added to 101). What the client sends next is read from the result, which is the
  // connection's own stream. Null where the version or the state of the connection has no such
  // thing: then respond() otherwise.
  virtual std::unique_ptr<Duplex> switch_protocol(const http::ResponseHead& head) = 0;

 protected:
  explicit HttpExchange(http::RequestHead request) : request_(std::move(request)) {}

  const http::RequestHead request_;
  HttpExchangeListener* listener_ = nullptr;
};

// Whoever has an HTTP connection served. Called from the loop.
class HttpHandler {
 public:
  virtual void on_request(std::unique_ptr<HttpExchange> exchange) = 0;
  // No request follows; the connection may be destroyed in it. Exchanges that are not over were
  // told so (on_gone).
  virtual void on_connection_over() = 0;

 protected:
  ~HttpHandler() = default;
};

}  // namespace adit::flow
