#include "engine/isa.hpp"

#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pairtile {

#if defined(__x86_64__)
namespace v2 {
extern const IsaOps isa_ops;
}
namespace v3 {
extern const IsaOps isa_ops;
}
namespace v4 {
extern const IsaOps isa_ops;
}
namespace v3_vnni {
void add_to(IsaOps& ops);
}
namespace v4_vnni {
void add_to(IsaOps& ops);
}
namespace v4_bf16 {
void add_to(IsaOps& ops);
}
#elif defined(__aarch64__)
namespace neon {
extern const IsaOps isa_ops;
}
#endif

namespace {

const IsaOps* chosen = nullptr;

#if defined(__x86_64__)
IsaOps with(IsaOps ops, void (*add_to)(IsaOps&)) {
    add_to(ops);
    return ops;
}

// AVX-VNNI, for which __builtin_cpu_supports has no name that all compilers know; its registers are
// those of AVX2.
bool has_avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1u);
}
#endif

}  // namespace

std::vector<const IsaOps*> supported_isas() {
    std::vector<const IsaOps*> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool has_v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    const bool has_v3 = has_v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (has_v2) found.push_back(&v2::isa_ops);
    if (has_v3) found.push_back(&v3::isa_ops);
    if (has_v3 && has_avx_vnni()) {
        static const IsaOps v3_vnni = with(v3::isa_ops, v3_vnni::add_to);
        found.push_back(&v3_vnni);
    }
    if (has_v4) found.push_back(&v4::isa_ops);
    if (has_v4 && __builtin_cpu_supports("avx512vnni")) {
        static const IsaOps v4_vnni = with(v4::isa_ops, v4_vnni::add_to);
        found.push_back(&v4_vnni);
        if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vpopcntdq")) {
            static const IsaOps v4_bf16 = with(v4::isa_ops, [](IsaOps& ops) {
                v4_bf16::add_to(ops);
                ops.bfloat16_pays = __builtin_cpu_is("amd");
            });
            found.push_back(&v4_bf16);
        }
    }
#elif defined(__aarch64__)
    found.push_back(&neon::isa_ops);
#endif
    return found;
}

void choose_isa(const std::string& forced) {
    const auto found = supported_isas();
    if (found.empty()) throw std::runtime_error("this processor is older than x86-64-v2");
    if (forced.empty()) {
        chosen = found.back();
        return;
    }
    std::string known;
    for (const IsaOps* one : found) {
        if (forced == one->name) {
            chosen = one;
            return;
        }
        known += known.empty() ? one->name : std::string(", ") + one->name;
    }
    throw std::runtime_error("PAIRTILE_ISA='" + forced +
                             "' is not available here; this processor has: " + known);
}

const IsaOps& isa() { return *chosen; }

}  // namespace pairtile
