"""What a model learns: which labels, of which points. Another movement is another ``Task``, nothing else."""

from dataclasses import dataclass, fields
from typing import Any

from src.motion.faults import FAULT_KEYS, FAULTS
from src.motion.keypoints import HIP_THRUST, SKELETONS, Skeleton
from src.motion.labels import OPTIONAL, VIEWS, columns_of

HEADS = ("multi_label", "single_label")
FEATURES = ("angles", "coordinates")
REPS = ("found", "labelled")


class TaskError(ValueError):
    """A task that cannot be learnt; the message names what is wrong with it."""


@dataclass(frozen=True)
class Task:
    """The default is this project's own, ``HIP_THRUSTS``.

    head: ``multi_label``, any number of labels at once (sigmoid), or ``single_label``, exactly one of them (softmax).
    features: ``angles`` of a lifter in a picture, or ``coordinates`` of any points in two or three dimensions.
    reps: ``found`` in the rise of the hips, as prediction does, or ``labelled``: the times of labels.csv.
    """

    skeleton: Skeleton = HIP_THRUST
    labels: tuple[str, ...] = FAULT_KEYS
    head: str = "multi_label"
    features: str = "angles"
    reps: str = "found"

    def __post_init__(self) -> None:
        """Refuse what does not fit together by name."""
        points = self.skeleton.points
        taken = {*columns_of(()), *OPTIONAL, ""}
        for name, value, known in (
            ("head", self.head, HEADS), ("features", self.features, FEATURES), ("reps", self.reps, REPS),
            ("skeleton.dimensions", self.skeleton.dimensions, (2, 3)),
        ):  # fmt: skip
            if value not in known:
                raise TaskError(f"{name} {value!r} is none of {', '.join(map(str, known))}")
        if odd := [label for label in self.labels if label in taken or self.labels.count(label) > 1]:
            raise TaskError(f"labels: {odd[0]!r} stands there twice or is a column of its own")
        if len(self.labels) < (2 if self.head == "single_label" else 1):
            raise TaskError(f"labels: {len(self.labels)} are too few for head {self.head}")
        if not points or len(set(points)) < len(points):
            raise TaskError(f"skeleton {self.skeleton.name}: no points, or one of them twice")
        if odd := [end for bone in self.skeleton.bones for end in bone if end not in points]:
            raise TaskError(f"skeleton {self.skeleton.name}: a bone ends in {odd[0]!r}, which is no point")
        if self.features == "angles" and self.skeleton.dimensions != 2:
            raise TaskError(f"features angles need a picture; {self.skeleton.name} has three dimensions")
        if self.reps == "found" and SKELETONS.get(self.skeleton.name) != self.skeleton:
            raise TaskError(
                f"reps are found in {', '.join(SKELETONS)} alone; {self.skeleton.name} needs reps: labelled"
            )

    @classmethod
    def plain(cls, values: dict[str, Any]) -> "Task":
        """The task that ``dataclasses.asdict`` made ``values`` of."""
        known = {f.name: values[f.name] for f in fields(cls)}
        return cls(**known | {"skeleton": Skeleton(**values["skeleton"])})


HIP_THRUSTS = Task()
"""The four faults of a hip thrust."""


def views_of(label: str) -> tuple[str, ...]:
    """From where a label can be judged: a fault as ``faults.py`` says, any other label from everywhere."""
    return next((fault.views for fault in FAULTS if fault.key == label), VIEWS)
