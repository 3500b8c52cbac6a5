"""Triangles to pixels on the CPU: smooth shading, a depth buffer, nothing but numba."""

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@numba.njit(cache=True, fastmath=False)
def shade(points: Floats, faces: Ints, albedo: Floats, light: Floats, eye: Floats, strength: Floats) -> Floats:
    """Colours (V, 3) of world points (V, 3): sky light, one lamp towards ``light``, some light from the camera.

    ``albedo`` (V, 3) in 0..1; strength: (sky, lamp, camera). Normals are the mean of the faces (F,
    3) around a point, outwards.
    """
    normals = np.zeros_like(points)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    colours = np.empty_like(points)
    for v in range(points.shape[0]):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        size = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        nx, ny, nz = nx / size, ny / size, nz / size
        ex, ey, ez = eye[0] - points[v, 0], eye[1] - points[v, 1], eye[2] - points[v, 2]
        far = np.sqrt(ex * ex + ey * ey + ez * ez) + 1e-9
        lamp = max(nx * light[0] + ny * light[1] + nz * light[2], 0.0)
        facing = max((nx * ex + ny * ey + nz * ez) / far, 0.0)
        low = min(0.62 + 0.8 * max(points[v, 2], 0.0), 1.0)  # darker towards the floor
        glow = strength[0] * (0.6 + 0.4 * nz) * low + strength[1] * lamp + strength[2] * facing
        for k in range(3):
            colours[v, k] = min(albedo[v, k] * glow, 1.0)
    return colours


@numba.njit(cache=True, fastmath=False, error_model="numpy")
def fill(screen: Floats, colours: Floats, faces: Ints, part: Ints, image: Floats, depth: Floats, owner: Ints) -> None:
    """Draw triangles into ``image`` (H, W, 3), ``depth`` (H, W, 1/z, larger is nearer) and ``owner`` (H, W).

    ``screen`` (V, 3): x px, y px, depth in metres. ``part`` (F,) is what ``owner`` gets.
    Triangles that face away or reach behind the camera are left out, so surfaces must be closed and turned outwards.
    """
    height, width = depth.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area > -1e-9 or screen[a, 2] <= 0.06 or screen[b, 2] <= 0.06 or screen[c, 2] <= 0.06:
            continue
        top, bottom = int(np.ceil(max(min(ay, by, cy), zero))), int(np.floor(min(max(ay, by, cy), height - one)))
        left, right = max(min(ax, bx, cx), zero), min(max(ax, bx, cx), width - one)
        ia, ib, ic = one / screen[a, 2], one / screen[b, 2], one / screen[c, 2]
        du, dv = (by - cy) / area, (cy - ay) / area  # shares u of a, v of b, w of c grow by these per px
        dw = -du - dv
        for y in range(top, bottom + 1):
            u0, v0 = (bx * (cy - y) - cx * (by - y)) / area, (cx * (ay - y) - ax * (cy - y)) / area  # at x = 0
            w0 = one - u0 - v0
            low, high = left, right  # where no share is negative
            for share, slope in ((u0, du), (v0, dv), (w0, dw)):
                if slope > zero:
                    low = max(low, -share / slope)
                elif slope < zero:
                    high = min(high, -share / slope)
                elif share < zero:
                    high = -one
            near0, rise = u0 * ia + v0 * ib + w0 * ic, du * ia + dv * ib + dw * ic
            for x in range(int(np.ceil(low)), int(np.floor(high)) + 1):
                near = near0 + rise * x
                if near > depth[y, x]:
                    u, v = u0 + du * x, v0 + dv * x
                    w = one - u - v
                    depth[y, x] = near
                    owner[y, x] = part[f]
                    for k in range(3):
                        image[y, x, k] = u * colours[a, k] + v * colours[b, k] + w * colours[c, k]


@numba.njit(cache=True, fastmath=False)
def blend(image: Floats, owner: Ints, picture: Floats, person: int, mask: Floats) -> None:
    """Average 2x2 samples of ``image`` (2H, 2W, 3) over ``picture`` (H, W, 3) where ``owner`` >= 0.

    ``mask`` (H, W) = share of ``person``.
    """
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            hits, mine, r, g, b = 0, 0, 0.0, 0.0, 0.0
            for j in range(2):
                for i in range(2):
                    who = owner[2 * y + j, 2 * x + i]
                    if who >= 0:
                        hits += 1
                        r += image[2 * y + j, 2 * x + i, 0]
                        g += image[2 * y + j, 2 * x + i, 1]
                        b += image[2 * y + j, 2 * x + i, 2]
                        if who == person:
                            mine += 1
            if hits > 0:
                rest = (4 - hits) / 4.0
                picture[y, x, 0] = picture[y, x, 0] * rest + r / 4.0
                picture[y, x, 1] = picture[y, x, 1] * rest + g / 4.0
                picture[y, x, 2] = picture[y, x, 2] * rest + b / 4.0
            mask[y, x] = mine / 4.0
