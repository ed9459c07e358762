"""First contact with annotations: is the unit right, is the joint order, is it the hand it is said to be? Convention mistakes cost more than any other.

Unit: a palm (wrist to middle MCP) measures 60 to 120 mm. Order: of the known orders, and of all 120 orders of the stated one's fingers, from palm to
tip and from tip to palm, the right one has the shortest way along all bones and across the knuckles from the thumb's MCP to the pinky's; bones alone
cannot tell orders apart that permute whole fingers. A fist's way is short from the tips too, but there a finger's first bone would be its shortest.
Side: fingers bend towards the palm, so a right hand's tips lie at negative z of its hand frame.

Where a source's scale means nothing, the unit is not checked: the median palm is named in the verdict and taken as 95 mm.

Rows without a hand (zeros where a frame has no annotation) are counted here and left out of a bank.
"""

from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np
from jaxtyping import Bool, Float, Int64

from seqgen.errors import UserError
from seqgen.skeleton import BONES, FINGERS, JOINT_NAMES, JOINT_SETS, MCPS, PALM_M, HandFrame, hand_frame

Array = np.ndarray
PALM_RANGE_M = (0.060, 0.120)
UNITS = {"millimetres": 1e-3, "centimetres": 1e-2, "metres": 1.0}
MAX_ROWS = 5000  # of many rows, every n-th is looked at for unit, order and side
CHUNK_ROWS = 100_000
CLEAR_BEND_M = 0.003
WAY = np.array((*BONES, (2, 5), *pairwise(MCPS)))  # all bones, and thumb MCP, index, middle, ring, pinky MCP
MAX_ORDER_COST = 21.5  # in spreads of the joints: real recordings have 16.5 in their own order and 24 to 30 in others; a recording of tight fists alone has 21.1
ORDER_MARGIN = 1.005  # for an order that is tried, over the best; a wrong one costs 2 % more at least (ring for pinky), and single odd rows 0.3 % less
LEAST_TAPER = 0.8  # a finger's first bone over its last: 1.2 in the median of a real recording, 2.4 in the built-in bank


