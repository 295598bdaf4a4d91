"""The grid of H3: hexagons on an icosahedron, in sixteen resolutions, each cell with seven children.

Each face of the icosahedron is a plane of its own: its centre is the origin, the first axis runs to its first corner,
which is two units away, and what lies on the sphere comes there by the gnomonic projection. The centres of cells are
Eisenstein integers (a + b times the third root of one) times the unit of their resolution, which is the seventh root's
power and, for odd resolutions, turned. So a cell of the next resolution is the product with a number of norm 7, plus a
digit, which is zero or one of the six roots of one. Across an edge the next face's plane goes on, turned by a root.
Around the twelve corners five faces meet where a plane has room for six: there one of a base cell's seven children, the
one of digit 1, is not there.

Source: H3, "Overview of the H3 Geospatial Indexing System", "Coordinate Systems", "H3Index bit layout"; its tables of
faces (centre, direction of the first axis) and of base cells (face and place).
"""

from cmath import exp, phase
from functools import cache
from itertools import pairwise
from math import acos, asin, atan, atan2, ceil, cos, degrees, pi, radians, sin, sqrt, tan
from typing import NamedTuple, TypeAlias

Whole: TypeAlias = tuple[int, int]  # an Eisenstein integer

FINEST = 15
UNIT = 0.38196601125010500003  # of resolution 0 on the plane of a face
TURN = asin(sqrt(3 / 28))  # of odd resolutions
ROOT = complex(-0.5, sqrt(3) / 2)
STEPS: tuple[Whole, ...] = ((0, 0), (-1, -1), (0, 1), (-1, 0), (1, 0), (0, -1), (1, 1))  # by digit
DIGITS = {step: digit for digit, step in enumerate(STEPS)}
DOWN: tuple[Whole, Whole] = ((2, -1), (3, 1))  # times this: from an even resolution, from an odd one
CORNERS: tuple[Whole, ...] = ((2, 0), (0, 2), (-2, -2))
WALK = (2, 3, 1, 5, 4, 6)  # the digits of the steps around a cell, from its neighbour of digit 4 on
AROUND = (6, 2, 3, 1, 5, 4)  # those of the neighbours on that way
MISSING = 1  # the digit that a pentagon has not
NEAR = 1e-9

# Of each face the latitude and longitude of its centre and the azimuth of its first axis, in radians.
FACES = (
    (0.803582649718989942, 1.248397419617396099, 5.619958268523939882),
    (1.307747883455638156, 2.536945009877921159, 5.760339081714187279),
    (1.054751253523952054, -1.347517358900396623, 0.780213654393430055),
    (0.600191595538186799, -0.450603909469755746, 0.430469363979999913),
    (0.491715428198773866, 0.401988202911306943, 6.130269123335111400),
    (0.172745327415618701, 1.678146885280433686, 2.692877706530642877),
    (0.605929321571350690, 2.953923329812411617, 2.982963003477243874),
    (0.427370518328979641, -1.888876200336285401, 3.532912002790141181),
    (-0.079066118549212831, -0.733429513380867741, 3.494305004259568154),
    (-0.230961644455383637, 0.506495587332349035, 3.003214169499538391),
    (0.079066118549212831, 2.408163140208925497, 5.930472956509811562),
    (0.230961644455383637, -2.635097066257444203, 0.138378484090254847),
    (-0.172745327415618701, -1.463445768309359553, 0.448714947059150361),
    (-0.605929321571350690, -0.187669323777381622, 0.158629650112549365),
    (-0.427370518328979641, 1.252716453253507838, 5.891865957979238535),
    (-0.600191595538186799, 2.690988744120037492, 2.711123289609793325),
    (-0.491715428198773866, -2.739604450678486295, 3.294508837434268316),
    (-0.803582649718989942, -1.893195233972397139, 3.804819692245439833),
    (-1.307747883455638156, -0.604647643711872080, 3.664438879055192436),
    (-1.054751253523952054, 1.794075294689396615, 2.361378999196363184),
)
# Of each base cell its face (in base 20) and its place there, as the letter of one of these.
_PLACES = {"o": (0, 0), "i": (1, 0), "j": (0, 1), "k": (-1, -1), "p": (1, 1), "q": (-1, 0), "r": (0, -1), "I": (2, 0)}
_BASES = (
    "1i 2p 1o 2i 0I 1p 1k 2o 0i 2j 1j 1q 3i 3p bI 4i 0o 6j 0k 2q 7k 2k 0p 6k aI 6o 3o bi 4p 3j 0q 4o 5j 0j 7j bp 7o ai "
    "cI 6r 7r 4k 3k 3q 4j 6i bo 8k 5k eI 5o ci ap 4q cp 7i bj ao dI ak bk 9j 8j 6I 8o 9k ei 5r gq 8r 5i co 7I cj aj 9o "
    "di gk fq fj gj ep dp 5I 8i eo 9r ek hk ck go hq fk gr 9i fo do 8I dj hr jj ej jq hj dk ho gi 9I fr fi iq ik jk hi "
    "jo ij ir jI ji io jr ii"
)
BASES: tuple[tuple[int, Whole], ...] = tuple((int(each[0], 20), _PLACES[each[1]]) for each in _BASES.split())
PENTAGONS = frozenset(index for index, (_, place) in enumerate(BASES) if place == (2, 0))


