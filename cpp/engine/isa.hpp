// Which instruction set serves this process: the best one the processor has, or the one that
// PAIRTILE_ISA names.
#pragma once

#include <string>
#include <vector>

#include "isa/ops.hpp"

namespace pairtile {

// Every compiled instruction set that this processor can run, best last.
std::vector<const IsaOps*> supported_isas();

// Called once, at import: throws std::runtime_error when `forced` cannot be served.
void choose_isa(const std::string& forced);

const IsaOps& isa();

}  // namespace pairtile
