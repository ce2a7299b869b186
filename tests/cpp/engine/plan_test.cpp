// What a search weighs: how much a coarse screen leaves undecided against what it saves.
#include "engine/plan.hpp"

#include "check.hpp"
#include "engine/isa.hpp"
#include "engine/screen.hpp"

namespace {

using namespace check;
using namespace pairtile;

constexpr int64_t d = 64;
const auto ignore = [](int64_t, int64_t) {};

template <class Body>
void for_each_isa(Body body) {
    for (const IsaOps* one : supported_isas()) {
        choose_isa(one->name);
        body(std::string(one->name));
    }
}

class Sets {
  public:
    ScreenPlan plan(int64_t k, std::optional<double> limit = {}) const {
        const Source queries = source(queries_), references = source(references_);
        const Metric metric(MetricId::sqeuclidean, {});
        Question question{queries, references, metric, k};
        question.limit = limit;
        Control control(ignore);
        return choose_screen(question, control).plan;
    }

  private:
    static Source source(const std::vector<float>& values) {
        return Source(Array{reinterpret_cast<const char*>(values.data()),
                            static_cast<int64_t>(values.size()) / d, d, 4 * d, 4, Dtype::float32,
                            false});
    }
    Random random_{0};
    std::vector<float> queries_ = normals<float>(random_, 1500 * d),
                       references_ = normals<float>(random_, 4000 * d);
};

// Squared distances are 128 ± 23: those that are off by an eighth leave a limit of 128 too many.
TEST(a_limit_among_many_distances_is_not_screened_coarsely) {
    const Sets sets;
    for_each_isa([&](const std::string& isa_name) {
        const ScreenPlan far = sets.plan(60, 20.0), amid = sets.plan(60, 128.0);
        CHECK(amid.packing >= Packing::int16, isa_name, name_of(amid.packing));
        CHECK(amid.packing != Packing::bfloat16, isa_name);
        CHECK(far.packing <= amid.packing, isa_name, name_of(far.packing));
        if (isa().f32.pack_int8_float64) CHECK(far.packing == Packing::int8, isa_name);
        CHECK(far.cost <= amid.cost, isa_name);
        CHECK(far.unsettled == 0 && amid.unsettled == 0, isa_name);
    });
}

TEST(bytes_are_for_few_neighbours) {
    const Sets sets;
    for_each_isa([&](const std::string& isa_name) {
        if (!isa().f32.pack_int8_float64) return;
        CHECK(sets.plan(1).packing == Packing::int8, isa_name, name_of(sets.plan(1).packing));
        CHECK(sets.plan(1000).packing != Packing::int8, isa_name);
    });
}

}  // namespace
