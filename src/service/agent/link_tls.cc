#include "service/agent/link_tls.h"

#include <utility>

#include "flow/h2_link.h"

namespace adit::service {

AgentTls::AgentTls(std::string certificate_pem, std::string key_pem, std::string roots_pem_file)
    : certificate_pem_(std::move(certificate_pem)),
      key_pem_(std::move(key_pem)),
      roots_pem_file_(std::move(roots_pem_file)) {}

Result<const crypto::TlsContext*> AgentTls::get(LinkCarrier carrier, bool web_pki) {
  const bool h2 = carrier != LinkCarrier::Quic;
  auto& slot = contexts_[(h2 ? 2u : 0u) + (web_pki ? 1u : 0u)];
  if (!slot) {
    crypto::ClientTls tls;
    tls.certificate_chain_pem = certificate_pem_;
    tls.private_key_pem = key_pem_;
    tls.alpn = {h2 ? std::string(flow::kH2LinkAlpn) : std::string("adit/1")};
    tls.tls13_only = true;
    tls.verify = web_pki ? crypto::Verify::WebPki : crypto::Verify::Callback;
    if (web_pki) tls.roots_pem_file = roots_pem_file_;
    auto made = crypto::TlsContext::client(tls);
    if (!made) return std::move(made).error();
    slot.emplace(std::move(*made));
  }
  return &*slot;
}

Result<const crypto::TlsContext*> AgentTls::https() {
  if (!https_) {
    crypto::ClientTls tls;
    tls.alpn = {"http/1.1"};
    tls.verify = crypto::Verify::Callback;
    auto made = crypto::TlsContext::client(tls);
    if (!made) return std::move(made).error();
    https_.emplace(std::move(*made));
  }
  return &*https_;
}

}  // namespace adit::service
