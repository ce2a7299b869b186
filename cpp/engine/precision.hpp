// What a call asks of its arithmetic: `precision=` of the public functions.
#pragma once

namespace pairtile {

enum class Precision { standard, float64, fast };

}  // namespace pairtile
