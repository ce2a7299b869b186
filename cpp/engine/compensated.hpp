// A sum with its rounding errors carried along.
#pragma once

namespace pairtile {

// As good as twice the precision.
class Compensated {
  public:
    void add(double x) {
        const double next = sum_ + x, added = next - sum_;
        lost_ += (sum_ - (next - added)) + (x - added);
        sum_ = next;
    }
    double value() const { return sum_ + lost_; }

  private:
    double sum_ = 0.0, lost_ = 0.0;
};

}  // namespace pairtile
