// What an instruction set adds to another and is otherwise the same as, named by PAIRTILE_ISA:
// products of bytes or of bfloat16, counts of bits. engine/isa.cpp makes its table of the other's.
// clang-format off
#define PT_QUOTED(path) #path
#define PT_PASTE(folder, name) PT_QUOTED(folder/name.hpp)
#define PT_ISA_HEADER(name) PT_PASTE(isa, name)
// clang-format on
#include PT_ISA_HEADER(PAIRTILE_ISA)
#include "isa/columns.hpp"

#include "isa/tile/micro.hpp"
#include "isa/tile/pack_panel.hpp"
#include "isa/tile/tile.hpp"
#include "isa/tile/whole.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

void add_to(IsaOps& ops);
void add_to(IsaOps& ops) {
    ops.name = isa_name;
    ops.f32.core[static_cast<int>(Core::dot_int8)] = core_tile_whole<Bytes>;
    ops.f32.pack_int8_float32 = pack_whole<int8_t, float>;
    ops.f32.pack_int8_float64 = pack_whole<int8_t, double>;
#ifdef PT_HAS_BFLOAT16
    ops.f32.core[static_cast<int>(Core::dot_bfloat16)] = core_tile<Core::dot_bfloat16, float>;
    ops.f32.pack_bfloat16_float32 = pack_bfloat16<float, float>;
    ops.f32.pack_bfloat16_float64 = pack_bfloat16<double, float>;
#endif
#ifdef PT_COUNTS_BITS
    ops.f32.core[static_cast<int>(Core::differing_bits)] = core_tile<Core::differing_bits, float>;
#define PT_METRIC(name, type) \
    ops.canonical.bits[static_cast<int>(MetricId::name)] = canonical_bits<type>;
    PAIRTILE_BIT_METRICS(PT_METRIC)
#undef PT_METRIC
#endif
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
