// A sum with its rounding errors carried along.
#pragma once

#include <cmath>

namespace pairtile {

// As good as twice the precision.
class Compensated {
  public:
    void add(double x) {
        const double next = sum_ + x;
        lost_ += std::fabs(sum_) >= std::fabs(x) ? (sum_ - next) + x : (x - next) + sum_;
        sum_ = next;
    }
    double value() const { return sum_ + lost_; }

  private:
    double sum_ = 0.0, lost_ = 0.0;
};

}  // namespace pairtile
