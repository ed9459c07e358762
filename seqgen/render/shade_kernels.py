"""Light that leaves a surface, as C++ for Warp's kernels: materials, bumps, soft light, key light with its shadow, gloss. `shading.py` is its slow twin.

Only additions, multiplications, divisions and square roots, and tables instead of the C library's `pow`: the same bits on any CPU.
"""

# C++ of `light_points(count)`: into `lit[i]` the linear light that leaves points 0 to count - 1 towards the camera; they lie on faces `face[i]`, where the corners
# have shares `share[i]`. Its names are the arguments' of the function that it is pasted into, in which `room` is the length of all lists.
#
# First what lies scattered in memory, point after point, four numbers at a time (`look`); then, without a branch, the arithmetic of many points side by side.
LIGHT = """
    const float* points = (const float*)surface.points.data + 16 * (size_t)frame * surface.points.shape[1];
    const int lights = light.directions.shape[1], side = light.shadow_keys.shape[1];
    enum { LIT, COLOUR, PLACE, NORMAL, EDGE_1, EDGE_2, TEXEL, KINDS };
    float of_point[KINDS][room][4], side_by_side[KINDS][4][room];
    float uv[6][room], s[room], t[room], bump[4][room], texels_across[room], texels_down[room], reflectance[room];
    float slope_u[room], slope_v[room], climb_1[room], climb_2[room], arriving[room], shadow_x[room], shadow_y[room], shadow_depth[room];
    int first_texel[room], corner_texel[4][room], edge[room], penumbra[room];
    auto &place = side_by_side[PLACE], &normal = side_by_side[NORMAL], &lit = side_by_side[LIT], &colour = side_by_side[COLOUR];
    auto &edge_1 = side_by_side[EDGE_1], &edge_2 = side_by_side[EDGE_2], &texel = side_by_side[TEXEL];

    auto find_material = [&](int i) {
        const int material = surface.face_materials.data[face[i]];
        const float* corner_uv = (const float*)surface.corner_uv.data + 6 * (size_t)face[i];
        for (int k = 0; k < 6; ++k)
            uv[k][i] = corner_uv[k];
        first_texel[i] = materials.first.data[material];
        texels_across[i] = (float)materials.width.data[material];
        texels_down[i] = (float)materials.height.data[material];
        reflectance[i] = materials.reflectance.data[material];
    };

    // the four texels around a point, of a picture that repeats beyond its borders, and the shares of those to the right and below
    auto find_texels = [&](int i) {
        float u = uv[0][i] * share[0][i] + uv[2][i] * share[1][i] + uv[4][i] * share[2][i];
        float v = uv[1][i] * share[0][i] + uv[3][i] * share[1][i] + uv[5][i] * share[2][i];
        u -= (float)(int)u;  // not floor: that is a call of the C library
        v -= (float)(int)v;
        u = (u < 0.0f ? u + 1.0f : u) * texels_across[i] - 0.5f;
        v = (1.0f - (v < 0.0f ? v + 1.0f : v)) * texels_down[i] - 0.5f;
        const int columns = (int)texels_across[i], rows = (int)texels_down[i], left = (int)(u + 1.0f) - 1, above = (int)(v + 1.0f) - 1;
        s[i] = columns * rows == 1 ? 0.0f : u - (float)left;
        t[i] = columns * rows == 1 ? 0.0f : v - (float)above;
        const int right = left + 1 < columns ? left + 1 : 0, below = above + 1 < rows ? above + 1 : 0;
        const int upper = first_texel[i] + (above < 0 ? rows - 1 : above) * columns, lower = first_texel[i] + below * columns, side = left < 0 ? columns - 1 : left;
        corner_texel[0][i] = upper + side;
        corner_texel[1][i] = upper + right;
        corner_texel[2][i] = lower + side;
        corner_texel[3][i] = lower + right;
    };

    auto look = [&](int i) {
        const float* texels[4];
        for (int k = 0; k < 4; ++k) {
            texels[k] = (const float*)(materials.texels.data + corner_texel[k][i]);
            bump[k][i] = materials.bump.data[corner_texel[k][i]];
        }
        const float right = s[i], below = t[i], shares[3] = {share[0][i], share[1][i], share[2][i]};
        const int* corner = (const int*)surface.faces.data + 3 * (size_t)face[i];
        const float *first = points + 16 * (size_t)corner[0], *second = points + 16 * (size_t)corner[1], *third = points + 16 * (size_t)corner[2];
        for (int k = 0; k < 4; ++k) {
            const float upper = texels[0][k] * (1.0f - right) + texels[1][k] * right, lower = texels[2][k] * (1.0f - right) + texels[3][k] * right;
            of_point[TEXEL][i][k] = upper * (1.0f - below) + lower * below;
            of_point[COLOUR][i][k] = (first[12 + k] * shares[0] + second[12 + k] * shares[1] + third[12 + k] * shares[2]) * of_point[TEXEL][i][k];
            of_point[LIT][i][k] = of_point[COLOUR][i][k] * (first[8 + k] * shares[0] + second[8 + k] * shares[1] + third[8 + k] * shares[2]);
        }
        for (int k = 0; lights && k < 4; ++k) {
            of_point[PLACE][i][k] = first[k] * shares[0] + second[k] * shares[1] + third[k] * shares[2];
            of_point[NORMAL][i][k] = first[4 + k] * shares[0] + second[4 + k] * shares[1] + third[4 + k] * shares[2];
            of_point[EDGE_1][i][k] = second[k] - first[k];
            of_point[EDGE_2][i][k] = third[k] - first[k];
        }
    };

    // the slope between the four heights, metres per unit of u and v, and how far it climbs along two sides of the face
    auto climb = [&](int i) {
        slope_u[i] = ((bump[1][i] - bump[0][i]) * (1.0f - t[i]) + (bump[3][i] - bump[2][i]) * t[i]) * texels_across[i];
        slope_v[i] = ((bump[0][i] - bump[2][i]) * (1.0f - s[i]) + (bump[1][i] - bump[3][i]) * s[i]) * texels_down[i];
        climb_1[i] = slope_u[i] * (uv[2][i] - uv[0][i]) + slope_v[i] * (uv[3][i] - uv[1][i]);
        climb_2[i] = slope_u[i] * (uv[4][i] - uv[0][i]) + slope_v[i] * (uv[5][i] - uv[1][i]);
    };

    const float* key_light = (const float*)light.directions.data + 3 * (size_t)frame * lights;
    const float light_x = lights ? key_light[0] : 0.0f, light_y = lights ? key_light[1] : 0.0f, light_z = lights ? key_light[2] : 0.0f;
    const float* key_colour = (const float*)light.colours.data + 3 * (size_t)frame * lights;
    const float* map = (const float*)(light.light_from_camera.data + frame);
    const unsigned int* depths_of_light = light.shadow_keys.data + (size_t)slot * side * side;
    const float last_texel = (float)((double)side - 2.001);

    // 1 where nothing lies before a depth at a texel of the shadow map, 0 where something does; the rank of an empty texel's key is no number
    auto texel_lit = [&](int x, int y, float depth) {
        const unsigned int bits = depths_of_light[y * side + x];
        return __builtin_bit_cast(float, bits & 0x80000000u ? bits & 0x7FFFFFFFu : ~bits) < depth ? 0.0f : 1.0f;
    };

    // what of the key light arrives, if nothing lies before it, and the normal of the bumped surface (Mikkelsen 2010): off it the height's gradient along the face
    auto turn = [&](int i) {
        const float x = normal[0][i], y = normal[1][i], z = normal[2][i], length = wp::sqrt(x * x + y * y + z * z);
        const float flat_x = length > 0.0f ? x / length : 0.0f, flat_y = length > 0.0f ? y / length : 0.0f, flat_z = length > 0.0f ? z / length : 0.0f;
        const float turned = flat_x * light_x + flat_y * light_y + flat_z * light_z;
        const float e1[3] = {edge_1[0][i], edge_1[1][i], edge_1[2][i]}, e2[3] = {edge_2[0][i], edge_2[1][i], edge_2[2][i]};
        const float r1_x = e2[1] * flat_z - e2[2] * flat_y, r1_y = e2[2] * flat_x - e2[0] * flat_z, r1_z = e2[0] * flat_y - e2[1] * flat_x;
        const float r2_x = flat_y * e1[2] - flat_z * e1[1], r2_y = flat_z * e1[0] - flat_x * e1[2], r2_z = flat_x * e1[1] - flat_y * e1[0];
        const float det = e1[0] * r1_x + e1[1] * r1_y + e1[2] * r1_z;
        float g_x = (r1_x * climb_1[i] + r2_x * climb_2[i]) / det, g_y = (r1_y * climb_1[i] + r2_y * climb_2[i]) / det, g_z = (r1_z * climb_1[i] + r2_z * climb_2[i]) / det;
        const float steep = wp::sqrt(g_x * g_x + g_y * g_y + g_z * g_z);
        g_x = flat_x - (steep > 1.0f ? g_x / steep : g_x);
        g_y = flat_y - (steep > 1.0f ? g_y / steep : g_y);
        g_z = flat_z - (steep > 1.0f ? g_z / steep : g_z);
        const float tilted = wp::sqrt(g_x * g_x + g_y * g_y + g_z * g_z);
        const bool bumpy = (turned > 0.0f) & ((slope_u[i] != 0.0f) | (slope_v[i] != 0.0f)), climbs = bumpy & (det > 0.0f);
        const float n_x = climbs ? (tilted > 0.0f ? g_x / tilted : 0.0f) : flat_x;
        const float n_y = climbs ? (tilted > 0.0f ? g_y / tilted : 0.0f) : flat_y;
        const float n_z = climbs ? (tilted > 0.0f ? g_z / tilted : 0.0f) : flat_z;
        const float fade = turned * terminator;
        const float bumped = turned + (n_x * light_x + n_y * light_y + n_z * light_z - turned) * (fade < 1.0f ? fade : 1.0f);
        const float found = bumpy ? bumped : turned;
        arriving[i] = ((turned > 0.0f) & (found > 0.0f)) ? found : 0.0f;
        normal[0][i] = n_x;
        normal[1][i] = n_y;
        normal[2][i] = n_z;
        const float off_x = place[0][i] + flat_x * shadow_offset, off_y = place[1][i] + flat_y * shadow_offset, off_z = place[2][i] + flat_z * shadow_offset;
        shadow_x[i] = map[0] * off_x + map[1] * off_y + map[2] * off_z + map[3];
        shadow_y[i] = map[4] * off_x + map[5] * off_y + map[6] * off_z + map[7];
        shadow_depth[i] = map[8] * off_x + map[9] * off_y + map[10] * off_z + map[11] - shadow_bias;
    };

    // the light mirrored to the eye, for a light whose white matt reflection is 1: GGX (Walter et al. 2007), Schlick's Fresnel, Kelemen's visibility
    auto shine = [&](int i) {
        const float far = wp::sqrt(place[0][i] * place[0][i] + place[1][i] * place[1][i] + place[2][i] * place[2][i]);
        const bool to_eye = seen.perspective & (far > 0.0f);
        const float eye_x = to_eye ? -(place[0][i] / far) : 0.0f, eye_y = to_eye ? -(place[1][i] / far) : 0.0f;
        const float eye_z = to_eye ? -(place[2][i] / far) : seen.perspective ? 0.0f : -1.0f;
        const float h_x = light_x + eye_x, h_y = light_y + eye_y, h_z = light_z + eye_z, h = wp::sqrt(h_x * h_x + h_y * h_y + h_z * h_z);
        const float half_x = h > 0.0f ? h_x / h : 0.0f, half_y = h > 0.0f ? h_y / h : 0.0f, half_z = h > 0.0f ? h_z / h : 0.0f;
        const float cosine = normal[0][i] * half_x + normal[1][i] * half_y + normal[2][i] * half_z, facing = cosine > 0.0f ? cosine : 0.0f;
        const float towards = light_x * half_x + light_y * half_y + light_z * half_z, along = towards > 0.4f ? towards : 0.4f;  // nearer to grazing it would flare up
        const float square = texel[3][i] * texel[3][i], a = square > 0.02f ? square : 0.02f;
        const float spread = facing * facing * (a * a - 1.0f) + 1.0f, away = 1.0f - along;
        const float fresnel = reflectance[i] + (1.0f - reflectance[i]) * away * away * away * away * away;
        const float gloss = reflectance[i] > 0.0f ? a * a / (spread * spread) * fresnel / (4.0f * along * along) : 0.0f;
        for (int k = 0; k < 3; ++k) {
            const float mirrored = (colour[k][i] + gloss) * key_colour[k] * arriving[i];
            lit[k][i] = arriving[i] > 0.0f ? lit[k][i] + mirrored : lit[k][i];
        }
    };

    // the share of the texels around that let light through, three times three bilinear looks (percentage-closer filtering, Reeves et al. 1987)
    auto blend_shadow = [&](int i) {
        const int column = (int)shadow_x[i], row = (int)shadow_y[i];
        const float s = shadow_x[i] - (float)column, t = shadow_y[i] - (float)row;
        const float columns[4] = {1.0f - s, 1.0f, 1.0f, s}, rows[4] = {1.0f - t, 1.0f, 1.0f, t};
        float sum = 0.0f;
        for (int down = 0; down < 4; ++down)
            for (int across = 0; across < 4; ++across)
                sum += texel_lit(column - 1 + across, row - 1 + down, shadow_depth[i]) * rows[down] * columns[across];
        arriving[i] *= sum / 9.0f;
    };

    auto light_points = [&](int count) {
        #pragma clang loop vectorize(disable)
        for (int i = 0; i < count; ++i)
            find_material(i);
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < count; ++i)
            find_texels(i);
        #pragma clang loop vectorize(disable)
        for (int i = 0; i < count; ++i)
            look(i);
        for (int kind = 0; kind < (lights ? KINDS : COLOUR); ++kind)
            #pragma clang loop vectorize(disable)
            for (int i = 0; i < count; i += 4)
                for (int k = 0; k < 4; ++k)
                    for (int j = 0; j < 4; ++j)
                        side_by_side[kind][k][i + j] = of_point[kind][i + j][k];
        if (lights == 0)
            return;
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < count; ++i) {
            climb(i);
            turn(i);
        }
        if (light.shadows) {
            int blended = 0;
            #pragma clang loop vectorize(assume_safety)
            for (int i = 0; i < count; ++i) {
                const bool on_map = (shadow_x[i] >= 1.0f) & (shadow_y[i] >= 1.0f) & (shadow_x[i] <= last_texel) & (shadow_y[i] <= last_texel);
                const int x = on_map ? (int)shadow_x[i] : 1, y = on_map ? (int)shadow_y[i] : 1;
                const float corners = texel_lit(x - 1, y - 1, shadow_depth[i]) + texel_lit(x + 2, y - 1, shadow_depth[i])
                    + (texel_lit(x - 1, y + 2, shadow_depth[i]) + texel_lit(x + 2, y + 2, shadow_depth[i]));
                edge[i] = on_map & (corners != 0.0f) & (corners != 4.0f) & (arriving[i] > 0.0f);
                arriving[i] = (on_map & (corners == 0.0f)) ? 0.0f : arriving[i];
            }
            for (int i = 0; i < count; ++i) {
                penumbra[blended] = i;
                blended += edge[i];
            }
            for (int k = 0; k < blended; ++k)
                blend_shadow(penumbra[k]);
        }
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < count; ++i)
            shine(i);
    };
"""