class Cell(NamedTuple):
    base: int
    digits: tuple[int, ...]  # one for each resolution


class Place(NamedTuple):
    """The centre of a cell on the plane of a face, in units of its resolution. `by`: how many sixths this plane is
    turned against that of its base cell."""

    face: int
    at: Whole
    by: int = 0


# ------------------------------------------------------------------ Eisenstein integers


def times(one: Whole, other: Whole) -> Whole:
    (a, b), (c, d) = one, other
    return a * c - b * d, a * d + b * c - b * d


def plus(one: Whole, other: Whole) -> Whole:
    return one[0] + other[0], one[1] + other[1]


def minus(one: Whole, other: Whole) -> Whole:
    return one[0] - other[0], one[1] - other[1]


def turned(one: Whole, by: int) -> Whole:
    """By so many sixths, against the clock."""
    for _ in range(by % 6):
        one = times(one, (1, 1))
    return one


def point(one: Whole) -> complex:
    return one[0] + one[1] * ROOT


def nearest(at: complex) -> Whole:
    b = at.imag / ROOT.imag
    a = at.real + b / 2
    found = (round(a), round(b))
    around = [plus(found, step) for step in STEPS]
    return min(around, key=lambda each: (abs(point(each) - at), each))


def scale(resolution: int) -> complex:
    """What a number of a resolution is on the plane of a face."""
    return exp(1j * TURN * (resolution % 2)) / sqrt(7) ** resolution


def scaled(one: Whole, resolution: int) -> Whole:
    """A number of resolution 0 as one of another."""
    for each in range(resolution):
        one = times(one, DOWN[each % 2])
    return one


# ------------------------------------------------------------------ the sphere


def vector(lat: float, lon: float) -> tuple[float, float, float]:
    return cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat)


