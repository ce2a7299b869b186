// The same as of v4.
#pragma once

#include "isa/keys/v4.hpp"
