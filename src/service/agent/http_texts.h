// What an HTTP service's visitors and its local service are told in words: the head of a request as
// it is forwarded, and the pages of those that came to nothing. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/address.h"
#include "proto/http/fields.h"

namespace adit::service {

// The host of an authority, without its port and the root's dot; IPv6 keeps its brackets.
std::string_view host_of(std::string_view authority);

// Whether the client asks to leave HTTP (RFC 9110 §7.8) for something that may pass: not for
// another HTTP.
bool asks_for_upgrade(const http::RequestHead& request);

// The request's head toward the local service. Fields for one connection stay behind; Host is the
// visitor's. Forwarded (RFC 7239) and X-Forwarded-For, -Proto and -Host say who asks and for what.
// What the visitor wrote into such fields is dropped: the agent is the first that the service may
// believe, and many a service reads the leftmost address, which would be the visitor's own word.
// The framing of the body: Content-Length where its length is known, else chunked.
std::string forwarded_head(const http::RequestHead& request, const IpAddress& visitor,
                           bool upgrade);

// Where a request got stuck, in words for whoever sees the page.
struct HttpTrouble {
  int status = 502;
  std::string_view what;  // "refused the connection": what the local service did
};

struct HttpPage {
  http::ResponseHead head;
  std::string body;
};

// A page that says which leg failed, with the id that `adit explain` takes: HTML for whoever
// accepts it, else plain text. It does not say where the local service is.
HttpPage trouble_page(const http::RequestHead& request, const HttpTrouble& trouble,
                      std::string_view visitor_id);
// 421 (RFC 9110 §15.5.20): the name is none of this service's.
HttpPage misdirected_page(std::string_view visitor_id);

}  // namespace adit::service
