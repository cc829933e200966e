#include "flow/carrier.h"

#include "flow/h2_link.h"

namespace adit::flow {

std::unique_ptr<H2Link> Carrier::release_connection() { return nullptr; }

bool Carrier::add_connection(std::unique_ptr<H2Link>) { return false; }

}  // namespace adit::flow
