"""A jointed wooden-doll person, seen from the front, with the seventeen joints of COCO where they are drawn."""

from dataclasses import dataclass

import numpy as np

from tasks.readers.synthetic_canvas import Canvas, Color, Points, arc, ellipse, points, tone

JOINTS = (
    "nose",
    "left eye",
    "right eye",
    "left ear",
    "right ear",
    "left shoulder",
    "right shoulder",
    "left elbow",
    "right elbow",
    "left wrist",
    "right wrist",
    "left hip",
    "right hip",
    "left knee",
    "right knee",
    "left ankle",
    "right ankle",
)
"""COCO's order. Left and right are the person's own: seen from the front, left is on the picture's right."""

PERSON_ASPECT = 0.8
"""Widest pose: arms stretched out."""

SKINS: tuple[Color, ...] = ((246, 210, 180), (224, 172, 132), (172, 116, 78), (110, 72, 50))
HAIRS: tuple[Color, ...] = ((48, 34, 26), (112, 70, 34), (206, 166, 84), (30, 28, 34))
TROUSERS: tuple[Color, ...] = ((52, 62, 92), (86, 78, 70), (40, 44, 48), (104, 112, 84))

_UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.145, 0.135, 0.19, 0.18


@dataclass(frozen=True)
class Pose:
    """Angles of the limbs, degrees from straight down, outwards positive; (left, right) each."""

    upper_arms: tuple[float, float]
    forearms: tuple[float, float]
    thighs: tuple[float, float]
    shins: tuple[float, float]
    skin: int = 0
    hair: int = 0
    trousers: int = 0


def random_pose(rng: np.random.Generator) -> Pose:
    """A natural pose: arms hang, are lifted or wave; legs stand or stride."""

    def both(low: float, high: float) -> tuple[float, float]:
        left, right = rng.uniform(low, high, 2)
        return float(left), float(right)

    upper_arms = both(12, 120)
    bends = both(-20, 60)
    thighs = both(3, 24)
    return Pose(
        upper_arms=upper_arms,
        forearms=(upper_arms[0] + bends[0], upper_arms[1] + bends[1]),
        thighs=thighs,
        shins=(thighs[0] - float(rng.uniform(0, 14)), thighs[1] - float(rng.uniform(0, 14))),
        skin=int(rng.integers(len(SKINS))),
        hair=int(rng.integers(len(HAIRS))),
        trousers=int(rng.integers(len(TROUSERS))),
    )


def joints_of(pose: Pose) -> dict[str, Points]:
    """Joint name -> (2,) position in object units."""
    found: dict[str, Points] = {
        "nose": np.array([0.0, -0.365]),
        "left eye": np.array([0.036, -0.395]),
        "right eye": np.array([-0.036, -0.395]),
        "left ear": np.array([0.092, -0.38]),
        "right ear": np.array([-0.092, -0.38]),
    }
    for index, (side, sign) in enumerate((("left", 1.0), ("right", -1.0))):
        shoulder, hip = np.array([0.105 * sign, -0.235]), np.array([0.062 * sign, 0.055])
        elbow = shoulder + _limb(pose.upper_arms[index], sign, _UPPER_ARM)
        knee = hip + _limb(pose.thighs[index], sign, _THIGH)
        found |= {
            f"{side} shoulder": shoulder,
            f"{side} elbow": elbow,
            f"{side} wrist": elbow + _limb(pose.forearms[index], sign, _FOREARM),
            f"{side} hip": hip,
            f"{side} knee": knee,
            f"{side} ankle": knee + _limb(pose.shins[index], sign, _SHIN),
        }
    return found


def _limb(angle: float, sign: float, length: float) -> Points:
    turn = np.radians(angle)
    return np.array([sign * np.sin(turn) * length, np.cos(turn) * length])


def draw_person(canvas: Canvas, shirt: Color, pose: Pose) -> None:
    """Draw the person; every joint of `joints_of` lies inside what is drawn."""
    joints = joints_of(pose)
    skin, trousers = SKINS[pose.skin], TROUSERS[pose.trousers]
    for side in ("left", "right"):
        _draw_leg(canvas, joints, side, trousers)
    _draw_torso(canvas, joints, shirt, trousers)
    for side in ("left", "right"):
        _draw_arm(canvas, joints, side, shirt, skin)
    _draw_head(canvas, joints, skin, HAIRS[pose.hair])


def _draw_leg(canvas: Canvas, joints: dict[str, Points], side: str, trousers: Color) -> None:
    hip, knee, ankle = (joints[f"{side} {name}"] for name in ("hip", "knee", "ankle"))
    toe = ankle + np.array([0.035 if side == "left" else -0.035, 0.022])
    canvas.line(np.array([ankle, toe]), 0.05, (50, 40, 38))
    canvas.line(np.array([hip, knee, ankle]), 0.075, trousers)
    for joint in (knee, ankle):
        canvas.disc(joint, (0.034, 0.034), tone(trousers, 1.3))


def _draw_torso(canvas: Canvas, joints: dict[str, Points], shirt: Color, trousers: Color) -> None:
    canvas.line(points(-0.05, 0.05, 0.05, 0.05), 0.1, trousers)
    canvas.polygon(points(-0.105, -0.25, 0.105, -0.25, 0.09, 0.045, -0.09, 0.045), shirt)
    canvas.line(points(-0.09, -0.235, 0.09, -0.235), 0.07, shirt)
    for side in ("left", "right"):
        canvas.disc(joints[f"{side} hip"], (0.034, 0.034), tone(trousers, 1.3))


def _draw_arm(canvas: Canvas, joints: dict[str, Points], side: str, shirt: Color, skin: Color) -> None:
    shoulder, elbow, wrist = (joints[f"{side} {name}"] for name in ("shoulder", "elbow", "wrist"))
    canvas.line(np.array([elbow, wrist]), 0.05, skin)
    canvas.line(np.array([shoulder, elbow]), 0.068, tone(shirt, 0.9))
    hand = wrist + (wrist - elbow) * 0.14
    canvas.disc(hand, (0.06, 0.06), skin)
    for joint, color in ((shoulder, shirt), (elbow, shirt), (wrist, skin)):
        canvas.disc(joint, (0.034, 0.034), tone(color, 0.72))


def _draw_head(canvas: Canvas, joints: dict[str, Points], skin: Color, hair: Color) -> None:
    canvas.line(points(0, -0.3, 0, -0.24), 0.06, tone(skin, 0.88))
    canvas.polygon(ellipse(0, -0.41, 0.205, 0.2), hair)
    for side in ("left", "right"):
        canvas.disc(joints[f"{side} ear"], (0.042, 0.055), tone(skin, 0.86))
    canvas.polygon(ellipse(0, -0.375, 0.17, 0.2), skin)
    canvas.polygon(np.concatenate([arc(0, -0.4, 0.185, 0.19, 190, 350), points(0.03, -0.435)]), hair)
    for side in ("left", "right"):
        canvas.disc(joints[f"{side} eye"], (0.03, 0.032), (250, 250, 250))
        canvas.disc(joints[f"{side} eye"], (0.019, 0.024), (40, 34, 40))
    canvas.disc(joints["nose"], (0.026, 0.03), tone(skin, 0.74))
    canvas.line(arc(0, -0.335, 0.07, 0.03, 20, 160), 0.011, (176, 66, 66))
