"""The model card: what the model is for, what it learnt from, how good it is, and what it cannot do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from src.motion.dataset import Count, Sample
from src.motion.faults import FAULTS, QUANTITIES
from src.report.tables import (
    ahead,
    clip_table,
    confounder_table,
    counting,
    decision_table,
    fault_table,
    markdown,
    origin,
    plain,
    strata_table,
    threshold_table,
)

USE = """Lockout's temporal CNN judges single hip-thrust reps, as 2-D keypoints of one person, for four faults. It is meant for a
lifter's or a coach's second look at an ordinary video and for research on keypoints. It is no medical device: it does not
diagnose, and it must not decide about pain, injury or load. Whoever feels pain stops and asks a professional."""

LIMITS = """- All people in these numbers are simulated, as keypoints or as rendered video, except in folders called
  own footage. Real numbers will be lower; nobody has measured by how much.
- Labels are the simulator's truth under the limits above. These limits are working values, not calibrated on labelled footage.
- Reps that were not found are missing from the tables per rep; the sentence above each table says how many. `stress.md`
  counts them with probability 0: its column "before" is what a user meets.
- `overarch` and `tuck` hardly move the joints. They are judged by the outline of the back and by one point on the spine, which a
  regression learnt on other rendered people estimates from the pose network's features: that it holds for real bodies and clothes
  is not measured. They are judged where three fifths of the back are seen (stratum "back seen"): plates and arms hide it, and a
  loose shirt does so unnoticed.
- Neither is judged in bridges on the floor, by the trunk's pitch at lockout: too few of them were rendered to prove a claim.
- A plate over the near hip hides `overarch`, `tuck` and `partial_range`, one over the near knee or ankle `feet_too_far`: there
  such reps have no label, and the model should call the fault not observable (the tables say how often it is decided).
- Frontal, rear and overhead views are not judged. A camera far above or below hip height distorts every angle.
- An interval over a handful of people is too narrow; the counts stand beside it. Where all resamples agree none is shown.
- Intervals are over the people of that folder; they say nothing about people, cameras or detectors that the folder lacks."""


def card(
    report: Mapping[str, Any], facts: Mapping[str, Any], parts: Mapping[str, Sequence[Sample]], counts: Sequence[Count]
) -> str:
    """The whole page."""
    lines = ["# Model card: Lockout", "", USE, "", *identity(report, facts), "## What it sees, and from where", ""]
    lines += [*fault_rows(), *proof(report["proof"]), "## Data", "", *data_rows(facts, parts, counts)]
    lines += ["## Numbers", "", "\n".join(EXPLAINED).format(kernels=report["kernels"]), ""]
    for folder, part in report["folders"].items():
        lines += folder_section(folder, part)
    return "\n".join([*lines, "## Limits", "", LIMITS, ""])


EXPLAINED = (
    "Everybody below is unseen in training; splits are by person. AP is average precision, intervals are 95 % bootstraps over",
    "people. The model and every baseline get their threshold the same way: the best F1 on validation people. Baselines are",
    "fitted on the same training reps, counted as often, without the augmentation that training adds; bold ones are above the",
    "model. MiniROCKET has {kernels:,} kernels, as published 10,000. Decisions are those of the model, before `export` takes",
    "away those on faults that it shall never judge: 1 where the fault is observable and the probability is one half or more, 0",
    "where it is below that and the threshold, else none. A clip has a fault if two of its reps show it, or its only rep does.",
    "ECE is the gap between probabilities and shares of positives; by chance, perfectly calibrated probabilities show one as",
    "large on so few reps. What a worse video costs: `stress.md`.",
)


def identity(report: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Which model, which data, which code."""
    rows = [("version", facts["version"]), ("code of training", facts["revision"]), ("data of training", facts["data"])]
    rows += [("code of evaluation", report["revision"]), ("data of evaluation", report["data"])]
    note = (
        ["`+`: with changes that were not committed.", ""] if any(str(value).endswith("+") for _, value in rows) else []
    )
    return markdown(("", ""), [(name, f"`{value}`") for name, value in rows]) + note


def fault_rows() -> list[str]:
    """Each fault with its limits and the views from which it is judged."""
    head = ("fault", "what happens", "absent up to, present from", "judged from")
    rows = [
        (f"`{f.key}`", f.meaning, "; or ".join(f"{c.quantity} {c.absent:g}, {c.present:g}" for c in f.cues), ", ".join(f.views))
        for f in FAULTS
    ]  # fmt: skip
    meanings = [f"- `{name}`: {meaning}" for name, meaning in QUANTITIES.items()]
    return [
        *markdown(head, rows),
        *meanings,
        "",
        "Between the limits a rep is uncertain: masked in training and here.",
        "",
    ]


def proof(found: Mapping[str, Any]) -> list[str]:
    """Which faults the exported core decides, and what that rests on."""
    if not found["faults"]:
        return ["## What the exported core decides", "", "Every fault: no proof was asked for.", ""]
    others = f"validation people of `{found['folder']}`, who also chose epoch and scale (`make proof` asks 480 others)"
    rule = (
        "A fault is claimed where it is more likely there than not, and decided at all only if the share of its claims that were",
        f"right, by person, is above {found['least_right']:g} and above the fault's own share: at the lower end of its 95 %",
        f"interval (Clopper and Pearson), on {found['people']} {'people kept for this alone' if found['kept'] else others}.",
        "Of other faults the core writes a probability, never a decision.",
    )
    head = ("fault", "claimed of people", "right (lower end)", "share of reps with the fault", "decided")
    rows = [
        (
            f"`{key}`", str(f["claimed_people"]), f"{plain(f['right_by_person'])} ({plain(f['surely_right'])})",
            plain(f["prevalence"]), "no" if key in found["never_judged"] else "yes",
        )
        for key, f in found["faults"].items()
    ]  # fmt: skip
    return ["## What the exported core decides", "", *rule, "", *markdown(head, rows)]


def data_rows(facts: Mapping[str, Any], parts: Mapping[str, Sequence[Sample]], counts: Sequence[Count]) -> list[str]:
    """People, clips and judged reps per origin and split."""
    split = {person: name for name, people in facts["people"].items() for person in people}
    known = [(c.folder, split[c.subject], c.subject) for c in counts if c.subject in split]
    clips, people = (Counter((folder, name) for folder, name, _ in found) for found in (known, set(known)))
    reps = Counter((s.folder, name) for name, samples in parts.items() for s in samples)
    rows = [
        (origin(f), name, str(people[f, name]), str(n), str(reps[f, name])) for (f, name), n in sorted(clips.items())
    ]
    return markdown(("origin", "split", "people", "clips", "labelled reps found"), rows)


def folder_section(folder: str, part: Mapping[str, Any]) -> list[str]:
    """All tables of one origin."""
    lines = [
        f"### {origin(folder)}",
        "",
        f"{part['people']} people with a labelled rep found; {counting(part['counting'])}",
        "",
    ]
    if not part["faults"]:
        return lines
    lines += [*fault_table(part["faults"]), *ahead(part["faults"])]
    lines += ["At the threshold:", "", *threshold_table(part["faults"])]
    lines += ["Decisions per rep:", "", *decision_table(part["faults"])]
    lines += ["Per clip:", "", *clip_table(part["clips"])]
    lines += ["AP by stratum (reps with the fault of reps labelled):", "", *strata_table(part["strata"])]
    if not part["confounders"]:
        return lines
    return [
        *lines,
        "Reps without the fault that were told it, by what is no fault:",
        "",
        *confounder_table(part["confounders"]),
    ]
