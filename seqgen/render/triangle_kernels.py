"""Warp kernels that draw triangles: who is nearest at the centres of pixels, and at the samples of those that need them (`edge_kernels.py` says which).

In C++, which Warp passes on as it is: its own loops reckon with any stride at every access, and are not vectorised. A thread has a piece of the list of faces, one
on a GPU. Backs and what lies beside the picture are sorted out first, without a branch; then the rest is drawn.
"""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import SUBPIXELS, ScreenVertex

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_REACH = wp.constant(SUBPIXELS // 2)  # of a pixel's samples from its centre, at most

# C++ of a loop over the faces from `first` to before `last` whose fronts may cover places within `reach` (1/4096 px) of pixels' centres, with what drawing needs:
# corners a, b, c; twice the area; first and last column and row; and of the corners what is linear on the picture and grows with depth, -1/z, or z itself in weak
# perspective, over the area. Pasted before and after what is done with a face.
_FRONTS = """
    struct Span { int low, high; };
    const auto* on_screen = screen.data + ((size_t)moment * screen.shape[1] + frame) * screen.shape[2];
    const int width = keys.shape[2], height = keys.shape[1];
    auto span_of = [&](int p, int q, int r, int size) {
        const int low = wp::min(p, wp::min(q, r)) - reach, high = wp::max(p, wp::max(q, r)) + reach;
        return Span{wp::max((low + 4095) >> 12, 0), wp::min(high >> 12, size - 1)};
    };
    auto twice_area = [](const auto& p, const auto& q, int x, int y) { return (long long)(q.x - x) * (p.y - y) - (long long)(q.y - y) * (p.x - x); };
    const int room = 256;
    int front[room];
    for (int begin = first; begin < last; begin += room) {
        int fronts = 0;
        for (int face = begin; face < wp::min(begin + room, last); ++face) {
            const auto& corner = faces.data[face];
            const auto &a = on_screen[corner.c[0]], &b = on_screen[corner.c[1]], &c = on_screen[corner.c[2]];
            const Span columns = span_of(a.x, b.x, c.x, width), rows = span_of(a.y, b.y, c.y, height);
            front[fronts] = face;
            fronts += (a.weight != 0.0f) & (b.weight != 0.0f) & (c.weight != 0.0f) & (columns.low <= columns.high) & (rows.low <= rows.high)
                & (twice_area(b, c, a.x, a.y) > 0);
        }
        for (int k = 0; k < fronts; ++k) {
            const int face = front[k];
            const auto& corner = faces.data[face];
            const auto &a = on_screen[corner.c[0]], &b = on_screen[corner.c[1]], &c = on_screen[corner.c[2]];
            const Span columns = span_of(a.x, b.x, c.x, width), rows = span_of(a.y, b.y, c.y, height);
            const long long area = twice_area(b, c, a.x, a.y);
            const float over = (float)area;
            const float rank_a = (perspective ? -a.weight : a.depth) / over, rank_b = (perspective ? -b.weight : b.depth) / over;
            const float rank_c = (perspective ? -c.weight : c.depth) / over;
            const int extent = wp::max(wp::max(a.x, wp::max(b.x, c.x)) - wp::min(a.x, wp::min(b.x, c.x)), wp::max(a.y, wp::max(b.y, c.y)) - wp::min(a.y, wp::min(b.y, c.y)));
"""
_FRONTS_END = """
        }
    }
"""

# C++ of `lower(keys, at_a, at_b, most)`: of `lanes` keys beside each other lowers those, `most` at most, whose places the triangle covers, by the edge functions
# there. On a GPU one at a time; on a CPU all in a vector, which may run beyond the row, even beyond the last: what is there stays as it is.
# A key orders by depth, then by face: the bits of a positive float order like an integer, those of a negative one the other way round.
_LOWER = """
#if defined(__CUDA_ARCH__)
                const int lanes = 1;
                typedef wrapping numbers;
                auto put = [](numbers& all, int, wrapping value) { all = value; };
                auto lower = [&](KEY* keys, wrapping edge_a, wrapping edge_b, int most) {
                    const number at_a = (number)edge_a, at_b = (number)edge_b, at_c = (number)((wrapping)area - edge_a - edge_b);
                    if ((at_a | at_b | at_c) < 0)
                        return;
                    const unsigned int bits = __float_as_uint((float)at_a * rank_a + (float)at_b * rank_b + (float)at_c * rank_c);
                    atomicMin(keys, (KEY)(bits ^ ((unsigned int)((int)bits >> 31) | 0x80000000u)) << ABOVE_FACE | BELOW_RANK);
                };
#else
                const int lanes = LANES;
                typedef wrapping numbers __attribute__((ext_vector_type(LANES)));
                typedef number signed_numbers __attribute__((ext_vector_type(LANES)));
                typedef float floats __attribute__((ext_vector_type(LANES)));
                typedef unsigned int words __attribute__((ext_vector_type(LANES)));
                typedef int signed_words __attribute__((ext_vector_type(LANES)));
                typedef KEY keys_type __attribute__((ext_vector_type(LANES)));
                auto put = [](numbers& all, int lane, wrapping value) { all[lane] = value; };
                signed_words counted;
                for (int lane = 0; lane < lanes; ++lane)
                    counted[lane] = lane;
                auto lower = [&](KEY* keys, numbers edge_a, numbers edge_b, int most) {
                    const signed_numbers at_a = (signed_numbers)edge_a, at_b = (signed_numbers)edge_b, at_c = (signed_numbers)((wrapping)area - edge_a - edge_b);
                    const floats rank = __builtin_convertvector(at_a, floats) * rank_a + __builtin_convertvector(at_b, floats) * rank_b
                        + __builtin_convertvector(at_c, floats) * rank_c;
                    const words bits = (words)rank;
                    const signed_words outside = __builtin_convertvector((at_a | at_b | at_c) < 0, signed_words) | (counted >= most);
                    const words order = bits ^ ((words)((signed_words)bits >> 31) | 0x80000000u);
                    keys_type old, found = (__builtin_convertvector(order, keys_type) << ABOVE_FACE | BELOW_RANK) | __builtin_convertvector(outside, keys_type);
                    memcpy(&old, keys, sizeof old);
                    old = found < old ? found : old;
                    memcpy(keys, &old, sizeof old);
                };
#endif
"""

# Edge functions step along rows exactly. Those of a triangle of less than six pixels fit into 32 bits wherever they are looked at; beyond, they may wrap around.
_COVER = (
    _FRONTS
    + """
            auto draw = [&](auto whole) {
                typedef decltype(whole) number;
                typedef decltype(whole + 0u) wrapping;
"""
    + _LOWER.replace("LANES", "8")
    + """
                const wrapping right_a = (wrapping)(number)(c.y - b.y) << 12, right_b = (wrapping)(number)(a.y - c.y) << 12;
                numbers across_a, across_b;
                for (int lane = 0; lane < lanes; ++lane) {
                    put(across_a, lane, lane * right_a);
                    put(across_b, lane, lane * right_b);
                }
                for (int row = rows.low; row <= rows.high; ++row) {
                    wrapping edge_a = (wrapping)twice_area(b, c, columns.low << 12, row << 12), edge_b = (wrapping)twice_area(c, a, columns.low << 12, row << 12);
                    KEY* keys_of_row = (KEY*)keys.data + ((size_t)slot * height + row) * width;
                    for (int column = columns.low; column <= columns.high; column += lanes, edge_a += lanes * right_a, edge_b += lanes * right_b)
                        lower(keys_of_row + column, edge_a + across_a, edge_b + across_b, columns.high - column + 1);
                }
            };
            if (extent < 6 << 12)
                draw(0);
            else
                draw(0ll);
"""
    + _FRONTS_END
)

# The same at samples: how far their edge functions are from those of their pixel's centre is worked out when the first pixel of a triangle asks for it.
_COVER_SAMPLES = (
    _FRONTS
    + """
            auto draw = [&](auto whole) {
                typedef decltype(whole) number;
                typedef decltype(whole + 0u) wrapping;
"""
    + _LOWER.replace("LANES", "4")
    + """
                const int samples = to_sample - from_sample, groups = (samples + lanes - 1) / lanes;
                numbers beside_a[9], beside_b[9];
                bool known = false;
                auto visit = [&](int row, int column) {
                    for (int i = 0; i < groups * lanes && !known; ++i) {
                        const wrapping x = (number)offsets.data[from_sample + i % samples].c[0], y = (number)offsets.data[from_sample + i % samples].c[1];
                        put(beside_a[i / lanes], i % lanes, x * (c.y - b.y) + y * (b.x - c.x));
                        put(beside_b[i / lanes], i % lanes, x * (a.y - c.y) + y * (c.x - a.x));
                    }
                    known = true;
                    const wrapping centre_a = (wrapping)twice_area(b, c, column << 12, row << 12), centre_b = (wrapping)twice_area(c, a, column << 12, row << 12);
                    KEY* keys_of_pixel = (KEY*)keys.data + (((size_t)slot * height + row) * width + column) * keys.shape[3] + from_sample;
                    for (int i = 0; i < groups; ++i)
                        lower(keys_of_pixel + i * lanes, centre_a + beside_a[i], centre_b + beside_b[i], samples - i * lanes);
                };
                for (int row = rows.low; row <= rows.high; ++row) {
                    const unsigned char* wanted = (const unsigned char*)several.data + ((size_t)slot * height + row) * width;
#if defined(__CUDA_ARCH__)
                    for (int column = columns.low; column <= columns.high; ++column)
                        if (wanted[column])
                            visit(row, column);
#else
                    for (int column = columns.low; column <= columns.high; column += 8) {  // eight marks at a time, each 0 or 1
                        unsigned long long marks;
                        memcpy(&marks, wanted + column, 8);
                        if (columns.high - column < 7)
                            marks &= ~0ull >> 8 * (7 - (columns.high - column));
                        for (; marks; marks &= marks - 1)
                            visit(row, column + (__builtin_ctzll(marks) >> 3));
                    }
#endif
                }
            };
            if (extent < 6 << 12)
                draw(0);
            else
                draw(0ll);
"""
    + _FRONTS_END
)


def _with_faces(snippet: str) -> str:
    """A snippet whose keys say which face is nearest."""
    return snippet.replace("ABOVE_FACE", "32").replace("BELOW_RANK", "(unsigned int)face").replace("KEY", "unsigned long long")


@no_type_check
@wp.func_native(_with_faces(_COVER))
def cover(
    screen: wp.array3d(dtype=ScreenVertex),
    moment: wp.int32,
    faces: wp.array(dtype=wp.vec3i),
    perspective: wp.bool,
    reach: wp.int32,
    frame: wp.int32,
    slot: wp.int32,
    first: wp.int32,
    last: wp.int32,
    keys: wp.array3d(dtype=wp.uint64),
):
    """Lowers the keys of the pixels whose centres the faces from `first` to before `last` cover. Edges count as covered."""


@no_type_check
@wp.func_native(_COVER.replace("ABOVE_FACE", "0").replace("BELOW_RANK", "0u").replace("KEY", "unsigned int"))
def cover_map(
    screen: wp.array3d(dtype=ScreenVertex),
    moment: wp.int32,
    faces: wp.array(dtype=wp.vec3i),
    perspective: wp.bool,
    reach: wp.int32,
    frame: wp.int32,
    slot: wp.int32,
    first: wp.int32,
    last: wp.int32,
    keys: wp.array3d(dtype=wp.uint32),
):
    """The same where nobody asks which face it was: the upper halves of the keys."""


@no_type_check
@wp.kernel
def rasterise(
    screen: wp.array3d(dtype=ScreenVertex), faces: wp.array(dtype=wp.vec3i), perspective: wp.bool, keys: wp.array3d(dtype=wp.uint64), piece: wp.int32
):
    """One thread `piece` faces: the centre of every pixel keeps the least key that covers it."""
    frame, i = wp.tid()
    cover(screen, 0, faces, perspective, 0, frame, frame, i * piece, wp.min((i + 1) * piece, faces.shape[0]), keys)


@no_type_check
@wp.kernel
def rasterise_map(screen: wp.array3d(dtype=ScreenVertex), faces: wp.array(dtype=wp.vec3i), keys: wp.array3d(dtype=wp.uint32), piece: wp.int32):
    """One thread `piece` faces: how far the nearest is from the light."""
    frame, i = wp.tid()
    cover_map(screen, 0, faces, False, 0, frame, frame, i * piece, wp.min((i + 1) * piece, faces.shape[0]), keys)


@no_type_check
@wp.func_native(_with_faces(_COVER_SAMPLES))
def cover_samples(
    screen: wp.array3d(dtype=ScreenVertex),
    moment: wp.int32,
    faces: wp.array(dtype=wp.vec3i),
    perspective: wp.bool,
    reach: wp.int32,
    frame: wp.int32,
    slot: wp.int32,
    first: wp.int32,
    last: wp.int32,
    offsets: wp.array(dtype=wp.vec2i),
    from_sample: wp.int32,
    to_sample: wp.int32,
    several: wp.array3d(dtype=wp.uint8),
    keys: wp.array4d(dtype=wp.uint64),
):
    """Lowers the keys of the samples that faces cover, in the pixels that need them."""


@no_type_check
@wp.kernel
def rasterise_samples(
    screen: wp.array3d(dtype=ScreenVertex),
    moment: wp.int32,
    faces: wp.array(dtype=wp.vec3i),
    perspective: wp.bool,
    offsets: wp.array(dtype=wp.vec2i),
    first: wp.int32,
    last: wp.int32,
    several: wp.array3d(dtype=wp.uint8),
    keys: wp.array4d(dtype=wp.uint64),
    piece: wp.int32,
):
    """One thread `piece` faces: samples `first` to `last` - 1 of the pixels that need several, at `offsets` (1/4096 px) from their centres."""
    frame, i = wp.tid()
    end = wp.min((i + 1) * piece, faces.shape[0])
    cover_samples(screen, moment, faces, perspective, _REACH, frame, frame, i * piece, end, offsets, first, last, several, keys)