def check_annotations(
    joints: Float[Array, "rows 21 3"], *, where: str, joint_set: str, metres_per_unit: float | None, side: str, remarks: tuple[str, ...] = ()
) -> tuple[float, str]:
    """Metres a unit and the verdict in one line, or a UserError that says what looks wrong. `joints` in the order of `joint_set` and the unit of their source.

    Without `metres_per_unit` the scale means nothing: any will do, and the median palm is taken as PALM_M. `remarks` become part of the verdict.
    """
    if len(joints) == 0:
        raise UserError(f"{where}: holds no annotations")
    check_finite(joints, where=where)
    sample = joints[:: max(1, len(joints) // MAX_ROWS)]
    sample = sample[np.ptp(sample, axis=1).max(-1) > 0]
    if len(sample) == 0:
        raise UserError(f"{where}: holds no hands: in every row all joints are in one place")
    check_order(sample, where=where, joint_set=joint_set, any_scale=metres_per_unit is None)
    canonical = JOINT_SETS[joint_set].to_canonical(sample)
    palm = median_palm(canonical)
    if palm == 0:
        raise UserError(f"{where}: wrist and middle MCP are in one place")
    if metres_per_unit is None:
        check_proportions(canonical, where=where)
        metres_per_unit, size = PALM_M / palm, f"palm {palm:.4g} in a unit of its own, taken as {PALM_M * 1e3:.0f} mm"
    else:
        check_unit(palm, where=where, metres_per_unit=metres_per_unit)
        size = f"palm {palm * metres_per_unit * 1e3:.0f} mm, unit fits"
    hands = check_side(canonical * metres_per_unit, where=where, side=side)
    missing = rows_without_hand(joints, joint_set, metres_per_unit)
    left_out = f", {missing} of them without a hand and left out" if missing else ""
    return metres_per_unit, "; ".join([f"{where}: {len(joints)} poses{left_out}", *remarks, size, f"joint order {joint_set}", hands])


def check_finite(joints: Float[Array, "rows 21 3"], *, where: str) -> None:
    """A UserError that names the first row with a number that is none."""
    for start in range(0, len(joints), CHUNK_ROWS):
        finite = np.isfinite(joints[start : start + CHUNK_ROWS]).all((1, 2))
        if not finite.all():
            raise UserError(f"{where}: row {start + int(finite.argmin())} holds a coordinate that is not finite")


def rows_without_hand(joints: Float[Array, "rows 21 3"], joint_set: str, metres_per_unit: float) -> int:
    """How many rows a bank leaves out because they show no hand."""
    pieces = (JOINT_SETS[joint_set].to_canonical(joints[start : start + CHUNK_ROWS]) for start in range(0, len(joints), CHUNK_ROWS))
    return sum(int((~are_hands(hand_frame(piece * metres_per_unit))).sum()) for piece in pieces)


def are_hands(frame: HandFrame) -> Bool[Array, "rows"]:
    """Rows (in metres) whose palm has a direction, and a length that is at most a factor of two outside of PALM_RANGE_M."""
    low, high = PALM_RANGE_M
    return np.isfinite(frame.axes).all((1, 2)) & (frame.palm > low / 2) & (frame.palm < high * 2)


def median_palm(joints: Float[Array, "rows 21 3"]) -> float:
    """Wrist to middle MCP, median over the rows."""
    return float(np.median(np.linalg.norm(joints[:, 9] - joints[:, 0], axis=-1)))


def check_proportions(joints: Float[Array, "rows 21 3"], *, where: str) -> None:
    """A UserError when most rows are no hands of any size: the four knuckles of a hand are about equally far from the wrist."""
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = np.linalg.norm(joints[:, [5, 13, 17]] - joints[:, :1], axis=-1) / np.linalg.norm(joints[:, 9] - joints[:, 0], axis=-1)[:, None]
    odd = float((~((reach > 0.6) & (reach < 1.5)).all(1)).mean())
    if odd > 0.5:
        raise UserError(f"{where}: {odd:.0%} of the rows have the knuckles at odd distances from the wrist; hands may be scaled as a whole, not each coordinate for itself")


def check_unit(palm: float, *, where: str, metres_per_unit: float) -> None:
    """A UserError that names the unit that would fit, when a palm of this length does not."""
    low, high = PALM_RANGE_M
    if low <= palm * metres_per_unit <= high:
        return
    stated = next(name for name, unit in UNITS.items() if unit == metres_per_unit)
    fitting = [name for name, unit in UNITS.items() if low <= palm * unit <= high]
    hint = f"; the numbers look like {fitting[0]}" if fitting else ""
    raise UserError(f"{where}: wrong unit: wrist to middle MCP measures {palm:.4g} {stated}, expected {low / metres_per_unit:g} to {high / metres_per_unit:g}{hint}")


def check_order(joints: Float[Array, "rows 21 3"], *, where: str, joint_set: str, any_scale: bool = False) -> None:
    """A UserError that says which order would fit, when one of the other known orders or of the orders of `joint_set`'s own fingers fits better.

    Of orders that are the same, the known one is named. Where any scale will do, hands in another order are told from what are no hands.
    """
    orders = {f"{name} would fit": known.places() for name, known in JOINT_SETS.items()}
    orders |= {f"fingers stand as {words}": JOINT_SETS[joint_set].places()[order] for words, order in finger_orders().items()}
    costs = dict(zip(orders, order_costs(joints, list(orders.values())), strict=True))
    best = min(costs, key=costs.__getitem__)
    if costs[best] > MAX_ORDER_COST:
        raise UserError(f"{where}: no known joint order fits; {joint_set} was expected: {', '.join(JOINT_NAMES[:6])}, ... in that set's order")
    if costs[f"{joint_set} would fit"] > costs[best] * ORDER_MARGIN:
        if any_scale:
            check_proportions(joints[:, orders[best]], where=where)
        raise UserError(f"{where}: wrong joint order: not {joint_set}; {next(words for words, cost in costs.items() if cost <= costs[best] * 1.0001)}")


def finger_orders() -> dict[str, Int64[Array, "21"]]:
    """In words, how hands stand in an order that takes one whole finger for another or runs from tip to palm: for each canonical joint, the place where it is."""
    orders = {}
    for standing in permutations(range(5)):
        places = np.zeros(21, int)
        for place, finger in enumerate(standing):
            places[1 + 4 * finger : 5 + 4 * finger] = range(1 + 4 * place, 5 + 4 * place)
        words = ", ".join(FINGERS[finger] for finger in standing)
        orders[words] = places
        orders[f"{words}, each from tip to palm"] = np.concatenate([places[:1], places[1:].reshape(5, 4)[:, ::-1].ravel()])
    return orders


def order_costs(joints: Float[Array, "rows 21 3"], orders: Sequence[Int64[Array, "21"]]) -> list[float]:
    """For each order (where the canonical joints stand) the median length of WAY over the joints' spread: least in the right one.

    Infinite for an order in which fingers have their shortest bones at the palm.
    """
    distances = np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)
    spread = np.maximum(np.sqrt(joints.var(1).sum(-1)), 1e-9)
    typical = np.median(distances / spread[:, None, None], axis=0)
    knuckles = np.array(MCPS)
    costs = []
    for order in orders:
        taper = np.median(typical[order[knuckles], order[knuckles + 1]] / np.maximum(typical[order[knuckles + 2], order[knuckles + 3]], 1e-9))
        lengths = distances[:, order[WAY[:, 0]], order[WAY[:, 1]]].sum(1)
        costs.append(float(np.median(lengths / spread)) if taper >= LEAST_TAPER else np.inf)
    return costs


def check_side(joints_m: Float[Array, "rows 21 3"], *, where: str, side: str) -> str:
    """Words on the side, or a UserError when the fingers bend the wrong way for it."""
    joints_m = joints_m[are_hands(hand_frame(joints_m))]
    beyond_pip = hand_frame(joints_m).normalise(joints_m)[:, [7, 8, 11, 12, 15, 16, 19, 20], 2]
    bend_m = float(beyond_pip.mean()) * (1 if side == "right" else -1)
    if bend_m > CLEAR_BEND_M:
        other = "left" if side == "right" else "right"
        raise UserError(f"{where}: these look like {other} hands: fingers bend {bend_m * 1e3:.0f} mm towards the back of a {side} hand; say --poses.side {other}")
    return f"{side} hands" if bend_m < -CLEAR_BEND_M else f"{side} hands as stated, too flat to tell"