def _apart(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


@cache
def _centres() -> list[tuple[float, float, float]]:
    return [vector(lat, lon) for lat, lon, _ in FACES]


def on_plane(lat: float, lon: float) -> tuple[int, complex]:
    """The nearest face and the place on its plane, of radians."""
    at = vector(lat, lon)
    face = min(range(len(FACES)), key=lambda each: _apart(_centres()[each], at))
    middle_lat, middle_lon, axis = FACES[face]
    away = acos(max(-1.0, min(1.0, 1 - _apart(_centres()[face], at) / 2)))
    if away < 1e-16:
        return face, 0j
    azimuth = atan2(
        cos(lat) * sin(lon - middle_lon),
        cos(middle_lat) * sin(lat) - sin(middle_lat) * cos(lat) * cos(lon - middle_lon),
    )
    return face, exp(1j * (axis - azimuth)) * tan(away) / UNIT


def on_sphere(face: int, at: complex) -> tuple[float, float]:
    """Longitude and latitude in degrees."""
    lat, lon, axis = FACES[face]
    away = atan(abs(at) * UNIT)
    if away < 1e-16:
        return degrees(lon), degrees(lat)
    azimuth = axis - phase(at)
    new = asin(max(-1.0, min(1.0, sin(lat) * cos(away) + cos(lat) * sin(away) * cos(azimuth))))
    east = lon + atan2(sin(azimuth) * sin(away) * cos(lat), cos(away) - sin(lat) * sin(new))
    return degrees((east + pi) % (2 * pi) - pi), degrees(new)


# ------------------------------------------------------------------ from face to face


class Crossing(NamedTuple):
    """To the face beyond an edge: turned by so many sixths, then moved."""

    face: int
    by: int
    move: Whole


@cache
def _corner(face: int, index: int) -> tuple[float, float, float]:
    lon, lat = on_sphere(face, point(CORNERS[index]))
    return vector(radians(lat), radians(lon))


def same_corner(face: int, index: int) -> list[tuple[int, int]]:
    """Faces and their corners at the place of this corner."""
    at = _corner(face, index)
    return [(other, own) for other in range(len(FACES)) for own in range(3) if _apart(_corner(other, own), at) < NEAR]


@cache
def crossing(face: int, edge: int) -> Crossing:
    """Over the edge between this corner and the next."""
    first, second = (dict(same_corner(face, each)) for each in (edge, (edge + 1) % 3))
    [other] = [each for each in first if each in second and each != face]
    one, next_ = CORNERS[edge], CORNERS[(edge + 1) % 3]
    to, to_next = CORNERS[first[other]], CORNERS[second[other]]
    by = next(each for each in range(6) if turned(minus(next_, one), each) == minus(to_next, to))
    return Crossing(other, by, minus(to, turned(one, by)))


def outside(at: complex) -> int | None:
    """The edge beyond which a place of a plane lies; None: it is on the face."""
    for edge in range(3):
        if (at * exp(-1j * (pi / 3 + edge * 2 * pi / 3))).real > 1 + NEAR:
            return edge
    return None


def settled(place: Place, resolution: int) -> Place:
    """On the face on which it lies."""
    face, at, by = place
    edge = outside(point(at) * scale(resolution))
    while edge is not None:
        over = crossing(face, edge)
        face, at, by = over.face, plus(turned(at, over.by), scaled(over.move, resolution)), by + over.by
        edge = outside(point(at) * scale(resolution))
    return Place(face, at, by % 6)


class Home(NamedTuple):
    """Of a place of resolution 0 on a face: its base cell, how far its home's plane is turned against this face's, and
    of a pentagon the how manieth this face is around it, from its home on with the clock."""

    base: int
    by: int
    turn: int


@cache
def homes() -> dict[tuple[int, Whole], Home]:
    found = {(face, at): Home(base, 0, 0) for base, (face, at) in enumerate(BASES) if base not in PENTAGONS}
    for face in range(len(FACES)):
        for at in [(a, b) for a in range(-2, 3) for b in range(-2, 3)]:
            edge = next((each for each in range(3) if _on_edge(at, each)), None)
            if edge is not None and at not in CORNERS and (face, at) not in found:
                over = crossing(face, edge)
                home = found[over.face, plus(turned(at, over.by), over.move)]
                found[face, at] = Home(home.base, over.by, 0)
    for base in PENTAGONS:
        for turn, (face, corner) in enumerate(around(base)):
            found[face, CORNERS[corner]] = Home(base, (-turn - 2 * corner) % 6, turn)
    return found


def _on_edge(at: Whole, edge: int) -> bool:
    return abs((point(at) * exp(-1j * (pi / 3 + edge * 2 * pi / 3))).real - 1) < NEAR


@cache
def around(pentagon: int) -> list[tuple[int, int]]:
    """The five faces around a corner, from the home's on with the clock, each with the number of that corner there."""
    face, corner = BASES[pentagon][0], 0
    found = []
    for _ in range(5):
        found.append((face, corner))
        # With the clock, seen from the corner: over the edge that lies there.
        other = crossing(face, corner).face
        corner = dict(same_corner(face, corner))[other]
        face = other
    return found


# ------------------------------------------------------------------ cells


def cell_at(place: Place, resolution: int) -> Cell:
    """The cell with this centre, which lies on the face or hardly beyond it."""
    at, digits = place.at, list[int]()
    for each in range(resolution, 0, -1):
        down = DOWN[(each - 1) % 2]
        up = nearest(point(at) / point(down))
        digits.append(DIGITS[minus(at, times(up, down))])
        at = up
    digits.reverse()
    face, by = place.face, 0
    if (face, at) not in homes():
        edge = outside(point(at))
        assert edge is not None
        over = crossing(face, edge)
        face, at, by = over.face, plus(turned(at, over.by), over.move), over.by
    home = homes()[face, at]
    digits = _turned(digits, by + home.by)
    if home.base in PENTAGONS and _leading(digits) == MISSING:
        digits = _turned(digits, 1 if home.turn == 0 else -1)
    return Cell(home.base, tuple(digits))


def _turned(digits: list[int], by: int) -> list[int]:
    return [DIGITS[turned(STEPS[each], by)] for each in digits]


def _leading(digits: "list[int] | tuple[int, ...]") -> int:
    return next((each for each in digits if each), 0)


def place_of(cell: Cell) -> Place:
    """Where its centre lies."""
    face, base = BASES[cell.base]
    resolution = len(cell.digits)
    away: Whole = (0, 0)
    for index, digit in enumerate(cell.digits):
        away = plus(times(away, DOWN[index % 2]), STEPS[digit])
    if cell.base in PENTAGONS and away != (0, 0):
        return settled(_around_corner(cell, away), resolution)
    return settled(Place(face, plus(scaled(base, resolution), away)), resolution)


def _around_corner(cell: Cell, away: Whole) -> Place:
    """Which of the five faces it is that a place lies on, seen from the corner between them."""
    resolution = len(cell.digits)
    angle = degrees(phase(point(away) * scale(resolution)))
    # From the home face on with the clock; on an edge the face that comes first. The fifth is missing: what reaches
    # into it from either side lies on the face of the other.
    sixths, leading = (180 - angle) / 60 % 6, _leading(cell.digits)
    sixth, extra = ceil(sixths - 0.5 - NEAR), 0
    if sixths > 5.5 - NEAR:
        sixth = 0
    elif sixth == 5 or sixths > 4.5 - NEAR:
        sixth, extra = (4, 1) if leading == 3 else (0, -1)
    elif leading == 5 and sixths > 3.5 - NEAR:
        sixth = 4
    face, corner = around(cell.base)[sixth]
    by = sixth + 2 * corner + extra
    return Place(face, plus(scaled(CORNERS[corner], resolution), turned(away, by)), by % 6)


def cell_of(lat: float, lon: float, resolution: int) -> Cell:
    """The cell that holds a place, of degrees."""
    face, at = on_plane(radians(lat), radians(lon))
    return cell_at(Place(face, nearest(at / scale(resolution))), resolution)


def centre(cell: Cell) -> tuple[float, float]:
    """Longitude and latitude in degrees."""
    face, at, _ = place_of(cell)
    return on_sphere(face, point(at) * scale(len(cell.digits)))


def _ends(cell: Cell) -> list[tuple[int, complex]]:
    """The corners of a cell against the clock, each on the plane of the face on which it lies, and where an edge of a
    cell of an odd resolution goes over to another face the place at which it does so."""
    resolution = len(cell.digits)
    unit = scale(resolution)
    if cell.base in PENTAGONS and not any(cell.digits):
        return _ends_of_pentagon(cell, unit)
    place = place_of(cell)
    corners = [(point(place.at) + exp(1j * (pi / 6 + each * pi / 3)) / sqrt(3)) * unit for each in range(7)]
    found = [_over(place.face, corners[0])]
    for before, corner in pairwise(corners):
        edges = {outside(before), outside(corner)} if resolution % 2 else {None}
        if len(edges) > 1:
            between = [_crossed(before, corner, edge) for edge in edges if edge is not None]
            apart = [at for at in between if min(abs(at - before), abs(at - corner)) > abs(unit) * NEAR]
            found += [(place.face, at) for at in apart]
        found.append(_over(place.face, corner))
    return found[:-1]


def _crossed(one: complex, other: complex, edge: int) -> complex:
    """Where the line between two places of a plane meets the line of an edge."""
    turn = exp(-1j * (pi / 3 + edge * 2 * pi / 3))
    first, second = (one * turn).real, (other * turn).real
    return one + (other - one) * ((1 - first) / (second - first))


def _over(face: int, at: complex) -> tuple[int, complex]:
    edge = outside(at)
    while edge is not None:
        over = crossing(face, edge)
        face, at = over.face, at * exp(1j * pi / 3 * over.by) + point(over.move)
        edge = outside(at)
    return face, at


# Around a pentagon, in degrees of its home's plane: the way to each of its corners, of even resolutions, the how
# manieth face that is, and the edge behind it.
_AROUND = ((30, 2, 90), (90, 1, 150), (150, 0, 210), (210, 0, 330), (330, 4, 30))
_AROUND_TURNED = ((30, 2, 90), (90, 1, 150), (150, 0, 210), (270, 4, 330), (330, 3, 30))


def _ends_of_pentagon(cell: Cell, unit: complex) -> list[tuple[int, complex]]:
    away = abs(unit) / sqrt(3)
    odd = bool(len(cell.digits) % 2)
    found = []
    for angle, sixth, edge in _AROUND_TURNED if odd else _AROUND:
        face, corner = around(cell.base)[sixth]
        turn = radians(60 * (sixth + 2 * corner))
        found.append((face, point(CORNERS[corner]) + away * exp(1j * (radians(angle) + TURN * odd + turn))))
        if odd:  # over the edge the next corner's way is a sixth further
            over = away * sin(pi / 3) / (sin(pi / 3 - TURN) + sin(TURN))
            found.append((face, point(CORNERS[corner]) + over * exp(1j * (radians(edge) + turn))))
    return found


def outline(cell: Cell) -> list[tuple[float, float]]:
    """The corners as longitude and latitude in degrees, against the clock."""
    return [on_sphere(face, at) for face, at in _ends(cell)]


# ------------------------------------------------------------------ neighbours


def moved(place: Place, step: Whole, resolution: int) -> Cell:
    """The cell so far away, on the plane of the place."""
    at = plus(place.at, turned(step, place.by))
    return cell_at(settled(Place(place.face, at), resolution), resolution)


def neighbours(cell: Cell) -> list[Cell]:
    """Six, of a pentagon five."""
    place = place_of(cell)
    found = [moved(place, STEPS[digit], len(cell.digits)) for digit in AROUND]
    return list(dict.fromkeys(each for each in found if each != cell))


def rings(cell: Cell, furthest: int) -> list[list[Cell]]:
    """The cells by their distance, from none on. Where no pentagon is among them they stand in the order of a walk
    around."""
    found = [[cell]]
    place, resolution = place_of(cell), len(cell.digits)
    for distance in range(1, furthest + 1):
        at = (distance, 0)  # the way out is that of digit 4
        ring = []
        for digit in WALK:
            for _ in range(distance):
                at = plus(at, STEPS[digit])
                ring.append(moved(place, at, resolution))
        found.append(ring)
    if any(each.base in PENTAGONS and not any(each.digits) for ring in found for each in ring):
        return _spread(cell, furthest)
    return found


def _spread(cell: Cell, furthest: int) -> list[list[Cell]]:
    seen, found = {cell}, [[cell]]
    for _ in range(furthest):
        ring = list(dict.fromkeys(near for each in found[-1] for near in neighbours(each) if near not in seen))
        seen.update(ring)
        found.append(ring)
    return found
